"""What the model is told; the wording is in ``prompts.toml``.

The stable part comes first, so that the provider can cache it. Instructions: the rules and the
plan, the same in every turn of an interview. Input: the transcript, which only grows, and then the
task of this turn. All that the candidate or the employer wrote stands between tags and is declared
to be data.
"""

from collections.abc import Iterator
from functools import cache
from importlib import resources

import msgspec
from msgspec import Struct

from ai import languages
from ai.provider import Prompt
from ai.speech import TurnRequest
from ai.transcript import clip_middle, fenced, tell
from protocol.guide import Intent
from protocol.plan import Plan
from protocol.probing import Lack, recovers
from protocol.scalars import Difficulty, InterviewType, Level

DOCUMENT_CHARACTERS = 6_000
"""How much of the job description, and of the résumé, the model reads."""


class _Tasks(Struct, frozen=True, forbid_unknown_fields=True):
    warmup: str
    question: str
    topic: str
    planned: str
    planned_assessment: str
    prepared: str
    prepared_assessment: str
    probe: str
    open_probe: str
    onward_blank: str
    intents: dict[Intent, str]
    lacks: dict[Lack, str]
    hint: str
    invitation: str
    again: str
    reply: str
    closing: str


class _Wording(Struct, frozen=True, forbid_unknown_fields=True):
    rules: str
    plan: str
    types: dict[InterviewType, str]
    difficulties: dict[Difficulty, str]
    levels: dict[Level, str]
    tasks: _Tasks


def build_prompt(request: TurnRequest) -> Prompt:
    """Return the prompt for one turn."""
    task = f"# Your task in turn {request.turn}\n{_task(request)}"
    return Prompt(
        instructions=f"{_wording().rules}\n{_plan(request.plan, request.main_questions)}",
        input=f"{tell(request.turns)}\n\n{task}",
    )


def question_number(question_id: str | None) -> int | None:
    """Return the number of a main question (``core-3`` is 3), None for every other."""
    number = (question_id or "").removeprefix("core-")
    return int(number) if number.isdecimal() else None


@cache
def _wording() -> _Wording:
    data = resources.files("ai").joinpath("prompts.toml").read_bytes()
    return msgspec.toml.decode(data, type=_Wording)


def _plan(plan: Plan, main_questions: int) -> str:
    wording = _wording()
    lines = [
        wording.plan.format(
            type=plan.type.replace("_", " "),
            about_type=wording.types[plan.type],
            difficulty=plan.difficulty,
            about_difficulty=wording.difficulties[plan.difficulty],
            level=plan.level,
            about_level=wording.levels[plan.level],
            language=languages.told(plan.language),
            minutes=plan.duration_minutes,
            main_questions=main_questions,
        ),
        fenced("role", plan.role),
    ]
    if plan.competencies:
        lines.append(fenced("competencies", "\n".join(plan.competencies)))
    for tag, document in (("job_description", plan.job_description), ("resume", plan.resume)):
        if document:
            lines.append(fenced(tag, clip_middle(document, DOCUMENT_CHARACTERS)))
    return "\n".join(lines)


def _task(request: TurnRequest) -> str:
    tasks = _wording().tasks
    match request.kind:
        case "probe":
            return _purpose(request, tasks) + _prepared(request, tasks)
        case "hint":
            return tasks.hint
        case "reply":
            return tasks.reply if request.intent is None else _again(request, tasks)
        case "closing":
            return tasks.closing
        case _:
            return _question(request, tasks)


def _purpose(request: TurnRequest, tasks: _Tasks) -> str:
    """Return what the follow-up is for: the server chose it by what the answer lacks."""
    if request.intent is None:
        return tasks.probe + tasks.open_probe
    return " ".join((tasks.probe, *_noted(request, tasks), tasks.intents[request.intent]))


def _again(request: TurnRequest, tasks: _Tasks) -> str:
    """Return how the question is put again to who asked back."""
    return " ".join((tasks.again, *_noted(request, tasks)))


def _noted(request: TurnRequest, tasks: _Tasks) -> Iterator[str]:
    return (tasks.lacks[lack] for lack in request.lacks or ())


def _prepared(request: TurnRequest, tasks: _Tasks) -> str:
    """Return the guide's follow-ups to the question, each with what it is for.

    Only those of the kind that was chosen, where it was.
    """
    planned = request.guide.question(request.question_id or "") if request.guide else None
    if planned is None or recovers(request.lacks or ()):
        return ""
    probes = [p for p in planned.probes if request.intent in (None, p.intent)]
    if not probes:
        return ""
    assesses = request.plan.mode == "assessment"
    task = tasks.prepared_assessment if assesses else tasks.prepared
    return task.format(probes=" ".join(f"({p.intent}) {p.text}" for p in probes))


def _question(request: TurnRequest, tasks: _Tasks) -> str:
    number, plan = question_number(request.question_id), request.plan
    if number is None:
        return tasks.warmup if request.question_id == "warmup" else tasks.invitation
    planned = request.guide.question(request.question_id or "") if request.guide else None
    if planned is not None:
        assesses = plan.mode == "assessment"
        task = tasks.planned_assessment if assesses else tasks.planned
        asked = task.format(number=number, main_questions=request.main_questions)
        kindly = tasks.onward_blank if recovers(request.lacks or ()) else ""
        # The candidate's name for the role is part of it.
        return f"{asked}{kindly}\n{fenced('question', planned.text)}"
    topic = ""
    if plan.competencies:
        topic = tasks.topic.format(place=(number - 1) % len(plan.competencies) + 1)
    return tasks.question.format(number=number, main_questions=request.main_questions, topic=topic)
