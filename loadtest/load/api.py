"""The HTTP API at the least cost: kept connections, one request at a time on each."""

import asyncio
import contextlib
import functools
import ssl
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

import httptools
import msgspec

TIMEOUT_S = 20.0
CONNECTIONS = 64
"""To one address, of one process; more requests wait, and their time counts."""
IDLE_S = 3.0
"""A connection that rested longer is not used again: servers close theirs after 5 s or more."""


class ApiError(Exception):
    """No answer, or one that is none of 2xx. ``status`` is 0 where there was none."""

    def __init__(self, what: str, status: int = 0, told: str = "") -> None:
        super().__init__(f"{what}: {status or 'no answer'} {told}".strip())
        self.kind = f"http {status}" if status else "http: no answer"
        self.status = status


class Reply(NamedTuple):
    """An answer."""

    status: int
    body: bytes

    def value(self, key: str) -> Any:
        """Return one value of its body.

        Raises:
            ApiError: there is none; a balancer, say, answered with a page of its own.
        """
        try:
            return msgspec.json.decode(self.body)[key]
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, IndexError):
            raise ApiError(f"an answer without {key}", self.status) from None


class _Connection(asyncio.Protocol):
    """One connection, and the one answer that is awaited on it."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.good = True
        self.used_at = 0.0
        self._answer: asyncio.Future[Reply] | None = None
        self._body: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)

    async def ask(self, request: bytes) -> Reply:
        """Send a request and await its answer."""
        assert self.transport is not None  # noqa: S101 - it is connected
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Give it up."""
        self.good = False
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self.transport = transport  # type: ignore[assignment]  # of a stream it is a Transport

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.good = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("closed before the answer"))

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def on_body(self, body: bytes) -> None:
        """See `httptools`."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """See `httptools`."""
        self.good = self.good and self._parser.should_keep_alive()
        reply = Reply(self._parser.get_status_code(), b"".join(self._body))
        self._body = []
        self._parser = httptools.HttpResponseParser(self)
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(reply)


class Api:
    """The API of a deployment, behind one address or several."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._bases = [urlsplit(url) for url in urls]
        self._idle: dict[SplitResult, list[_Connection]] = {base: [] for base in self._bases}
        self._seats = {base: asyncio.Semaphore(CONNECTIONS) for base in self._bases}

    async def ask(
        self, place: int, method: str, path: str, headers: bytes, body: Any = None
    ) -> Reply:
        """Ask the address number ``place``, counted round.

        Raises:
            ApiError: no answer within `TIMEOUT_S`, or none of 2xx.
        """
        base = self._bases[place % len(self._bases)]
        content = msgspec.json.encode(body) if body is not None else b""
        typed = b"Content-Type: application/json\r\n" if body is not None else b""
        target = f"{base.path.rstrip('/')}{path}"
        request = b"%b %b HTTP/1.1\r\nHost: %b\r\n%b%bContent-Length: %d\r\n\r\n%b" % (
            *(method.encode(), target.encode(), base.netloc.encode()),
            *(headers, typed, len(content), content),
        )
        try:
            async with asyncio.timeout(TIMEOUT_S), self._connection(base) as connection:
                reply = await connection.ask(request)
        except (OSError, TimeoutError, UnicodeError) as error:  # the last: of an odd host
            raise ApiError(f"{method} {path}", told=type(error).__name__) from None
        if not 200 <= reply.status < 300:
            told = reply.body[:200].decode(errors="replace")
            raise ApiError(f"{method} {path}", reply.status, told)
        return reply

    def close(self) -> None:
        """Close every connection."""
        for idle in self._idle.values():
            while idle:
                idle.pop().close()

    @contextlib.asynccontextmanager
    async def _connection(self, base: SplitResult) -> AsyncGenerator[_Connection]:
        """Lend a connection; one whose answer did not come is not lent again."""
        async with self._seats[base]:
            connection = self._fresh(base) or await connect(base, _Connection)
            try:
                yield connection
            except BaseException:
                connection.close()
                raise
            if connection.good:
                connection.used_at = time.monotonic()
                self._idle[base].append(connection)

    def _fresh(self, base: SplitResult) -> _Connection | None:
        """Return an idle connection that the server is not about to close, if there is one."""
        idle = self._idle[base]
        while idle:
            connection = idle.pop()
            if connection.good and time.monotonic() - connection.used_at < IDLE_S:
                return connection
            connection.close()
        return None


async def connect(base: SplitResult, make: Any) -> Any:
    """Open a connection to an address and return its protocol."""
    secure = base.scheme in ("https", "wss")
    _, protocol = await asyncio.get_running_loop().create_connection(
        make,
        base.hostname or "",
        base.port or (443 if secure else 80),
        ssl=_context() if secure else None,
    )
    return protocol


@functools.cache
def _context() -> ssl.SSLContext:
    """Return one for all connections: to make one reads all trusted certificates."""
    return ssl.create_default_context()
