"""Sentences near to the points of a good answer: what is shown, and how often it is right."""

import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from ai.assessor import nearness
from ai.assessor.nearness import MOST, Nearness, Pair, WordVectors, load_nearness, points_of
from ai.assessor.offline import OfflineAssessor
from ai.bank.loading import load_bank
from protocol.assessment import verified
from protocol.scalars import Mode
from tests.support.assessing import GOOD, PLAN, request

pytestmark = pytest.mark.anyio
LABELLED = Path(__file__).with_name("labelled_answers.toml")
WITHOUT = OfflineAssessor(lambda: None)
SAYS_SO = "rightly in four cases of ten; judge yourself:"


@pytest.fixture(scope="module")
def near() -> Nearness:
    if sys.version_info >= (3, 14):
        pytest.skip("WordLlama has no wheel for this Python")
    found = load_nearness()
    assert found is not None, "the tests' environment has the extra"
    return found


@pytest.fixture
def anew() -> Iterator[None]:
    nearness.read_nearness.cache_clear()
    yield
    nearness.read_nearness.cache_clear()


def _labelled() -> Iterator[tuple[dict[str, Any], list[str], list[set[int]]]]:
    """Each answer, the points that would be compared with it, and which its sentences make.

    A point of the bank's anchor is known by the label that holds it or is held by it.
    """
    questions = {q.id: q for group in load_bank().questions.values() for q in group}
    for answer in tomllib.loads(LABELLED.read_text())["answers"]:
        labels = [label.casefold() for label in answer["points"]]
        known: dict[str, int] = {}
        for point in points_of(questions[answer["question"]].anchors.five):
            told = point.casefold()
            for place, label in enumerate(labels):
                if label in told or told in label:
                    known[point] = place
        points = list(known)
        made = [
            {place for place, point in enumerate(points) if known[point] in sentence["points"]}
            for sentence in answer["sentences"]
        ]
        yield answer, points, made


def test_what_is_shown_is_right_far_more_often_than_by_chance(near: Nearness) -> None:
    shown, right = Counter[str](), Counter[str]()
    chances: list[float] = []
    for answer, points, made in _labelled():
        pairs = near.pairs(points, [sentence["text"] for sentence in answer["sentences"]])
        shown[answer["strength"]] += len(pairs)
        right[answer["strength"]] += sum(pair.point in made[pair.sentence] for pair in pairs)
        chances.append(sum(map(len, made)) / len(made) / max(1, len(points)))
    share, chance = right.total() / shown.total(), sum(chances) / len(chances)
    print(f"{len(chances)} answers; right {right} of {shown}: {share:.2f}, by chance {chance:.2f}")  # noqa: T201
    assert shown.total() >= 15
    assert share > 3 * chance


def test_whether_a_point_is_made_is_not_told_by_it(near: Nearness) -> None:
    """Why nothing is counted: the figure in docs/explanation/assessment.md, by all labels."""
    assert isinstance(near, WordVectors)
    made, not_made = list[float](), list[float]()
    for answer in tomllib.loads(LABELLED.read_text())["answers"]:
        texts = [sentence["text"] for sentence in answer["sentences"]]
        best = near.likeness(answer["points"], texts).max(axis=1)
        held = {place for sentence in answer["sentences"] for place in sentence["points"]}
        for place, likeness in enumerate(best):
            (made if place in held else not_made).append(float(likeness))
    above = sum(a > b for a in made for b in not_made) / (len(made) * len(not_made))
    print(f"{len(made)} made, {len(not_made)} not: area under the curve {above:.2f}")  # noqa: T201
    assert above < 0.7, "it became good enough to count by: say so, and do"


def test_nearly_each_question_has_points_to_compare() -> None:
    every = [question for group in load_bank().questions.values() for question in group]
    without = [question.id for question in every if not points_of(question.anchors.five)]
    assert len(every) > 240
    assert len(without) <= 1


def test_the_most_alike_come_first_and_each_once(near: Nearness) -> None:
    points = ["measured the delay of the queue", "told the customers about it", "bakes bread"]
    sentences = ["We informed all customers.", "I measured how long the queue delays jobs.", "Hm."]
    assert near.pairs(points, sentences) == [Pair(0, 1), Pair(1, 0)]
    assert len(near.pairs(points * 3, sentences * 3)) <= MOST


@pytest.mark.parametrize(
    "said", [(), ("…!!!",), ("去年、私たちは。",), ("x" * 40_000,), ("\x00 \u200b",)]
)
def test_nothing_is_near_to_what_says_nothing(near: Nearness, said: Sequence[str]) -> None:
    assert near.pairs(["Separates own part from the team's"], said) == []
    assert near.pairs([], said) == []


def test_a_point_is_a_clause_that_says_what_is_there() -> None:
    anchor = "Reads it, checks the units of each, but without a plan; and tells what was not tried."
    assert points_of(anchor) == ["checks the units of each", "tells what was not tried"]


class Two:
    """Finds two pairs, whatever is said."""

    def pairs(self, points: Sequence[str], sentences: Sequence[str]) -> list[Pair]:
        return [Pair(0, len(sentences) - 1), Pair(len(points) - 1, 0)]


class Damaged:
    def pairs(self, points: Sequence[str], sentences: Sequence[str]) -> list[Pair]:
        raise IndexError(len(points), len(sentences))


@pytest.mark.usefixtures("near")
@pytest.mark.parametrize("mode", ["practice", "assessment"])
async def test_candidates_see_a_pointer_and_no_judgement(mode: Mode) -> None:
    made = request(GOOD, plan=replace(PLAN, mode=mode))
    rating = await OfflineAssessor().rate(made)
    assert ("“explains the choices made”" in rating.rationale) is (mode == "practice")
    assert (SAYS_SO in rating.rationale) is (mode == "practice")
    assert (rating.score, rating.method, rating.model) == (None, "offline", "")
    assert verified(rating, made.turns)


async def test_it_always_says_what_it_is_worth() -> None:
    long = "My task was to write it down, and so I did for all of them, in every place, again"
    for length in range(1, len(long)):
        rating = await OfflineAssessor(Two).rate(request(f"{long[:length]}. {GOOD} {long}."))
        told = rating.rationale
        assert SAYS_SO in told
        assert told.endswith("”.")
        assert len(told) <= 600


async def test_what_cannot_be_compared_is_left_out() -> None:
    assert await OfflineAssessor(Damaged).rate(request(GOOD)) == await WITHOUT.rate(request(GOOD))


@pytest.mark.usefixtures("anew")
def test_one_thread_reads_the_model_and_the_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []

    def slowly(name: str) -> None:
        reads.append(name)
        time.sleep(0.05)

    monkeypatch.setattr(nearness, "find_spec", slowly)
    with ThreadPoolExecutor(8) as pool:
        assert [pool.submit(load_nearness) for _ in range(8)][-1].result() is None
    assert len(reads) == 1


async def test_other_languages_are_not_compared() -> None:
    rating = await OfflineAssessor().rate(request(GOOD, plan=replace(PLAN, language="de")))
    assert "local model" not in rating.rationale


async def test_without_the_extra_the_words_of_the_anchors_are_counted() -> None:
    rating = await WITHOUT.rate(request(f"{GOOD} It was my own choice, and it had a good effect."))
    assert "terms in the description of a good answer" in rating.rationale
    assert "local model" not in rating.rationale


@pytest.mark.usefixtures("anew")
@pytest.mark.parametrize("broken", [False, True])
async def test_an_extra_that_is_missing_or_broken_changes_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, broken: bool
) -> None:
    def found(_: str) -> ModuleSpec | None:
        spec = ModuleSpec("wordllama", None, is_package=True)
        spec.submodule_search_locations = [str(tmp_path)]
        return spec if broken else None

    monkeypatch.setattr(nearness, "find_spec", found)
    assert await OfflineAssessor().rate(request(GOOD)) == await WITHOUT.rate(request(GOOD))
