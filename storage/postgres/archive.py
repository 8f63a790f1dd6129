"""The archive: interviews in PostgreSQL, from which each can be rebuilt."""

import functools
from collections.abc import Sequence
from typing import Any

import msgspec
from psycopg import errors

from protocol.clock import PAUSED_MS, UNSTARTED_MS
from protocol.ids import EventId
from protocol.ledger import LedgerEntry
from protocol.scalars import InterviewType, Status
from protocol.session import Session, Turn
from storage.errors import BadDataError, ErasedError, UnmigratedError
from storage.live import Restore, Unstored
from storage.postgres import creating, writing
from storage.postgres.faults import MIGRATE
from storage.postgres.migrate import MONTHS_AHEAD, migrations
from storage.postgres.places import partitioned, place_of
from storage.postgres.pool import POOL_SIZE, Connection, Database, Timed
from storage.postgres.queries import query
from storage.postgres.records import (
    Interview,
    Page,
    commands_of,
    guide_text,
    interview_of,
    new_text,
    session_of,
    turns_of,
)
from storage.postgres.times import moment

PING_TIMEOUT_S = 1.0
MARGIN_MS = 3_600_000
"""An absence that ended sooner ago is still in Redis, where a timer ends it."""
LIVE_MS = 86_400_000
"""An interview whose clock runs for so long was lost by Redis while nobody was there."""


class Archive:
    """What the instance asks of PostgreSQL: the primary and, where there is one, a replica.

    Every method may raise `BackendDownError`, after which it may be called again with the same
    arguments: none of them does anything twice. An id that is no UUIDv7 is that of no interview.
    The constructor opens nothing; it raises `ValueError` for an address that cannot be read.
    """

    def __init__(
        self,
        url: str,
        *,
        replica_url: str | None = None,
        size: int = POOL_SIZE,
        bouncer: bool = False,
        timed: Timed | None = None,
    ) -> None:
        self._database = Database(
            url, replica_url=replica_url, size=size, bouncer=bouncer, timed=timed
        )

    @property
    def database(self) -> Database:
        """The connections, for what else is kept there."""
        return self._database

    async def open(self) -> None:
        """Begin to connect, in the background: PostgreSQL may come up later."""
        await self._database.open()

    async def close(self) -> None:
        """Close all connections, within seconds."""
        await self._database.close()

    async def ping(self) -> None:
        """Raise `BackendDownError` unless the primary answers, in at most about four seconds."""
        await self._database.read(_ping, limit_s=PING_TIMEOUT_S)

    @property
    def replica_answers(self) -> bool:
        """Whether the replica did when it was looked at last; False where there is none."""
        return self._database.replica_answers

    async def check_schema(self) -> None:
        """Raise `UnmigratedError` where the schema is older than this version's; see `ping`."""
        await self._database.read(_check_schema, limit_s=PING_TIMEOUT_S)

    async def ensure_partitions(self, months: int = MONTHS_AHEAD) -> int:
        """Make the partitions of last month, this month and ``months`` more; return how many.

        Drops what need not be known any more, too. To be called at each start and daily.
        """
        values = {"months": months + 1}

        async def make(connection: Connection) -> int:
            return (await _row(connection, "ensure_partitions_now", values))[0]

        made = await self._database.write(make)
        await self._database.write(creating.forget)
        return made

    # --- interviews -------------------------------------------------------------------------------

    async def create_interview(
        self,
        session: Session,
        *,
        idempotency_key: str | None = None,
        digest: str = "",
        most: int | None = None,
        guide_for: creating.GuideFor | None = None,
    ) -> creating.Outcome:
        """Put a new interview in; ``digest`` is that of the request which brought the key.

        ``most`` is how many the user may create within an hour, erased ones among them.
        ``guide_for`` plans the guide, for what the user was asked: nobody else creates one of the
        user's meanwhile. It may be called again; the last guide counts.

        Raises:
            BadDataError: the session is none that the archive can hold.
        """
        values = {
            **place_of(session.interview_id),
            "key": idempotency_key,
            "digest": digest,
            "most": most,
            "given": new_text(session),
            "guide": guide_text(session),
        }

        async def create(connection: Connection) -> creating.Outcome:
            return await creating.create(connection, values, guide_for)

        return await partitioned(self._database, create, session.interview_id, whole=False)

    async def get(self, interview_id: str) -> Interview | None:
        """Return one interview, None where there is none."""
        try:
            place = place_of(interview_id)
        except BadDataError:
            return None

        async def find(connection: Connection) -> Interview | None:
            row = await _row_or_none(connection, "find_interview", place)
            return interview_of(row) if row else None

        return await self._database.read(find)

    async def list(
        self,
        user_id: str | None,
        *,
        limit: int = 20,
        offset: int = 0,
        status: Status | None = None,
        type: InterviewType | None = None,  # noqa: A002  # the contract's name
        since: int | None = None,
    ) -> Page:
        """Return a page of interviews, newest first: one user's, or all where ``user_id`` is None.

        ``since`` is the earliest time of creation, in Unix ms. May lag behind the primary.
        """
        values = {
            "user_id": user_id,
            "limit": limit,
            "offset": offset,
            "status": status,
            "type": type,
            "since": None if since is None else moment(since),
        }

        async def page(connection: Connection) -> Page:
            rows = await (await connection.execute(query("list_interviews"), values)).fetchall()
            items = tuple(interview_of(row[1:]) for row in rows if row[1] is not None)
            return Page(items, rows[0][0])

        return await self._database.read_lagging(page)

    async def transcript(self, interview_id: str, *, lagging: bool = True) -> tuple[Turn, ...]:
        """Return the finished turns in order; none where there is no such interview.

        May lag behind the primary, unless it is not to be ``lagging``; of an interview that a
        replica does not know yet, the primary is asked.
        """
        try:
            place = place_of(interview_id)
        except BadDataError:
            return ()

        async def find(connection: Connection) -> tuple[Turn, ...] | None:
            row = await _row_or_none(connection, "transcript", place)
            return turns_of(row[0]) if row else None

        turns = await self._database.read_lagging(find) if lagging else None
        if turns is None:
            turns = await self._database.read(find)
        return turns or ()

    async def rebuild(self, interview_id: str) -> Restore | None:
        """Return what an interview is rebuilt from, None where there is none. ``tick`` is 0.

        Raises:
            ErasedError: it was erased.
            BadDataError: this version cannot read it.
        """
        try:
            place = place_of(interview_id)
        except BadDataError:
            return None

        async def find(connection: Connection) -> Sequence[Any]:
            return await _row(connection, "rebuild", place)

        (
            erased,
            plan,
            guide,
            session,
            version,
            seq,
            check,
            turns,
            commands,
        ) = await self._database.read(find)
        if erased:
            raise ErasedError
        if session is None:
            return None
        return Restore(
            session=session_of(session, plan, guide),
            version=version,
            head=EventId(seq, check),
            tick=0,
            turns=turns_of(turns),
            commands=commands_of(commands),
        )

    async def overdue(self, now: int, limit: int = 100) -> tuple[str, ...]:
        """Return interviews that time should have ended by ``now``, in Unix ms, and did not yet.

        Parked ones mostly: nothing looks at them until somebody joins.
        """
        values = {
            "now": now,
            "limit": limit,
            "unstarted_ms": UNSTARTED_MS,
            "paused_ms": PAUSED_MS,
            "margin_ms": MARGIN_MS,
            "live_ms": LIVE_MS,
        }

        async def find(connection: Connection) -> tuple[str, ...]:
            rows = await (await connection.execute(query("overdue"), values)).fetchall()
            return tuple(str(row[0]) for row in rows)

        return await self._database.read(find)

    async def write(self, unstored: Unstored) -> EventId | None:
        """Bring the archive up to a live state.

        Where the archive holds another state than Redis believes, nothing is written and the head
        of what is held is returned: the caller finds out whether the live log leads on from it.
        Older states never overwrite newer ones, finished turns never change.

        Raises:
            ErasedError: the interview was erased.
            DivergedError: the archive holds another text of one of its finished turns.
            BadDataError: PostgreSQL refuses the data.
        """
        interview_id = unstored.state.session.interview_id
        place = place_of(interview_id)

        async def put(connection: Connection) -> EventId | None:
            return await writing.put(connection, unstored, place)

        return await partitioned(self._database, put, interview_id, whole=False)

    async def erase(self, interview_id: str, *, by: str | None = None) -> None:
        """Erase an interview for good, and refuse whatever arrives late of it.

        An id of no interview leaves a tombstone too: its first write may still be under way. ``by``
        whom it was erased is known for a while, see `erased_by`.
        """
        try:
            place = place_of(interview_id)
        except BadDataError:
            return

        async def erase(connection: Connection) -> None:
            await connection.execute(query("lock"), place)
            await connection.execute(query("erase"), place)
            if by is not None:
                await connection.execute(query("note_erasure"), {**place, "by": by})

        await self._database.write(erase)

    async def erased_by(self, interview_id: str) -> str | None:
        """Return who erased the interview, None where nobody did within the last hour."""
        try:
            place = place_of(interview_id)
        except BadDataError:
            return None

        values = {**place, "window_s": creating.WINDOW.total_seconds()}

        async def find(connection: Connection) -> str | None:
            row = await _row_or_none(connection, "erased_by", values)
            return row[0] if row else None

        return await self._database.read(find)

    # --- ledger -----------------------------------------------------------------------------------

    async def write_ledger(self, rows: Sequence[LedgerEntry]) -> None:
        """Put ledger rows in, each once by its id; those of erased interviews are dropped.

        Raises:
            BadDataError: one of them cannot be held; none was written.
        """
        if not rows:
            return
        places = {row.interview_id: place_of(row.interview_id) for row in rows}
        # One row a key, in one order everywhere: two instances with the same rows never deadlock.
        unique = {(row.interview_id, row.id): row for row in rows}
        records = [
            {**msgspec.to_builtins(unique[key]), "created_at": places[key[0]]["created_at"]}
            for key in sorted(unique)
        ]
        values = {"rows": writing.encoded(records)}

        async def put(connection: Connection) -> None:
            await connection.execute(query("write_ledger"), values)

        await partitioned(self._database, put, *places, whole=False)


async def _check_schema(connection: Connection) -> None:
    try:
        (applied,) = await _row(connection, "migrations_newest", {})
    except errors.InsufficientPrivilege:
        return  # it answers, and this user is not to know its schema
    if applied < _newest():
        raise UnmigratedError(f"PostgreSQL's schema is that of migration {applied}: {MIGRATE}")


@functools.cache
def _newest() -> int:
    return len(migrations())


async def _ping(connection: Connection) -> None:
    await connection.execute("SELECT 1")


async def _row(connection: Connection, name: str, values: dict[str, Any]) -> Sequence[Any]:
    row = await _row_or_none(connection, name, values)
    if row is None:
        raise writing.overtaken()  # what was seen just now was erased meanwhile
    return row


async def _row_or_none(
    connection: Connection, name: str, values: dict[str, Any]
) -> Sequence[Any] | None:
    cursor = await connection.execute(query(name), values)
    return await cursor.fetchone()
