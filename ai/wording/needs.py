"""Which words of an interview are nobody's, so that all interviews may share them.

A main question's turn is a lead ("Thank you, let us go on") and the question that was planned. Some
leads quote the answer before them: these are put together here, each for its interview. The others
are made without the interview: of the bank's text, the interview's type and the language. The
role's title is free text, so it stays a slot and is filled in where the words are spoken. With a
job description or a résumé a question is to be tied to these, and nothing of it is shared.
"""

from typing import Literal

from msgspec import Struct

from ai import languages
from ai.bank.answers import is_blank
from ai.bank.echo import clean
from ai.bank.loading import load_bank
from ai.bank.templates import fill
from ai.bank.uptake import uptake
from ai.prompts import question_number
from ai.speech import TurnRequest
from protocol.guide import Guide, GuideQuestion
from protocol.plan import Plan
from protocol.scalars import InterviewType
from protocol.session import Turn
from protocol.text import sha256

Occasion = Literal["opening", "into", "onward", "onward_blank", "invitation", "question", "exact"]

VARIANTS: dict[Occasion, int] = {
    "opening": 4,
    "into": 4,
    "onward": 10,
    "onward_blank": 4,
    "invitation": 4,
    "question": 3,
    "exact": 1,
}
"""How many wordings there are of each; a lead is heard several times in an interview. An assessment
has one of each question, so that everybody is asked the same."""

_ENGLISH = frozenset(("en", "eng"))
_QUESTION_MARKS = "?\uff1f\u061f"


class Need(Struct, frozen=True, kw_only=True):
    """One line that is needed. ``key`` names it in the cache, for everybody."""

    occasion: Occasion
    language: str
    type: InterviewType | None = None
    bank_id: str = ""
    text: str = ""
    """The prepared question as the bank has it, with its slots."""

    @property
    def key(self) -> str:
        """The name, which holds nothing personal."""
        parts = [self.occasion, self.language]
        if self.type:
            parts.append(self.type)
        if self.bank_id:
            parts += [self.bank_id, sha256(self.text)[:12]]
        return ":".join(parts)


class Line(Struct, frozen=True):
    """A part of a turn: a need of the cache, or a text that needs none."""

    need: Need | None = None
    text: str = ""


def needs_of(plan: Plan, guide: Guide | None) -> tuple[Need, ...]:
    """Return all that an interview will need; nothing where it may share no words."""
    language = shared_language(plan, guide)
    if language is None or guide is None:
        return ()
    lines = [_question(plan, language, question) for question in guide.questions]
    questions = (line.need for line in lines if line is not None and line.need is not None)
    return (
        Need(occasion="opening", language=language, type=plan.type),
        Need(occasion="into", language=language),
        Need(occasion="onward", language=language),
        Need(occasion="onward_blank", language=language),
        Need(occasion="invitation", language=language),
        *questions,
    )


def lines_of(request: TurnRequest) -> tuple[Line, ...]:
    """Return the lines of a turn; none where it has to be worded for this interview alone.

    That is so for every turn but questions, and where the candidate asked something back.
    """
    language = shared_language(request.plan, request.guide)
    if request.kind != "question" or request.guide is None or language is None:
        return ()
    answer = _last_answer(request.turns)
    if any(mark in answer for mark in _QUESTION_MARKS):
        return ()
    if request.question_id == "warmup":
        return (Line(Need(occasion="opening", language=language, type=request.plan.type)),)
    number = question_number(request.question_id)
    if number is None:
        return (Line(Need(occasion="invitation", language=language)),)
    planned = request.guide.question(request.question_id or "")
    line = None if planned is None else _question(request.plan, language, planned)
    if line is None:
        return ()
    return (_lead(request, number, language, answer), line)


def _lead(request: TurnRequest, number: int, language: str, answer: str) -> Line:
    if number == 1:
        return Line(Need(occasion="into", language=language))
    if is_blank(answer, load_bank().phrases.words):
        return Line(Need(occasion="onward_blank", language=language))
    before = request.guide.question(f"core-{number - 1}") if request.guide else None
    found = uptake(request.interview_id, number, request.plan, before, answer)
    if found is not None:  # it is this interview's, and needs neither the cache nor a model
        return Line(text=fill(found.template, {"echo": found.echo}))
    return Line(Need(occasion="onward", language=language))


def shared_language(plan: Plan, guide: Guide | None) -> str | None:
    """Return the plan's language in one spelling; None where the interview shares no words."""
    if guide is None or plan.job_description or plan.resume:
        return None
    return languages.shared(plan.language)


def _question(plan: Plan, language: str, planned: GuideQuestion) -> Line | None:
    """Return a main question's line; None where another version of the bank planned it."""
    question = _bank_text(planned.bank_id)
    if question is None or fill(question, {"role": clean(plan.role)}) != planned.text:
        return None
    if plan.mode == "practice":
        occasion: Occasion = "question"
    elif language.partition("-")[0] in _ENGLISH:
        return Line(text=planned.text)
    else:
        occasion = "exact"
    return Line(Need(occasion=occasion, language=language, bank_id=planned.bank_id, text=question))


def _bank_text(bank_id: str) -> str | None:
    groups = load_bank().questions.values()
    return next((q.text for group in groups for q in group if q.id == bank_id), None)


def _last_answer(turns: tuple[Turn, ...]) -> str:
    return turns[-1].text if turns and turns[-1].speaker == "candidate" else ""
