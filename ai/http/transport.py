"""The connections to a provider, under httpx2: what the provider's client sends goes through here.

A response's extension ``body`` is its `Body`, which can be listened to. Proxies are not for this
transport.
"""

import asyncio
import socket
import ssl
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohappyeyeballs
import httpx2

from ai.http.connection import Connection

HAPPY_EYEBALLS_S = 0.25
"""How long one address is tried alone (RFC 8305, §8)."""

Origin = tuple[str, str, int]


class PushTransport(httpx2.AsyncBaseTransport):
    """Opens connections as they are needed, at most ``connections`` in use, and keeps idle ones.

    Of the request's time-outs it obeys ``pool`` and ``connect``: reading is bounded by who reads.
    """

    def __init__(self, *, connections: int, keep_alive_s: float) -> None:
        self._room = asyncio.Semaphore(connections)
        self._keep_alive_s = keep_alive_s
        self._idle: defaultdict[Origin, list[tuple[Connection, float]]] = defaultdict(list)
        self._tls: ssl.SSLContext | None = None
        self._closed = False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See httpx2.

        Raises:
            httpx2.PoolTimeout, httpx2.ConnectTimeout: it took too long.
            httpx2.TransportError: no connection, or it broke before the response's head was there.
        """
        message = _message(request, await request.aread())
        timeouts: Mapping[str, Any] = request.extensions.get("timeout", {})
        async with _bounded(timeouts.get("pool"), httpx2.PoolTimeout("all connections are in use")):
            await self._room.acquire()
        try:
            origin = _origin(request.url)
            connection = self._kept(origin) or await self._opened(origin, timeouts.get("connect"))
        except BaseException:
            self._room.release()
            raise
        try:
            head = await connection.ask(message, lambda: self._over(origin, connection))
            return httpx2.Response(
                head.status,
                headers=head.headers,
                stream=connection.body,
                extensions={"http_version": b"HTTP/1.1", "body": connection.body},
            )
        except BaseException:
            connection.abort()
            raise

    async def aclose(self) -> None:
        """Close the idle connections, and the others when they are given back."""
        self._closed = True
        for kept in self._idle.values():
            for connection, _ in kept:
                connection.abort()
        self._idle.clear()

    def _over(self, origin: Origin, connection: Connection) -> None:
        self._room.release()
        if self._closed or not connection.idle:
            connection.abort()
            return
        now = time.monotonic()
        kept = self._idle[origin]
        while kept and kept[0][1] < now:
            kept.pop(0)[0].abort()
        kept.append((connection, now + self._keep_alive_s))

    def _kept(self, origin: Origin) -> Connection | None:
        """Return the connection that was used last: the others may grow old."""
        kept = self._idle[origin]
        while kept:
            connection, until = kept.pop()
            if connection.idle and time.monotonic() < until and connection.quiet:
                return connection
            connection.abort()
        return None

    async def _opened(self, origin: Origin, seconds: float | None) -> Connection:
        try:
            async with _bounded(seconds, httpx2.ConnectTimeout("the provider does not answer")):
                return await self._connect(origin)
        except OSError as error:  # of TLS and of names, too
            raise httpx2.ConnectError("no connection to the provider") from error

    async def _connect(self, origin: Origin) -> Connection:
        scheme, host, port = origin
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        tcp = await aiohappyeyeballs.start_connection(  # pyright: ignore[reportUnknownMemberType]
            found, happy_eyeballs_delay=HAPPY_EYEBALLS_S, interleave=1, loop=loop
        )
        secure = scheme == "https"
        try:
            _, connection = await loop.create_connection(
                Connection,
                sock=tcp,
                ssl=self._context() if secure else None,
                server_hostname=host if secure else None,
            )
        except BaseException:
            tcp.close()
            raise
        return connection

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = httpx2.create_ssl_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls


@asynccontextmanager
async def _bounded(seconds: float | None, late: Exception) -> AsyncGenerator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise late from None


def _origin(url: httpx2.URL) -> Origin:
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


def _message(request: httpx2.Request, content: bytes) -> bytes:
    lines = [b"%b %b HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)]
    lines += [b"%b: %b" % field for field in request.headers.raw]
    if any(character in line for line in lines for character in (b"\r", b"\n", b"\0")):
        raise httpx2.LocalProtocolError("a header may not hold a line break")
    return b"%b\r\n\r\n%b" % (b"\r\n".join(lines), content)
