"""Plans an interview's main questions from the bank, once, when it is created."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from functools import cache

import msgspec
from msgspec.structs import replace

from ai.bank.agenda import agenda
from ai.bank.echo import clean
from ai.bank.entries import Question
from ai.bank.loading import load_bank
from ai.bank.templates import fill
from protocol.guide import Anchors, Guide, GuideQuestion, Probe
from protocol.plan import Plan

WINDOW = 4
"""How far ahead another competency is looked for, in interviews' worths of questions."""


def plan_guide(interview_id: str, plan: Plan, asked: frozenset[str] = frozenset()) -> Guide:
    """Return the guide of a new interview.

    In assessment mode everybody on the same plan gets the same questions in the same order,
    whatever they were asked before: that is what makes them comparable. In practice mode chance
    draws, and what the user was ``asked`` before comes last.
    """
    bare = replace(plan, job_description=None, resume=None)
    if plan.mode == "assessment":
        seed, asked = hashlib.sha256(msgspec.json.encode(bare)).hexdigest(), frozenset[str]()
    else:
        seed = interview_id
    chosen = _varied(agenda(load_bank(), seed, bare, asked), plan.main_questions, asked)
    role = clean(plan.role)
    questions = tuple(
        _planned(f"core-{number}", question, role) for number, question in enumerate(chosen, 1)
    )
    version = hashlib.sha256(msgspec.json.encode(questions)).hexdigest()[:16]
    return Guide(version=version, questions=questions)


def _varied(order: Sequence[Question], count: int, asked: frozenset[str]) -> tuple[Question, ...]:
    """Return the first ``count`` of the agenda, of different competencies where that costs nothing.

    A question gives way to one soon behind it that is as new, of the same kind, as difficult and
    for the same roles. What a report says of somebody is to rest on more than one competency.
    """
    left, chosen = list(order[: WINDOW * count]), list[Question]()
    seen: Counter[str] = Counter()
    while left and len(chosen) < count:
        alike = (question for question in left if _alike(question, left[0], asked))
        taken = min(alike, key=lambda question: seen[question.competency.casefold()])
        seen[taken.competency.casefold()] += 1
        left.remove(taken)
        chosen.append(taken)
    return tuple(chosen)


def _alike(one: Question, other: Question, asked: frozenset[str]) -> bool:
    if bool(one.roles) != bool(other.roles) or (one.roles and not {*one.roles} & {*other.roles}):
        return False
    same = (_kind(one), one.difficulty, one.id in asked)
    return same == (_kind(other), other.difficulty, other.id in asked)


@cache
def _kinds() -> dict[str, str]:
    questions = load_bank().questions
    return {question.id: kind for kind, group in questions.items() for question in group}


def _kind(question: Question) -> str:
    return _kinds()[question.id]


def _planned(question_id: str, question: Question, role: str) -> GuideQuestion:
    anchors = question.anchors
    return GuideQuestion(
        question_id=question_id,
        bank_id=question.id,
        competency=question.competency,
        text=fill(question.text, {"role": role}),
        probes=tuple(Probe(text=p.text, intent=p.intent) for p in question.probes),
        hints=tuple(fill(hint, {"role": role}) for hint in question.hints),
        anchors=Anchors(one=anchors.one, three=anchors.three, five=anchors.five),
        minutes=question.minutes,
    )
