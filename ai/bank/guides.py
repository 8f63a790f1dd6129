"""Plans an interview's main questions from the bank, once, when it is created."""

import hashlib

import msgspec
from msgspec.structs import replace

from ai.bank.agenda import agenda
from ai.bank.echo import clean
from ai.bank.entries import Question
from ai.bank.loading import load_bank
from ai.bank.templates import fill
from protocol.guide import Anchors, Guide, GuideQuestion, Probe
from protocol.plan import Plan


def plan_guide(interview_id: str, plan: Plan, asked: frozenset[str] = frozenset()) -> Guide:
    """Return the guide of a new interview.

    In assessment mode everybody on the same plan gets the same questions in the same order,
    whatever they were asked before: that is what makes them comparable. In practice mode chance
    draws, and what the user was ``asked`` before comes last.
    """
    bare = replace(plan, job_description=None, resume=None)
    if plan.mode == "assessment":
        order = agenda(load_bank(), hashlib.sha256(msgspec.json.encode(bare)).hexdigest(), bare)
    else:
        order = agenda(load_bank(), interview_id, bare, asked)
    chosen = order[: plan.main_questions]
    role = clean(plan.role)
    questions = tuple(
        _planned(f"core-{number}", question, role) for number, question in enumerate(chosen, 1)
    )
    version = hashlib.sha256(msgspec.json.encode(questions)).hexdigest()[:16]
    return Guide(version=version, questions=questions)


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
