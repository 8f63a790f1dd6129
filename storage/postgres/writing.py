"""One write of an interview's state: what is told to the function that does it, and its answer."""

from typing import Any

import msgspec
from msgspec import Raw

from protocol.ids import EventId
from storage.errors import BackendDownError, BadDataError, ErasedError
from storage.given import changing_text
from storage.live import Unstored
from storage.postgres.faults import DivergedError
from storage.postgres.pool import Connection
from storage.postgres.queries import query
from storage.postgres.records import started_at_of

GIVEN = 2
"""How many of the newest turns are given unasked: a candidate's and the interviewer's behind it."""


async def put(connection: Connection, unstored: Unstored, place: dict[str, Any]) -> EventId | None:
    """See `Archive.write`. Everybody who writes the interview waits here for each other."""
    turns = unstored.state.turns
    values = {
        **place,
        "live": _live(unstored, whole=False),
        "digests": encoded({turn.turn: turn.sha256 for turn in turns}),
        "turns": encoded(turns[-GIVEN:]),
        "answers": encoded(unstored.commands),
    }
    outcome, seq, check, named = await _write(connection, values)
    if outcome == "lacking":
        values["live"] = _live(unstored, whole=True)
        wanted = frozenset[int](named or ())
        values["turns"] = encoded([turn for turn in turns if turn.turn in wanted])
        outcome, seq, check, named = await _write(connection, values)
    match outcome:
        case "written":
            return None
        case "held":
            return EventId(seq, check)
        case "erased":
            raise ErasedError
        case "foreign":
            raise BadDataError("the interview is stored as another user's")
        case "diverged":
            raise DivergedError(f"turn {named[0]} is stored with another text")
        case _:
            raise overtaken()  # what was there a moment ago is not any more


def encoded(rows: Any) -> str:
    """Return rows as the JSON that a statement takes apart.

    Raises:
        BadDataError: a text holds a lone surrogate.
    """
    try:
        return msgspec.json.encode(rows).decode()
    except UnicodeError:
        raise BadDataError("a text is not Unicode") from None


def overtaken() -> BackendDownError:
    """Return the error for a call whose ground was changed by others again and again: once more."""
    return BackendDownError("others wrote to PostgreSQL meanwhile")


async def _write(connection: Connection, values: dict[str, Any]) -> tuple[Any, ...]:
    row = await (await connection.execute(query("write_interview"), values)).fetchone()
    if row is None:
        raise overtaken()
    return row


def _live(unstored: Unstored, *, whole: bool) -> str:
    """Return a state as it is told; ``whole`` with what never changes, for one not held yet."""
    state = unstored.state
    session = state.session
    fields: dict[str, Any] = {
        "user_id": session.user_id,
        "status": session.status,
        "phase": session.phase,
        "started_at": started_at_of(state),
        "ended_at": session.ended_at,
        "session": Raw(changing_text(session).encode()),
        "version": state.version,
        "head_seq": state.head.seq,
        "head_check": state.head.check,
        "stored_seq": state.stored.seq,
        "stored_check": state.stored.check,
    }
    if whole:
        fields |= {"plan": session.plan, "guide": session.guide}
    return encoded(fields)
