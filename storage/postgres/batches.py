"""Parked ratings and the batches they are sent in, in PostgreSQL.

A batch and what belongs to it are sealed before anything is sent. Whoever works at one holds it for
a while; what is written under an older hold takes no effect. Taking replies in may be repeated.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from protocol.ledger import Task
from storage.errors import BadDataError, MissingError
from storage.postgres.places import partitioned, place_of
from storage.postgres.pool import Connection, Database
from storage.postgres.queries import query
from storage.postgres.writing import encoded

WholeApi = Literal["chat", "responses"]


class Waits(NamedTuple):
    """A call that waits for a batch; ``size`` in bytes, ``age_s`` since it was parked."""

    request_id: str
    size: int
    age_s: float


class Batch(Struct, frozen=True, kw_only=True):
    """A batch in the hands of whoever claimed it."""

    batch_id: str
    holder: str
    api: WholeApi
    model: str
    provider_id: str | None
    """None until it is known to have been sent."""
    tries: int
    """How often it was claimed, this time included."""
    sealed_at: int
    age_s: float


class Request(Struct, frozen=True, kw_only=True):
    """A parked call of a batch."""

    request_id: str
    interview_id: str
    user_id: str
    question_id: str
    sample: int
    task: Task
    turn: int
    sampled: bool
    instructions: str
    input: str


class ParkedRow(Struct, frozen=True, kw_only=True):
    """What became of a parked call: neither ``reply`` nor ``code`` while it waits."""

    request_id: str
    sample: int
    api: WholeApi
    model: str
    canary: str
    prompt_sha256: str
    reply: str | None
    code: str | None


class Backlog(NamedTuple):
    """How many calls wait for a batch, and how many are in one."""

    waiting: int
    sent: int


class Batches:
    """Every method may raise `BackendDownError` and may then be called again as it was."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- parking ----------------------------------------------------------------------------------

    async def park(self, interview_id: str, calls: Sequence[Mapping[str, Any]]) -> None:
        """Park calls, each a row but for the names of its interview; never one twice."""
        place = _place(interview_id)

        async def put(connection: Connection) -> None:
            await connection.execute(query("lock"), place)  # an erasure waits, or went before
            for call in calls:
                await connection.execute(query("park_rating"), {**call, **place})

        await partitioned(self._database, put, interview_id)

    async def find(self, interview_id: str, question_id: str) -> tuple[ParkedRow, ...]:
        """Return what is known of a question's parked calls."""
        values = {**_place(interview_id), "question_id": question_id}
        names = ParkedRow.__struct_fields__
        rows = await self._rows("find_parked", values)
        return tuple(ParkedRow(**dict(zip(names, row, strict=True))) for row in rows)

    async def note_faulty(self, interview_id: str, entry_id: str, code: str) -> None:
        """Put ``code`` in a ledger row of the interview."""
        await self._write("note_faulty", {**_place(interview_id), "id": entry_id, "code": code})

    # --- groups -----------------------------------------------------------------------------------

    async def seal(
        self, batch_id: str, most: int, choose: Callable[[Sequence[Waits]], Sequence[str]]
    ) -> bool:
        """Make a batch of those that ``choose`` names of the longest waiting; False where of none.

        ``choose`` sees one more than ``most``, of one API and one model, the oldest first.
        """

        async def put(connection: Connection) -> bool:
            await connection.execute(query("lock_batches"))
            found = await connection.execute(query("batch_waiting"), {"most": most + 1})
            rows = await found.fetchall()
            chosen = choose([Waits(*row[:3]) for row in rows])
            if not chosen:
                return False
            values = {"batch_id": batch_id, "api": rows[0][3], "model": rows[0][4]}
            await connection.execute(query("batch_seal"), {**values, "requests": list(chosen)})
            return True

        return await self._database.write(put)

    async def claim(self, holder: str, lease_s: float) -> Batch | None:
        """Take a batch that is due, and that nobody holds, for ``lease_s``."""
        row = await self._write("batch_claim", {"holder": holder, "lease_s": lease_s})
        return Batch(**dict(zip(Batch.__struct_fields__, row[0], strict=True))) if row else None

    async def keep(self, batch: Batch, lease_s: float) -> bool:
        """Go on holding a batch; False where it is another's by now."""
        return bool(await self._write("batch_keep", {**_held(batch), "lease_s": lease_s}))

    async def requests(self, batch: Batch) -> tuple[Request, ...]:
        """Return the calls of whose end nothing is known, an interview's together."""
        names = Request.__struct_fields__
        rows = await self._rows("batch_requests", {"batch_id": batch.batch_id})
        return tuple(Request(**dict(zip(names, row, strict=True))) for row in rows)

    async def sent(self, batch: Batch, provider_id: str) -> bool:
        """Remember that it was sent; False where it is another's, or was sent by another."""
        return bool(await self._write("batch_sent", {**_held(batch), "provider_id": provider_id}))

    async def put_off(self, batch: Batch, seconds: float) -> None:
        """Let go of a batch; it is due again in a while."""
        await self._write("batch_put_off", {**_held(batch), "seconds": seconds})

    async def unseal(
        self, batch: Batch, requests: Iterable[str], *, code: str | None = None, seconds: float = 0
    ) -> None:
        """Take calls out of a batch that was not sent: to wait, or with ``code`` for good."""
        values = {**_held(batch), "requests": list(requests), "code": code, "seconds": seconds}
        await self._write("batch_unseal", values)

    async def take(
        self, batch: Batch, interview_id: str, ends: Sequence[Mapping[str, str | None]]
    ) -> None:
        """Take in what became of an interview's calls; what was taken before stays as it is."""
        values = {**_place(interview_id), "batch_id": batch.batch_id, "rows": encoded(ends)}

        async def put(connection: Connection) -> None:
            await connection.execute(query("lock"), values)
            await connection.execute(query("batch_take"), values)

        await self._database.write(put)

    async def ready(self, batch: Batch) -> tuple[str, ...]:
        """Return the batch's interviews that wait for nothing any more."""
        return _names(await self._rows("batch_ready", {"batch_id": batch.batch_id}))

    async def end(self, batch: Batch, ended: str) -> bool:
        """Note that the batch is over; False where it is another's by now."""
        return bool(await self._write("batch_end", {**_held(batch), "ended": ended}))

    # --- looking after them -----------------------------------------------------------------------

    async def release(self, code: str, older_s: float = 0) -> tuple[str, ...]:
        """Have calls made live that waited for so long without a batch; return their interviews."""
        return _names(await self._write("batch_release", {"code": code, "older_s": older_s}))

    async def abandon(self, code: str) -> tuple[str, ...]:
        """Have the calls of all batches made live; return their interviews."""
        return _names(await self._write("batch_abandon", {"code": code}))

    async def tidy(self) -> None:
        """Delete what has served."""

        async def delete(connection: Connection) -> None:
            await connection.execute(query("batch_tidy"))

        await self._database.write(delete)

    async def backlog(self) -> Backlog:
        """Return how many calls there are."""
        ((waiting, sent),) = await self._rows("batch_backlog", {})
        return Backlog(waiting, sent)

    async def _rows(self, name: str, values: dict[str, Any]) -> Sequence[Sequence[Any]]:
        async def find(connection: Connection) -> Sequence[Sequence[Any]]:
            return await (await connection.execute(query(name), values)).fetchall()

        return await self._database.read(find)

    async def _write(self, name: str, values: dict[str, Any]) -> Sequence[Sequence[Any]]:
        async def write(connection: Connection) -> Sequence[Sequence[Any]]:
            cursor = await connection.execute(query(name), values)
            return await cursor.fetchall() if cursor.description else ()

        return await self._database.write(write)


def _held(batch: Batch) -> dict[str, Any]:
    return {"batch_id": batch.batch_id, "holder": batch.holder}


def _names(rows: Iterable[Sequence[Any]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(row[0]) for row in rows))


def _place(interview_id: str) -> dict[str, Any]:
    try:
        return place_of(interview_id)
    except BadDataError:
        raise MissingError from None
