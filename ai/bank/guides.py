"""Plans an interview's main questions from the bank, once, when it is created."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from functools import cache

import msgspec
from msgspec.structs import replace

from ai.bank.agenda import agenda, likeness, profile_of, types_of
from ai.bank.echo import clean
from ai.bank.entries import APART, Question
from ai.bank.loading import load_bank
from ai.bank.templates import fill
from protocol.guide import Anchors, Guide, GuideQuestion, Probe
from protocol.plan import Plan

ALIKE = 0.5
"""A question looks at a competency whose name has this part of its words in common with its own."""


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
    types = types_of(plan)
    order = [each for each in agenda(load_bank(), seed, bare, asked) if _kind(each) in types]
    chosen = _chosen(order, bare, asked)
    role = clean(plan.role)
    questions = tuple(
        _planned(f"core-{number}", question, role) for number, question in enumerate(chosen, 1)
    )
    version = hashlib.sha256(msgspec.json.encode(questions)).hexdigest()[:16]
    topics = (*(question.competency for question in chosen), APART)
    missed = (name for name in plan.named if all(likeness(each, name) < ALIKE for each in topics))
    return Guide(version=version, questions=questions, missed=tuple(missed))


def _chosen(order: Sequence[Question], plan: Plan, asked: frozenset[str]) -> list[Question]:
    """Return the questions for which the plan has time, the first of ``order`` that fit.

    Before all others each competency that the plan names gets its best question. Then what is new
    comes first, and several types take turns. A question gives way to another one of its type that
    is as new and fits the plan as well, where the guide has less of its competency: a report is to
    rest on more than one.
    """
    profile, chosen = profile_of(plan), list[Question]()
    for name in plan.named:
        chosen += _about(name, _fitting(order, chosen, plan), asked)[:1]

    def merit(question: Question) -> tuple[object, ...]:
        return question.id in asked, _kind(question), profile.distance(question)

    while fitting := _fitting(order, chosen, plan):
        types = Counter(_kind(question) for question in chosen)
        topics = Counter(_topic(question) for question in chosen)
        best = merit(min(fitting, key=lambda each: (each.id in asked, types[_kind(each)])))
        equals = (each for each in fitting if merit(each) == best)
        chosen.append(min(equals, key=lambda each: topics[_topic(each)]))
    return chosen


def _about(name: str, fitting: Sequence[Question], asked: frozenset[str]) -> list[Question]:
    """Return what looks at the competency ``name``: what is new first, then what is most alike."""
    found = [question for question in fitting if likeness(question.competency, name) >= ALIKE]
    return sorted(found, key=lambda each: (each.id in asked, -likeness(each.competency, name)))


def _fitting(order: Sequence[Question], chosen: Sequence[Question], plan: Plan) -> list[Question]:
    """Return what may be asked behind ``chosen``, in its order: the plan has time for it."""
    if len(chosen) == plan.main_questions:
        return []
    left = plan.question_minutes - sum(question.minutes for question in chosen)
    return [each for each in order if each not in chosen and each.minutes <= left]


def _topic(question: Question) -> str:
    return question.competency.casefold()


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
