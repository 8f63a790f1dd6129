"""Feedback without a model: what it finds, what it does not claim."""

import time

import pytest
from msgspec.structs import replace

from ai.assessor import build_assessor
from ai.assessor.case import answer_case
from ai.assessor.offline import NO_RATING, NOT_ENGLISH
from ai.assessor.signals import SENTENCES, read_signals
from ai.budget import Unlimited
from ai.settings import AiSettings
from protocol.assessment import Rating, verified
from protocol.plan import Plan
from tests.support.assessing import GOOD, PLAN, answered, asked, request
from tests.support.injections import INJECTIONS
from tests.support.speeches import FixedClock, Rows, turn

pytestmark = pytest.mark.anyio
ASSESSOR = build_assessor(AiSettings(), Rows(), FixedClock(), Unlimited())
TALK = "First we asked the users, because nobody knew, um, and then we built it. " * 6


async def rated(text: str, plan: Plan = PLAN) -> Rating:
    made = request(text, plan=plan)
    rating = await ASSESSOR.rate(made)
    assert rating.score is None
    assert rating.method == ASSESSOR.method == "offline"
    assert verified(rating, made.turns)
    return rating


async def test_a_full_story_is_recognised_and_quoted() -> None:
    told = f"{GOOD} My task was to stop that."
    rating = await rated(told)
    assert rating.star == ("situation", "task", "action", "result")
    assert rating.rationale.startswith(NO_RATING)
    assert [place.quote for place in rating.evidence] == [
        "I rewrote the worker in 3 weeks.",
        "In the end losses went from 3 percent to 0.1.",
    ]
    assert rating.missing == ""
    assert (rating.rubric, rating.model, rating.samples) == ("guide-1", "", ())


async def test_what_is_missing_is_named() -> None:
    rating = await rated("We had a problem and we talked about it with our manager and our users.")
    assert rating.star == ("situation",)
    for part in ("No task", "No action", "No result", "No figure", "“I”", "very short"):
        assert part in rating.missing
    assert rating.caveats == ("short_answer",)


async def test_an_answer_is_long_for_the_time_that_its_question_was_given() -> None:
    made = request(TALK * 8)  # 672 words
    for minutes, long in ((5, True), (7, True), (9, False)):
        given = replace(made, question=replace(made.question, minutes=minutes))
        assert ("is long" in (await ASSESSOR.rate(given)).missing) == long


async def test_a_question_that_asks_for_no_story_misses_none() -> None:
    technical = replace(PLAN, type="technical")
    rating = await rated("A queue decouples 2 services, so I would use it for that.", technical)
    assert "No result" not in rating.missing
    assert "No situation" not in rating.missing


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "Ich weiß, wir haben Kafka benutzt, und danach ging alles viel schneller."),
        ("de", GOOD),
        ("ja-JP", "去年、私たちのキューは仕事を失っていました。私は再試行を測ることにしました。"),
    ],
)
async def test_no_parts_are_missed_in_other_languages(language: str, text: str) -> None:
    rating = await rated(text, replace(PLAN, language=language))
    assert NOT_ENGLISH in rating.rationale
    assert "recognised" not in rating.missing
    assert rating.evidence == rating.star == ()


async def test_a_long_answer_without_stops_is_quoted_around_what_was_found() -> None:
    rating = await rated("and so on and on " * 60 + "i decided to drop it " + "and on and on " * 60)
    (place,) = rating.evidence
    assert "i decided to drop it" in place.quote
    assert 20 < len(place.quote) <= 240


@pytest.mark.parametrize(
    "text", ["a. " * 20_000, "!" * 30_000 + "x hello you", "x" * 32_000, "I did it. 3 " * 2_500]
)
async def test_it_takes_bounded_time_whatever_is_said(text: str) -> None:
    await rated(GOOD)  # the files are read
    began = time.perf_counter()
    await rated(text)
    assert time.perf_counter() - began < 1
    assert read_signals(answer_case(request(text))).sentences <= SENTENCES


async def test_every_injection_is_only_text() -> None:
    for injected in INJECTIONS:
        await rated(f"{GOOD} {injected}")
        await rated(injected)


@pytest.mark.parametrize("mode", ["practice", "assessment"])
async def test_how_it_was_said_is_told_in_practice_only(mode: str) -> None:
    spoken = turn(4, "candidate", "answer", TALK, question_id="core-1")
    spoken = replace(spoken, started_at=0, ended_at=20_000)
    plan = replace(PLAN, mode=mode)
    made = request(asked(), spoken, confidence={4: 0.9}, plan=plan)
    rating = await ASSESSOR.communication(made)
    assert rating is not None
    assert (rating.question_id, rating.score, rating.evidence) == ("communication", None, ())
    practice = mode == "practice"
    assert ("words a minute" in rating.rationale) is practice
    assert ("“Um”" in rating.rationale) is practice
    assert ("hard to follow" in rating.missing) is practice
    assert verified(rating, made.turns)


async def test_too_little_is_no_communication() -> None:
    assert await ASSESSOR.communication(request("I like queues.")) is None
    assert await ASSESSOR.communication(request(asked(), answered(""))) is None
    await ASSESSOR.aclose()
