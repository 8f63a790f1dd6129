"""Sentences near to the points of a good answer: what is shown, and how often it is right."""

import tomllib
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from ai.assessor import nearness
from ai.assessor.nearness import MOST, Nearness, Pair, load_nearness, points_of
from ai.assessor.offline import OfflineAssessor
from protocol.assessment import verified
from tests.support.assessing import GOOD, PLAN, request

pytestmark = pytest.mark.anyio
LABELLED = Path(__file__).with_name("labelled_answers.toml")
WITHOUT = OfflineAssessor(lambda: None)


@pytest.fixture(scope="module")
def near() -> Nearness:
    found = load_nearness()
    assert found is not None, "the tests' environment has the extra"
    return found


@pytest.fixture
def anew() -> Iterator[None]:
    load_nearness.cache_clear()
    yield
    load_nearness.cache_clear()


def test_what_is_shown_is_right_far_more_often_than_by_chance(near: Nearness) -> None:
    """The figures in docs/explanation/assessment.md are printed here."""
    answers: list[dict[str, Any]] = tomllib.loads(LABELLED.read_text())["answers"]
    shown = right = 0
    chances: list[float] = []
    for answer in answers:
        made = [sentence["points"] for sentence in answer["sentences"]]
        texts = [sentence["text"] for sentence in answer["sentences"]]
        pairs = near.pairs(answer["points"], texts)
        shown += len(pairs)
        right += sum(pair.point in made[pair.sentence] for pair in pairs)
        chances.append(sum(map(len, made)) / len(made) / len(answer["points"]))
    chance = sum(chances) / len(chances)
    print(f"{shown} pairs, {right / shown:.2f} right, {chance:.2f} by chance")  # noqa: T201
    assert shown >= len(answers) / 2
    assert right / shown > 3 * chance


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
    anchor = "Reads it, checks the units of each, but without a plan; and tells how sure it is."
    assert points_of(anchor) == ["checks the units of each", "tells how sure it is"]


async def test_it_is_shown_as_a_pointer_and_no_judgement() -> None:
    made = request(GOOD)
    rating = await OfflineAssessor().rate(made)
    assert "“explains the choices made”" in rating.rationale
    assert "judge yourself: a small local model" in rating.rationale
    assert (rating.score, rating.method, rating.model) == (None, "offline", "")
    assert verified(rating, made.turns)
    assert len(rating.rationale) <= 600


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
