"""What the API shows: interviews, tickets, transcripts."""

import csv
import io
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import asdict

from protocol.events import TurnView
from protocol.plan import Plan, Weight
from protocol.scalars import (
    Difficulty,
    InterviewType,
    Level,
    Milliseconds,
    Mode,
    Phase,
    Status,
)
from server.problems import ProblemError
from server.reporting.markdown import quoted
from storage.postgres.records import Interview

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""A cell that begins so is run by spreadsheets (OWASP, CSV injection): the last four are the signs'
full-width twins, which some read as the signs themselves."""


class InterviewView(Struct, frozen=True, kw_only=True):
    """An interview. Absent is what `fields` does not name, and in lists the documents."""

    id: str | UnsetType = UNSET
    user_id: str | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    phase: Phase | UnsetType = UNSET
    type: InterviewType | UnsetType = UNSET
    role: str | UnsetType = UNSET
    level: Level | UnsetType = UNSET
    difficulty: Difficulty | UnsetType = UNSET
    mode: Mode | UnsetType = UNSET
    duration_minutes: int | UnsetType = UNSET
    language: str | UnsetType = UNSET
    competencies: Sequence[str] | UnsetType = UNSET
    weights: Sequence[Weight] | UnsetType = UNSET
    job_description: str | UnsetType | None = UNSET
    resume: str | UnsetType | None = UNSET
    created_at: Milliseconds | UnsetType = UNSET
    started_at: Milliseconds | UnsetType | None = UNSET
    ended_at: Milliseconds | UnsetType | None = UNSET


FIELDS = InterviewView.__struct_fields__
"""What `fields` may name."""


class Ticket(Struct, frozen=True, kw_only=True):
    """A credential for one join."""

    ticket: str
    expires_at: Milliseconds
    socket_url: str


class Listing(Struct, frozen=True, kw_only=True):
    """A page of a list."""

    items: list[InterviewView]
    total: int
    limit: int
    offset: int


class Transcript(Struct, frozen=True, kw_only=True):
    """The finished turns of an interview."""

    interview_id: str
    turns: list[TurnView]


def check_words(plan: Plan) -> None:
    """Refuse what is no words for people: it would stand in titles, prompts and terminals.

    Not a bound of `Plan` itself: interviews that are stored already have to be read.

    Raises:
        ProblemError: 400, with the field's name.
    """
    check_line("role", plan.role)
    for competency in plan.competencies:
        check_line("competencies", competency)
    for weight in plan.weights:
        check_line("weights", weight.competency)
    names = [weight.competency.casefold() for weight in plan.weights]
    if len(set(names)) < len(names):
        raise ProblemError(400, "invalid_request", "weights: Expected each competency once")


def check_line(field: str, text: str) -> None:
    """Refuse a text that is no words on one line.

    Raises:
        ProblemError: 400, with the field's name.
    """
    kinds = {unicodedata.category(character) for character in text}
    if kinds & {"Cc", "Zl", "Zp"} or all(kind[0] in "CZ" for kind in kinds):
        raise ProblemError(
            400,
            "invalid_request",
            f"{field}: Expected words on one line, without control characters",
        )


def picked(fields: str | None) -> tuple[str, ...]:
    """Return the names of an interview's fields that ``fields`` asks for, all where it is None.

    Raises:
        ProblemError: 400 where a field is unknown, or none is named.
    """
    if fields is None:
        return FIELDS
    names = tuple(dict.fromkeys(name.strip() for name in fields.split(",") if name.strip()))
    unknown = [name for name in names if name not in FIELDS]
    if unknown or not names:
        wrong = f"There is no field {unknown[0]}" if unknown else "No field is named"
        raise ProblemError(400, "unknown_field", f"{wrong}; there are {', '.join(FIELDS)}.")
    return names


def shown(interview: Interview, names: Iterable[str] = FIELDS) -> InterviewView:
    """Return an interview as it is shown, or some of its fields; see `picked`."""
    whole: dict[str, Any] = {
        "id": interview.interview_id,
        "user_id": interview.user_id,
        "status": interview.status,
        "phase": interview.phase,
        **asdict(interview.plan),
        "created_at": interview.created_at,
        "started_at": interview.started_at,
        "ended_at": interview.ended_at,
    }
    return InterviewView(**{name: whole[name] for name in names})


def as_markdown(transcript: Transcript) -> str:
    """Return a transcript for people to read; nobody's words become markup."""
    lines = ["# Transcript", ""]
    for turn in transcript.turns:
        mark = " (interrupted)" if turn.outcome == "interrupted" else ""
        lines += [f"## {turn.turn}. {turn.speaker.capitalize()}{mark}", ""]
        lines += quoted(turn.text.strip() or "(nothing)")
        lines.append("")
    return "\n".join(lines)


def as_csv(transcript: Transcript) -> str:
    """Return a transcript as CSV (RFC 4180), safe where a spreadsheet separates at commas.

    One that separates elsewhere splits texts; to guard each place of a text where that may be would
    put apostrophes into smileys, lists and code.

    ``sha256`` is that of the text without the apostrophe that `_cell` may put before it.
    """
    columns = (
        "turn",
        "speaker",
        "kind",
        "question_id",
        "outcome",
        "source",
        "started_at",
        "ended_at",
        "sha256",
        "text",
    )
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    for turn in transcript.turns:
        writer.writerow([_cell(getattr(turn, column)) for column in columns])
    return out.getvalue()


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
