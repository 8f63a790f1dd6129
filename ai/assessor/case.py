"""What is to be rated by which anchors, in one form for answers and for communication."""

from collections.abc import Mapping
from functools import cache
from importlib import resources

import msgspec
from msgspec import Struct

from ai.asking import request_in
from ai.assessor.ports import RatingRequest
from ai.bank.answers import is_blank, words_in
from ai.bank.loading import load_bank
from protocol.assessment import (
    Anchors,
    GuideQuestion,
    answers_to,
    quotable,
    spoken_answers,
)
from protocol.ledger import Task
from protocol.plan import Plan
from protocol.session import Turn
from protocol.text import sha256

COMMUNICATION_WORDS = 60
"""Fewer words in a whole interview than these show nothing of how somebody communicates."""

READ = 2_000
"""Code points of an answer that are looked at where only little of it matters."""


class Case(Struct, frozen=True, kw_only=True):
    """One rating to be made. ``answers`` are the candidate's turns, all that may be quoted."""

    task: Task
    interview_id: str
    user_id: str
    plan: Plan
    question: GuideQuestion
    rubric: str
    turns: tuple[Turn, ...]
    answers: tuple[Turn, ...]
    confidence: Mapping[int, float] = {}
    over: bool = False
    """Whether the interview is over."""

    @property
    def empty(self) -> bool:
        """Whether nothing was said that could be rated, which needs no model to see."""
        if self.task == "communicate":
            said = sum(words_in(turn.text[:READ]) for turn in self.answers)
            return said < COMMUNICATION_WORDS
        return all(says_nothing(turn.text) for turn in self.answers)


class _Communication(Struct, frozen=True, forbid_unknown_fields=True):
    competency: str
    text: str
    anchors: Anchors


def answer_case(request: RatingRequest) -> Case:
    """Return the case of one question's answers."""
    return Case(
        task="rate",
        interview_id=request.interview_id,
        user_id=request.user_id,
        plan=request.plan,
        question=request.question,
        rubric=request.guide,
        turns=request.turns,
        answers=answers_to(request.question.question_id, request.turns),
        confidence=request.confidence,
        over=request.over,
    )


def communication_case(request: RatingRequest) -> Case:
    """Return the case of a whole interview's communication, which has anchors of its own."""
    question, rubric = _communication()
    return Case(
        task="communicate",
        interview_id=request.interview_id,
        user_id=request.user_id,
        plan=request.plan,
        question=question,
        rubric=rubric,
        turns=request.turns,
        answers=spoken_answers(request.turns),
        confidence=request.confidence,
        over=request.over,
    )


def says_nothing(text: str) -> bool:
    """Whether an answer has nothing to rate: no words, only "I don't know", or a request."""
    if not quotable(text.strip()) or request_in(text[:READ]):
        return True
    return is_blank(text, load_bank().phrases.words)


@cache
def _communication() -> tuple[GuideQuestion, str]:
    data = resources.files("ai.assessor").joinpath("communication.toml").read_bytes()
    read = msgspec.toml.decode(data, type=_Communication)
    question = GuideQuestion(
        question_id="communication",
        bank_id="communication",
        competency=read.competency,
        text=read.text,
        anchors=read.anchors,
    )
    return question, f"communication-{sha256(data.decode())[:16]}"
