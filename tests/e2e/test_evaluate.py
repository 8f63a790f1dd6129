"""`viva evaluate`, short: a few interviews on real instances, offline and with a scripted model."""

import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from loadtest.evaluate.bookings import Selection, Source
from loadtest.evaluate.judge import Verdict, judge
from loadtest.evaluate.run import Config, Evaluation
from loadtest.fakeopenai import Options
from loadtest.processes import migrate

pytestmark = pytest.mark.anyio

LEAST = 0.6
"""Of a few interviews one more or less weighs much, and a busy machine loses a lease."""
UNRULY = Options(tokens_per_second=0, first_token_s=0.0, script="unruly")

Run = Callable[..., Awaitable[tuple[Verdict, Evaluation]]]


@pytest.fixture
def evaluate(redis_url: str, database_url: str, tmp_path: Path) -> Run:
    """Run the harness on this test's servers."""

    async def run(
        selection: Selection, speech: Options | None = None, **settings: str
    ) -> tuple[Verdict, Evaluation]:
        urls = {"REDIS_URL": redis_url, "DATABASE_URL": database_url}
        await migrate(urls)
        config = Config(
            selection=selection,
            seed=7,
            services=urls,
            directory=tmp_path,
            settings=settings,
            speech=speech,
        )
        evaluation = Evaluation(config, lambda _: None)
        began = time.monotonic()
        verdict = judge(await evaluation.run(), least=LEAST, took_s=time.monotonic() - began)
        print(f"{len(verdict.interviews)} interviews in {verdict.took_s:.0f} s")  # noqa: T201
        return verdict, evaluation

    return run


def failed(verdict: Verdict) -> dict[str, list[str]]:
    """What fails the run, and in which words."""
    return {
        result.name: [f"{failure.interview}: {failure.told}" for failure in result.failures]
        for result in verdict.failed
    }


@pytest.mark.parametrize("source", ["offline", "fake"])
async def test_a_few_interviews_pass_every_check(evaluate: Run, source: Source) -> None:
    verdict, evaluation = await evaluate(Selection(sources=(source,), short=True))
    assert failed(verdict) == {}
    assert len(verdict.interviews) == evaluation.bookings
    assert sum(result.looked_at > 0 for result in verdict.results) >= 60
    if source == "fake":
        scores = {one.persona: one.composite for one in verdict.interviews}
        assert _rising([scores["weak"], scores["middling"], scores["strong"]])
        assert _rising([scores["injecting"], scores["middling"]])


async def test_shared_wordings_pass_every_check(evaluate: Run) -> None:
    selection = Selection(sources=("fake",), short=True)
    verdict, evaluation = await evaluate(selection, VIVA_QUESTION_CACHE="1")
    assert failed(verdict) == {}
    spoken = [turn.source for recording in evaluation.recordings for turn in recording.spoken]
    assert spoken.count("cache") >= 8, "of 16 that may be"


@pytest.mark.torture
@pytest.mark.parametrize("source", ["offline", "fake"])
async def test_each_type_and_each_kind_in_both_modes(evaluate: Run, source: Source) -> None:
    verdict, _ = await evaluate(Selection(sources=(source,)))
    assert failed(verdict) == {}
    assert len(verdict.interviews) == 32


async def test_a_bad_interviewer_is_noticed(evaluate: Run) -> None:
    selection = Selection(
        sources=("fake",), types=("technical",), modes=("assessment",), personas=("weak",)
    )
    verdict, _ = await evaluate(selection, UNRULY)
    assert not verdict.ok
    assert failed(verdict).keys() >= {"one-question-at-a-time", "no-leading-question", "no-verdict"}


def _rising(scores: Sequence[float | None]) -> bool:
    known = [score for score in scores if score is not None]
    return len(known) == len(scores) and all(a < b for a, b in pairwise(known))
