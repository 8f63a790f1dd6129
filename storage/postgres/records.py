"""What is handed out of the archive, and how sessions are laid out in its rows."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from protocol.guide import Guide
from protocol.plan import Plan
from protocol.scalars import Milliseconds, Phase, Status
from protocol.session import Session, Turn
from storage.errors import BadDataError
from storage.given import Given, changing_text, whole
from storage.live import State


class Interview(Struct, frozen=True, kw_only=True):
    """One interview as look-ups and lists show it; in lists its plan comes without documents."""

    interview_id: str
    user_id: str
    plan: Plan
    status: Status
    phase: Phase
    created_at: Milliseconds
    started_at: Milliseconds | None = None
    ended_at: Milliseconds | None = None


class Created(Struct, frozen=True):
    """The interview is in the archive now."""


class Existing(Struct, frozen=True):
    """The idempotency key was used for this interview, with the same content."""

    interview: Interview


class KeyReused(Struct, frozen=True):
    """The idempotency key was used for something else."""


class TooMany(Struct, frozen=True):
    """The user has created as many as one may within an hour; ``until`` there is room again."""

    until: Milliseconds


class Page(Struct, frozen=True):
    """A part of a list, and how long the whole list is."""

    items: tuple[Interview, ...]
    total: int


_plan = msgspec.json.Decoder(Plan)
_guide = msgspec.json.Decoder(Guide)
_turns = msgspec.json.Decoder(tuple[Turn, ...])
_pairs = msgspec.json.Decoder(tuple[tuple[str, str], ...])


def interview_of(row: Sequence[Any]) -> Interview:
    """Read a row of ``find_interview`` or ``list_interviews``."""
    interview_id, user_id, plan, status, phase, created_at, started_at, ended_at = row
    return Interview(
        interview_id=str(interview_id),
        user_id=user_id,
        plan=decoded(_plan, plan),
        status=status,
        phase=phase,
        created_at=created_at,
        started_at=started_at,
        ended_at=ended_at,
    )


def new_text(session: Session) -> str:
    """Return a session as it is told to what puts a new one in, without its guide."""
    fields = {
        "user_id": session.user_id,
        "plan": session.plan,
        "status": session.status,
        "phase": session.phase,
        "session": Raw(changing_text(session).encode()),
    }
    return msgspec.json.encode(fields).decode()


def guide_text(session: Session) -> str | None:
    """Return the guide as its column holds it."""
    return None if session.guide is None else msgspec.json.encode(session.guide).decode()


def session_of(session: str, plan: str, guide: str | None) -> Session:
    """Put a session together again.

    Raises:
        BadDataError: this version cannot read what the archive holds.
    """
    try:
        return whole(
            session, Given(_plan.decode(plan), None if guide is None else _guide.decode(guide))
        )
    except msgspec.DecodeError:
        raise BadDataError("the archive holds a session that this version cannot read") from None


def turns_of(records: str) -> tuple[Turn, ...]:
    """Read the turns that ``transcript`` and ``rebuild`` gather."""
    return decoded(_turns, records)


def commands_of(pairs: str) -> tuple[tuple[str, str], ...]:
    """Read the remembered answers that ``rebuild`` gathers."""
    return decoded(_pairs, pairs)


def started_at_of(state: State) -> int | None:
    """Return when the interview started, in Unix ms: its first turn begins with it."""
    if state.turns:
        return state.turns[0].started_at
    return state.session.open.started_at if state.session.open else None


def decoded(decoder: Any, text: str) -> Any:
    """Read what a column holds.

    Raises:
        BadDataError: this version cannot read it.
    """
    try:
        return decoder.decode(text)
    except msgspec.DecodeError:
        raise BadDataError("the archive holds a row that this version cannot read") from None
