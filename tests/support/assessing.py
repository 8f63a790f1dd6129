"""What the tests of the assessor share: a question, answers to it, assessors over a source."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from msgspec.structs import replace

from ai.assessor import Assessor, RatingRequest, build_assessor
from ai.assessor.build import assemble
from ai.assessor.source import Completion
from ai.assessor.waiting import Shelf
from ai.budget import Budget, Unlimited
from ai.chunks import Usage
from ai.provider import Prompt
from ai.settings import AiSettings
from loadtest.fakeopenai import FakeOpenAI
from protocol.assessment import Anchors, GuideQuestion
from protocol.plan import Plan
from protocol.session import Turn
from tests.support.raw_http import RawServer
from tests.support.speeches import FixedClock, Rows, turn

QUESTION = GuideQuestion(
    question_id="core-1",
    bank_id="behavioral-proud-work",
    competency="ownership",
    text="Which piece of work are you proudest of, and what was your own part in it?",
    anchors=Anchors(
        one="Names a project without any part of the candidate's own or any result.",
        three="Describes an own contribution and a plausible result, but few choices or figures.",
        five="Separates own part from the team's, explains the choices made, and shows the effect.",
    ),
)
GOOD = (
    "Last year our queue lost jobs. I decided to measure the retries first, because nobody had "
    "numbers. I rewrote the worker in 3 weeks. In the end losses went from 3 percent to 0.1."
)
PLAN = Plan(type="behavioral", role="Backend engineer", level="senior")
SETTINGS = AiSettings(api_key="sk-test", assessor_timeout_s=5.0)


def asked(number: int = 3, text: str = QUESTION.text) -> Turn:
    """The interviewer's question."""
    return turn(number, "interviewer", "question", text, question_id="core-1")


def answered(text: str, number: int = 4, **fields: Any) -> Turn:
    """A candidate's answer to it."""
    return turn(number, "candidate", "answer", text, question_id="core-1", **fields)


def request(
    *turns: Turn | str, confidence: Mapping[int, float] | None = None, plan: Plan = PLAN
) -> RatingRequest:
    """A request about the question and one answer to it, or about these turns."""
    first = turns[0] if turns else GOOD
    said = (asked(), answered(first)) if isinstance(first, str) else tuple(turns)
    return RatingRequest(
        interview_id="0190f7c2-0000-7000-8000-000000000001",
        user_id="u1",
        plan=plan,
        guide="guide-1",
        question=QUESTION,
        turns=tuple(each for each in said if isinstance(each, Turn)),
        confidence=confidence or {},
    )


def reply(**fields: Any) -> dict[str, Any]:
    """A rater's reply that keeps all rules about `GOOD`, but for these fields."""
    return {
        "quotes": [{"turn": 4, "quote": "I decided to measure the retries first"}],
        "star": ["action", "result"],
        "rationale": "Own choices and an effect.",
        "missing": "",
        "verdict": "rated",
        "anchor": 5,
        "score": 4,
        **fields,
    }


NOTHING = reply(verdict="insufficient_evidence", anchor=None, score=None, quotes=[], star=[])


class ScriptedSource:
    """Gives these replies in turn, the last again and again; keeps the prompts."""

    def __init__(self, *replies: object) -> None:
        self._replies = list(replies)
        self.prompts: list[Prompt] = []
        self.sampled: list[bool] = []
        self.closed = False

    async def complete(self, prompt: Prompt, *, sampled: bool) -> Completion:
        self.prompts.append(prompt)
        self.sampled.append(sampled)
        given = self._replies[min(len(self.prompts), len(self._replies)) - 1]
        if isinstance(given, Exception):
            raise given
        if isinstance(given, Completion):
            return given
        text = given if isinstance(given, str) else msgspec.json.encode(given).decode()
        return Completion(text=text, usage=Usage(1000, 0, 100))

    async def aclose(self) -> None:
        self.closed = True


def over(
    source: ScriptedSource,
    rows: Rows | None = None,
    *,
    budget: Budget | None = None,
    shelf: Shelf | None = None,
    parks: bool = False,
    **settings: Any,
) -> Assessor:
    """An assessor that asks a scripted source."""
    given = replace(SETTINGS, **settings)
    return assemble(
        given, rows or Rows(), FixedClock(0.0), source, budget=budget, shelf=shelf, parks=parks
    )


@asynccontextmanager
async def asking(
    server: FakeOpenAI | RawServer, rows: Rows | None = None, **settings: Any
) -> AsyncGenerator[Assessor]:
    """An assessor that asks a server over HTTP."""
    given = replace(SETTINGS, base_url=server.url, **settings)
    assessor = build_assessor(given, rows or Rows(), FixedClock(0.01), Unlimited())
    try:
        yield assessor
    finally:
        await assessor.aclose()
