"""What the model is told about a case; the wording is in ``rules.toml``.

Instructions: the rules, the same for all cases, then a random mark. Input: the question, its
anchors and the turns, each between tags and declared to be data, then the task.
"""

from functools import cache
from importlib import resources

import msgspec
from msgspec import Struct

from ai import languages
from ai.assessor.case import Case
from ai.assessor.replies import SCHEMA, FaultyReplyError
from ai.provider import Prompt
from ai.transcript import clip_middle, fenced, shares, unbracketed
from protocol.ledger import Task
from protocol.session import Turn
from protocol.text import sha256

ANSWERS_CHARACTERS = 48_000
"""How much of all turns on one question the model reads; above three answers of full length."""
INTERVIEW_CHARACTERS = 48_000
REPLY_CHARACTERS = 6_000
"""How much of a refused reply is shown to whoever wrote it."""
SCHEMA_VERSION = "1"
"""Raise it where the same words are read in another way."""


class _Wording(Struct, frozen=True, forbid_unknown_fields=True):
    rules: str
    communication: str
    canary: str
    case: str
    task: str
    repair: str


def build_prompt(case: Case, canary: str) -> Prompt:
    """Return the prompt of a case."""
    wording = _wording()
    numbers = ", ".join(str(turn.turn) for turn in case.answers)
    task = wording.task.format(question_id=case.question.question_id, turns=numbers)
    return Prompt(
        instructions=f"{_rules(case.task)}{wording.canary.format(canary=canary)}",
        input=f"{_described(case)}\n{_told(case)}\n{task}",
    )


def repair_prompt(prompt: Prompt, faulty: FaultyReplyError) -> Prompt:
    """Return ``prompt`` again, with what was wrong with its reply."""
    lines: list[str] = []
    for problem in faulty.problems:
        lines.append(f"- {problem.told}")
        if problem.words:
            lines.append(_data("problem", problem.words))
    told = "\n".join(lines)
    reply = _data("reply", clip_middle(faulty.reply, REPLY_CHARACTERS))
    return Prompt(
        instructions=prompt.instructions,
        input=f"{prompt.input}\n{_wording().repair.format(problems=told, reply=reply)}",
    )


@cache
def prompt_sha256(task: Task) -> str:
    """Return the digest of all that is the same for every case: rules, wording and schema."""
    wording = _wording()
    parts = (SCHEMA_VERSION, _rules(task), wording.canary, wording.case, wording.task)
    schema = msgspec.json.encode(SCHEMA).decode()
    return sha256("\x1f".join((*parts, wording.repair, schema)))


@cache
def _wording() -> _Wording:
    data = resources.files("ai.assessor").joinpath("rules.toml").read_bytes()
    return msgspec.toml.decode(data, type=_Wording)


def _rules(task: Task) -> str:
    wording = _wording()
    return wording.rules + (wording.communication if task == "communicate" else "")


def _described(case: Case) -> str:
    plan, question = case.plan, case.question
    head = _wording().case.format(
        type=plan.type.replace("_", " "), level=plan.level, language=languages.told(plan.language)
    )
    anchors = question.anchors
    return "\n".join(
        (
            head.strip(),
            _data("role", plan.role),
            _data("competency", question.competency),
            _data("question", question.text, id=question.question_id),
            _data("anchor", anchors.one, score=1),
            _data("anchor", anchors.three, score=3),
            _data("anchor", anchors.five, score=5),
        )
    )


def _told(case: Case) -> str:
    room = ANSWERS_CHARACTERS if case.task == "rate" else INTERVIEW_CHARACTERS
    limit = shares([len(turn.text) for turn in case.turns], room)
    told = "\n".join(_turn(turn, limit) for turn in case.turns)
    return f"<transcript>\n{told}\n</transcript>"


def _turn(turn: Turn, limit: int) -> str:
    cut = turn.outcome == "interrupted"
    note = {"note": "interrupted; this is all that was heard"} if cut else {}
    text = clip_middle(turn.text, limit)
    if not text:  # a stand-in among the words would be quoted
        note = {"note": "nothing was said"}
    return _data("turn", text, n=turn.turn, speaker=turn.speaker, kind=turn.kind, **note)


def _data(tag: str, text: str, **attributes: str | int) -> str:
    return fenced(tag, unbracketed(text), **attributes)
