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

Values = Mapping[str, Any]
GuideFor = Callable[[frozenset[str]], Guide]
"""Plans a guide, told the bank's questions that the user was asked."""
Outcome = Created | Existing | KeyReused | TooMany


async def create(
    connection: Connection, values: Values, guide_for: GuideFor | None = None
) -> Outcome:
    """Create what ``values`` describe; ``most`` of them (None: any number) in a window."""
    values = {**values, "window_start": values["created_at"] - WINDOW}
    # Most repeats and most of what is too many needs no lock: a flood of one user's requests would
    # fill the pool with connections that wait for each other.
    if (answer := await _standing(connection, values)) is not None:
        return answer
    await connection.execute(query("lock_user"), values)
    if (answer := await _standing(connection, values)) is not None:
        return answer
    # An instance of a version before this lock may take the key meanwhile.
    if values["key"] is not None and await _row(connection, "claim_key", values) is None:
        raise writing.down()
    if guide_for is not None:
        rows = await (await connection.execute(query("asked"), values)).fetchall()
        guide = guide_for(frozenset(row[0] for row in rows))
        values = {**values, "guide": msgspec.json.encode(guide).decode()}
    if await _row(connection, "create_interview", values) is not None:
        await connection.execute(query("note_creation"), values)
    return Created()


async def forget(connection: Connection) -> None:
    """Drop what tells who created or erased an interview, once it matters no more."""
    await connection.execute(query("forget"), {"window_s": WINDOW.total_seconds()})


async def _standing(connection: Connection, values: Values) -> Outcome | None:
    """Return why nothing is to be created, None where nothing stands against it."""
    if values["key"] is not None and (known := await _row(connection, "find_key", values)):
        digest, interview_id = known
        if digest != values["digest"]:
            return KeyReused()
        place = {"interview_id": interview_id, "created_at": created_at_of(str(interview_id))}
        row = await _row(connection, "find_interview", place)
        if row is None:
            raise writing.down()  # erased since the statement before
        return Existing(interview_of(row))
    if values["most"] is not None:
        row = await _row(connection, "creation_in_the_way", values)
        if row is not None:
            return TooMany(row[0] + int(WINDOW.total_seconds() * 1000))
    return None


async def _row(connection: Connection, name: str, values: Values) -> Any:
    return await (await connection.execute(query(name), values)).fetchone()
