"""Connections to PostgreSQL: few, checked, every wait bounded, errors translated once."""

import asyncio
import os
import select
import socket
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from math import inf
from typing import Any, Literal, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from storage.errors import BackendDownError, StorageError
from storage.postgres.faults import outlives, translated
from storage.postgres.queries import query


class Connection(psycopg.AsyncConnection[TupleRow]):
    """A connection that knows when it last answered, by the monotonic clock, in seconds."""

    answered = float("-inf")


Pool = AsyncConnectionPool[Connection]
T = TypeVar("T")
Work = Callable[[Connection], Awaitable[T]]

POOL_SIZE = 20
WAITING = 400
"""How many callers may wait for a connection; more are refused at once."""
GET_TIMEOUT_S = 2.0
IDLE_S = 30.0
RECONNECT_S = 4.0
"""An attempt to connect backs off for so long; then whoever needs a connection begins a new one.
psycopg's five minutes would keep a pool waiting for up to two after PostgreSQL is back."""
CHECK_TIMEOUT_S = 1.0
TRUSTED_S = 0.5
"""A connection that answered so lately is used without being asked again, unless it has something
to tell: that it was closed, say. Half a busy instance's round trips would be such questions."""
CALL_TIMEOUT_S = 8.0
"""The longest a unit of work takes once it has its connection: more than any statement may."""
UNREAD_S = 0.2
"""How long an answer that is overdue is still waited for: it may have come while this process stood
still or was busy, and lie there unread; the question may not even have left."""
LOOK_S = 1.0
"""How long after a look at the replica there is another one. What is read from it lacks at most
what was written within twice that time."""

SETTINGS = {
    "statement_timeout": "5s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "10s",
    # Plans are made for the values at hand: that prunes partitions and drops filters that are null.
    "plan_cache_mode": "force_custom_plan",
    "timezone": "UTC",
}
_NETWORK = {
    "application_name": "viva",
    "connect_timeout": "3",
    # A peer that vanished is noticed by the kernel; nothing here waits for its answer.
    "tcp_user_timeout": "5000",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
}


def address(url: str, settings: Mapping[str, str]) -> str:
    """Return what libpq connects by: ``url``, ``settings``, and time-outs that it does not name.

    Raises:
        ValueError: the address cannot be read; the message holds nothing of it.
    """
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise ValueError(_FORM) from None
    for name in _NUMBERS & given.keys():
        # libpq reads them when it connects: a wrong one would look like a server that is down.
        if not all(_is_number(name, text) for text in str(given[name]).split(",")):
            raise ValueError(_FORM)
    options = [str(given.pop("options", ""))] + [f"-c {k}={v}" for k, v in settings.items()]
    return make_conninfo("", **{**_NETWORK, **given, "options": " ".join(options).strip()})


_FORM = (
    "it has to be like postgresql://user:password@host:port/name, with numbers as ports and "
    "time-outs, and only options that libpq knows"
)
_NUMBERS = {
    "port",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
}


def _is_number(name: str, text: str) -> bool:
    if name != "port":
        return text.isascii() and text.isdecimal()
    return not text or (text.isascii() and text.isdecimal() and 0 < int(text[:6]) <= 65_535)


Kind = Literal["write", "read", "lagging"]
Timed = Callable[[Kind, float], None]
"""Is told how many seconds a call took."""


class Database:
    """The instance's connections to the primary and, where there is one, to a replica.

    The constructor raises `ValueError` for an address that cannot be read.

    With ``bouncer`` a PgBouncer in transaction mode may stand between: nothing is prepared, and
    settings hold for one transaction at a time. ``timed`` is told how long each call took, the wait
    for a connection included, and whether it was a ``write``, a ``read`` or a ``lagging`` read.
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
        self._bouncer = bouncer
        self._timed = timed
        self._primary = self._pool(url, size, "primary")
        self._replica = self._pool(replica_url, size, "replica") if replica_url else None
        self._replica_fit = False
        self._written: str | None = None
        self.replica_answers = False
        """Whether it did when it was looked at last."""

    async def open(self) -> None:
        """Begin to connect, in the background: PostgreSQL may be down and come up later."""
        await self._primary.open(wait=False)
        if self._replica is not None:
            await self._replica.open(wait=False)

    async def close(self) -> None:
        """Close all connections, within seconds."""
        try:
            if self._replica is not None:
                await self._replica.close(timeout=GET_TIMEOUT_S)
        finally:
            await self._primary.close(timeout=GET_TIMEOUT_S)

    async def write(self, work: Work[T], *, whole: bool = True) -> T:
        """Run ``work`` in one transaction on the primary; it may have to be run again.

        Where it need not be ``whole``, each statement is a transaction by itself: two waits fewer.

        Raises:
            BackendDownError: it may or may not have taken effect.
            BadDataError: it did not, and never will.
        """
        return await self._run("write", self._primary, work, transaction=whole or self._bouncer)

    async def read(self, work: Work[T], *, limit_s: float = CALL_TIMEOUT_S) -> T:
        """Run one statement on the primary; see `write` for the errors."""
        return await self._run(
            "read", self._primary, work, transaction=self._bouncer, limit_s=limit_s
        )

    async def read_lagging(self, work: Work[T]) -> T:
        """Run one statement that tolerates lag: on a replica that is fit, else on the primary."""
        if self._replica is not None and self._replica_fit:
            try:
                return await self._run("lagging", self._replica, work, transaction=self._bouncer)
            except BackendDownError:
                self._replica_fit = False  # until the next look
        return await self.read(work)

    async def look(self) -> float:
        """Find out how many seconds the replica is behind. To be called each `LOOK_S`.

        It is 0, and the replica fit, where it has all that the primary had written at the look
        before; infinity where nobody can tell. Nobody else waits for a replica that is down.
        """
        if self._replica is None:
            return 0.0
        before = self._written
        with suppress(StorageError):  # what it had written before still counts
            self._written = await self._look(self._primary, _position)
        behind, answers = inf, False
        if before is not None:
            with suppress(StorageError):
                behind = await self._look(self._replica, _behind(before))
                answers = True
        self.replica_answers = answers
        self._replica_fit = behind == 0
        return behind

    async def _look(self, pool: Pool, work: Work[T]) -> T:
        """Run what nobody asked for, so that it is not among what is timed."""
        return await self._run(None, pool, work, transaction=self._bouncer, limit_s=CHECK_TIMEOUT_S)

    async def _run(
        self,
        kind: Kind | None,
        pool: Pool,
        work: Work[T],
        *,
        transaction: bool,
        limit_s: float = CALL_TIMEOUT_S,
    ) -> T:
        with translated(), self._timing(kind):
            async with pool.connection() as connection:
                with _limited(connection, limit_s):
                    done = await self._work(connection, work, transaction=transaction)
                connection.answered = time.monotonic()
                return done

    @contextmanager
    def _timing(self, kind: Kind | None) -> Generator[None]:
        now = asyncio.get_running_loop().time
        began = now()
        try:
            yield
        finally:
            if self._timed is not None and kind is not None:
                self._timed(kind, now() - began)

    async def _work(self, connection: Connection, work: Work[T], *, transaction: bool) -> T:
        try:
            if not transaction:
                return await work(connection)
            async with connection.transaction():
                if self._bouncer:
                    await connection.execute(query("settings"), SETTINGS)
                return await work(connection)
        except psycopg.Error as error:
            if not outlives(error):
                await connection.close()
            raise

    def _pool(self, url: str, size: int, name: str) -> Pool:
        kwargs: dict[str, Any] = {"autocommit": True}
        if self._bouncer:
            kwargs["prepare_threshold"] = None
        return AsyncConnectionPool(
            address(url, SETTINGS if not self._bouncer else {}),
            connection_class=Connection,
            kwargs=kwargs,
            min_size=min(2, size),
            max_size=size,
            max_waiting=WAITING,
            timeout=GET_TIMEOUT_S,
            max_idle=IDLE_S,
            reconnect_timeout=RECONNECT_S,
            check=_ask if self._bouncer else _check,  # a bouncer's end is not the server's
            name=f"viva-{name}",
            open=False,
        )


async def _position(connection: Connection) -> str:
    [(position,)] = await (await connection.execute(query("position"))).fetchall()
    return position


def _behind(written: str) -> Work[float]:
    async def behind(connection: Connection) -> float:
        cursor = await connection.execute(query("behind"), {"written": written})
        [(reached, seconds)] = await cursor.fetchall()
        if reached:
            return 0.0
        return inf if seconds is None else max(LOOK_S, seconds)  # clocks of two machines differ

    return behind


async def _check(connection: Connection) -> None:
    if time.monotonic() - connection.answered >= TRUSTED_S or _tells(connection):
        await _ask(connection)


async def _ask(connection: Connection) -> None:
    with _limited(connection, CHECK_TIMEOUT_S) as limit:
        await AsyncConnectionPool.check_connection(connection)
    if limit.cut:  # the answer came all the same, but nothing else will
        await connection.close()
        raise psycopg.OperationalError("cut")
    connection.answered = time.monotonic()


def _tells(connection: Connection) -> bool:
    """Tell whether there is something to read, though nothing was asked: its end, mostly."""
    poll = select.poll()  # `select.select` knows no descriptor beyond 1,023
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


@contextmanager
def _limited(connection: Connection, seconds: float) -> Generator["_Limit"]:
    """Cut the connection unless the body is through in time.

    Cancelling the call instead would first ask the server to cancel it, and a server that hangs
    takes ten seconds over that, too.
    """
    limit = _Limit(connection, seconds)
    try:
        yield limit
    finally:
        limit.timer.cancel()


class _Limit:
    """The time that a connection has to answer, and a little more for what lies there unread."""

    __slots__ = ("_connection", "_loop", "cut", "timer")

    def __init__(self, connection: Connection, seconds: float) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self.cut = False
        self.timer = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        self.timer = self._loop.call_later(UNREAD_S, self._give_up)  # late or not

    def _give_up(self) -> None:
        self.cut = True
        _cut(self._connection)


def _cut(connection: Connection) -> None:
    if not connection.closed:
        with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)
