"""Putting a new interview in: once for each idempotency key, and not too many for one user."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import msgspec

from protocol.guide import Guide
from storage.postgres import writing
from storage.postgres.pool import Connection
from storage.postgres.queries import query
from storage.postgres.records import Created, Existing, KeyReused, TooMany, interview_of
from storage.postgres.times import created_at_of

WINDOW = timedelta(hours=1)
"""The time within which a user's creations are counted."""
ROUNDS = 64
"""How often a guide is planned anew because the user was asked something meanwhile: because other
interviews of theirs were created, for one, and one of those is through in each round."""

Values = Mapping[str, Any]
GuideFor = Callable[[frozenset[str]], Guide]
"""Plans a guide, told the bank's questions that the user was asked."""
Outcome = Created | Existing | KeyReused | TooMany


async def create(
    connection: Connection, values: Values, guide_for: GuideFor | None = None
) -> Outcome:
    """Create what ``values`` describe; ``most`` of them (None: any number) in a window."""
    values = {
        **values,
        "since": values["created_at"] - WINDOW,
        "plans": guide_for is not None,
        "asked": None,
    }
    for _ in range(ROUNDS):
        outcome, other, digest, until, asked = await _row(connection, "create_interview", values)
        match outcome:
            case "created":
                return Created()
            case "known" if digest != values["digest"]:
                return KeyReused()
            case "known":
                return await _existing(connection, str(other))
            case "full":
                return TooMany(until + int(WINDOW.total_seconds() * 1000))
            case "unplanned" if guide_for is not None:
                guide = msgspec.json.encode(guide_for(frozenset(asked))).decode()
                values = {**values, "asked": asked, "guide": guide}
            case _:
                break
    raise writing.overtaken()


async def forget(connection: Connection) -> None:
    """Drop what tells who created or erased an interview, once it matters no more."""
    await connection.execute(query("forget"), {"window_s": WINDOW.total_seconds()})


async def _existing(connection: Connection, interview_id: str) -> Existing:
    place = {"interview_id": interview_id, "created_at": created_at_of(interview_id)}
    return Existing(interview_of(await _row(connection, "find_interview", place)))


async def _row(connection: Connection, name: str, values: Values) -> Any:
    row = await (await connection.execute(query(name), values)).fetchone()
    if row is None:
        raise writing.overtaken()  # what the statement before saw was erased meanwhile
    return row
