"""Any number of calls under way over one connection to Redis; replies come in the calls' order.

A pool lends each call a connection for as long as it takes. Over a slow link that lets few calls
pass, those that wait overtake each other, and each costs a task's way through redis-py. Here what
is called in one turn of the loop is one write, and what comes back wakes just those who wait.
Setting a connection up (TLS, passwords, Sentinel) stays redis-py's; the bytes after that are ours.

Source: Redis documentation, "Redis pipelining"; it runs functions one at a time in any case, so
that a call behind others on the connection waits no longer than on one of its own.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import hiredis
from redis import exceptions

CALL_TIMEOUT_S = 0.8
CONNECT_TIMEOUT_S = 0.8
ATTEMPT_S = 4.0
"""How long an attempt to connect may take: each Sentinel that is gone takes `CONNECT_TIMEOUT_S` of
it before the next one is asked."""
UNREAD_S = CALL_TIMEOUT_S / 4
"""How long a reply that is overdue is still waited for: it may have come while this process stood
still or was busy, and lie there unread; the call may not even have left."""
MOST_CALLS = 8_192
"""So many may be under way; Redis is as good as down where more wait."""
MOST_BYTES = 32 * 1024 * 1024
"""So much may wait to be sent."""

_MORE = object()
_DEMOTED = "READONLY"
"""What a primary says that a failover has made a replica."""


class Wire:
    """Calls over a connection that is made when one is needed, and anew where it was lost.

    ``pool`` is redis-py's: it knows how a connection is set up, and lends none here. A reply that
    has not come after ``call_s`` is overdue, and `UNREAD_S` later the connection is given up.
    """

    def __init__(self, pool: Any, call_s: float = CALL_TIMEOUT_S) -> None:
        self._pool = pool
        self._call_s = call_s
        self._link: _Link | None = None
        self._links = 0
        self._attempt: asyncio.Task[_Link] | None = None
        self._closed = False

    @property
    def number(self) -> int:
        """Which connection calls go over now: they are counted from 1. 0 where there is none."""
        return 0 if self._link is None or self._link.lost else self._links

    async def send(self, calls: Sequence[bytes], count: int | None = None) -> list[Any]:
        """Send packed calls; return their replies, an error standing in for that of a refused call.

        ``count`` is how many they are where several are packed in one. Who is cancelled meanwhile
        does not take the call back; its reply goes to nobody.

        Raises:
            redis.exceptions.ConnectionError: there is no connection, or it was lost.
            redis.exceptions.TimeoutError: no reply came in time.
            redis.exceptions.InvalidResponse: the server sent what is no reply, or one too many.
            OSError, TimeoutError: a connection could not be made.
        """
        if not calls:
            return []
        link = self._link
        if link is None or link.lost:
            link = await self._connected()
        return await link.send(calls, count)

    def post(self, calls: Sequence[bytes]) -> None:
        """Send packed calls behind all others; nobody learns what comes of them.

        Where there is no connection, or too much waits for it, they are dropped.
        """
        link = self._link
        if calls and link is not None:
            link.post(calls)

    async def aclose(self) -> None:
        """Close the connection for good; what is under way fails."""
        self._closed = True
        if self._attempt is not None:
            self._attempt.cancel()
            await asyncio.wait((self._attempt,))
        if self._link is not None:
            self._link.lose(exceptions.ConnectionError("closed"))

    async def _connected(self) -> "_Link":
        """Wait for the one attempt to connect: who waits shares its outcome."""
        if self._closed:
            raise exceptions.ConnectionError("closed")
        if self._attempt is None:
            self._attempt = asyncio.create_task(self._connect())
            self._attempt.add_done_callback(self._attempted)
        attempt = self._attempt
        await asyncio.wait((attempt,))  # whoever is cancelled here leaves it to the others
        if attempt.cancelled():
            raise exceptions.ConnectionError("closed while it was set up")
        return attempt.result()

    def _attempted(self, attempt: "asyncio.Task[_Link]") -> None:
        self._attempt = None
        if not attempt.cancelled() and attempt.exception() is None:
            self._link = attempt.result()
            self._links += 1

    async def _connect(self) -> "_Link":
        connection = self._pool.make_connection()
        try:
            async with asyncio.timeout(ATTEMPT_S):
                await connection.connect()
            return _Link(connection, self._call_s)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise


class _Call:
    """Calls that were sent together, and their replies so far."""

    __slots__ = ("count", "due", "future", "replies")

    def __init__(self, count: int, due: float, future: "asyncio.Future[list[Any]]") -> None:
        self.count = count
        self.due = due
        self.future = future
        self.replies: list[Any] = []


class _Link(asyncio.Protocol):
    """One connection, taken over from redis-py when it was set up."""

    def __init__(self, connection: Any, call_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._call_s = call_s
        self._connection = connection
        reader, writer = connection._reader, connection._writer  # noqa: SLF001  # see above
        if reader is None or reader.at_eof() or writer.transport.is_closing():
            raise exceptions.ConnectionError("closed while it was set up")
        self._transport: asyncio.Transport = writer.transport
        self._parser = hiredis.Reader(
            protocolError=exceptions.InvalidResponse,
            replyError=exceptions.ResponseError,
            notEnoughData=_MORE,
        )
        self._waiting: deque[_Call] = deque()
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self.lost = False
        self._transport.set_protocol(self)

    async def send(self, calls: Sequence[bytes], count: int | None) -> list[Any]:
        """See `Wire.send`."""
        return await self._queue(calls, count or len(calls))

    def post(self, calls: Sequence[bytes]) -> None:
        """See `Wire.post`."""
        with suppress(exceptions.ConnectionError):
            self._queue(calls, len(calls)).add_done_callback(_read)

    def _queue(self, calls: Sequence[bytes], count: int) -> "asyncio.Future[list[Any]]":
        if self.lost:  # since it was set up: who waited for that wakes a little later
            raise exceptions.ConnectionError("closed by the server")
        room = MOST_BYTES - self._unsent_bytes - self._transport.get_write_buffer_size()
        if len(self._waiting) >= MOST_CALLS or room < 0:
            raise exceptions.ConnectionError("too many calls wait")
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.extend(calls)
        self._unsent_bytes += sum(map(len, calls))
        due = self._loop.time() + self._call_s
        call = _Call(count, due, self._loop.create_future())
        self._waiting.append(call)
        if self._timer is None:
            self._watch()
        return call.future

    def lose(self, error: Exception) -> None:
        """Give the connection up: replies may still come, and are nobody's."""
        if self.lost:
            return
        self.lost = True
        self._transport.abort()
        self._connection._close()  # noqa: SLF001  # what it does when it is dropped, without the warning
        if self._timer is not None:
            self._timer.cancel()
        for call in self._waiting:
            if not call.future.done():
                call.future.set_exception(type(error)(*error.args))
        self._waiting.clear()
        self._unsent.clear()

    def data_received(self, data: bytes) -> None:
        """Hand replies to those who wait for them."""
        if self.lost:
            return
        self._parser.feed(data)
        try:
            self._take_all()
        except exceptions.InvalidResponse as error:
            self.lose(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what is under way."""
        del exc  # its text is the system's; who waits needs to know only that it is gone
        self.lose(exceptions.ConnectionError("closed by the server"))

    def _take_all(self) -> None:
        """Take what is whole by now: thousands a second, of which hardly one is an error."""
        gets, waiting = self._parser.gets, self._waiting
        while (reply := gets()) is not _MORE:
            kind = reply.__class__
            if kind is hiredis.PushNotification:
                continue
            if not waiting:
                raise exceptions.InvalidResponse("more replies than calls")
            call = waiting[0]
            call.replies.append(reply)
            if len(call.replies) == call.count:
                waiting.popleft()
                if not call.future.done():
                    call.future.set_result(call.replies)
            if kind is exceptions.ResponseError and str(reply).startswith(_DEMOTED):
                self.lose(exceptions.ConnectionError("the server is a replica now"))

    def _flush(self) -> None:
        if self._unsent:
            self._transport.write(b"".join(self._unsent))
            self._unsent.clear()
            self._unsent_bytes = 0

    def _watch(self) -> bool:
        """Set the timer for the call that comes due first; False where that is overdue.

        One timer for all: they come due in their order.
        """
        self._timer = None
        if not self._waiting:
            return True
        due = self._waiting[0].due
        if due <= self._loop.time():
            return False
        self._timer = self._loop.call_at(due, self._look)
        return True

    def _look(self) -> None:
        if not self._watch():
            self._timer = self._loop.call_later(UNREAD_S, self._look_again)

    def _look_again(self) -> None:
        if not self._watch():  # however late this came
            self.lose(exceptions.TimeoutError("no reply came in time"))


def _read(future: "asyncio.Future[list[Any]]") -> None:
    """Keep asyncio from telling that nobody looked at the outcome."""
    if not future.cancelled():
        future.exception()
