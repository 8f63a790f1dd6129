"""One write of an interview's state, inside its transaction."""

from typing import Any

import msgspec

from protocol.ids import ORIGIN, EventId
from protocol.session import Turn
from storage.errors import BackendDownError, BadDataError, ErasedError
from storage.live import State, Unstored
from storage.postgres.faults import DivergedError
from storage.postgres.pool import Connection
from storage.postgres.queries import query
from storage.postgres.records import digests_of, guide_text, plan_text, session_text, started_at_of


def state_values(state: State) -> dict[str, Any]:
    """Return the columns of a state's snapshot."""
    session = state.session
    return {
        "user_id": session.user_id,
        "plan": plan_text(session),
        "guide": guide_text(session),
        "status": session.status,
        "phase": session.phase,
        "started_at": started_at_of(state),
        "ended_at": session.ended_at,
        "session": session_text(session),
        "version": state.version,
        "head_seq": state.head.seq,
        "head_check": state.head.check,
    }


async def put(connection: Connection, unstored: Unstored, values: dict[str, Any]) -> EventId | None:
    """See `Archive.write`. Everybody who writes the interview waits here for each other."""
    await connection.execute(query("lock"), values)
    row = await (await connection.execute(query("held"), values)).fetchone()
    if row is None:
        raise down()
    erased, user_id, version, seq, check, digests = row
    if erased:
        raise ErasedError
    state = unstored.state
    if user_id is not None:
        if user_id != state.session.user_id:
            raise BadDataError("the interview is stored as another user's")
        held = EventId(seq, check)
        if not _follows(state, version, held):
            return held
    elif state.stored != ORIGIN:
        return ORIGIN  # it was stored, and a failover lost all of it
    values["turns"] = encoded(_missing(state.turns, digests_of(digests)))
    values["commands"] = encoded(unstored.commands)
    if user_id is None or (version, seq) != (state.version, state.head.seq):
        await connection.execute(query("put_interview"), values)
    if values["turns"] != "[]":
        await connection.execute(query("put_turns"), values)
    if unstored.commands:
        await connection.execute(query("put_commands"), values)
    return None


def encoded(rows: Any) -> str:
    """Return rows as the JSON that a statement takes apart.

    Raises:
        BadDataError: a text holds a lone surrogate.
    """
    try:
        return msgspec.json.encode(rows).decode()
    except UnicodeError:
        raise BadDataError("a text is not Unicode") from None


def down() -> BackendDownError:
    """Return the error for an answer that did not come, or came too late to be of use."""
    return BackendDownError("PostgreSQL did not answer in time")


def _follows(state: State, version: int, held: EventId) -> bool:
    """Tell whether ``state`` is known to be the stored one or to descend from it.

    Redis says with each state what it believes to be stored. Being longer proves nothing: a log
    that lost its tail and grew again is longer too, and lacks what was promised to be stored.
    """
    return version <= state.version and held in (state.stored, state.head)


def _missing(turns: tuple[Turn, ...], stored: dict[int, str]) -> list[Turn]:
    """Return the turns that are not stored yet; none of the others may have changed."""
    missing: list[Turn] = []
    for turn in turns:
        held = stored.get(turn.turn)
        if held is None:
            missing.append(turn)
        elif held != turn.sha256:
            raise DivergedError(f"turn {turn.turn} is stored with another text")
    return missing
