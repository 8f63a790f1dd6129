"""One HTTP/1.1 connection: a request goes out, a head and a body come back.

Everything is done where the bytes arrive. Source: RFC 9112; what bytes mean is left to llhttp.
"""

import asyncio
import select
from collections.abc import Callable
from typing import NamedTuple, cast

import httptools
import httpx2

from ai.http.body import Body

HEAD_BYTES = 64 * 1024
Headers = list[tuple[bytes, bytes]]


class Head(NamedTuple):
    """The beginning of a response."""

    status: int
    headers: Headers


class Connection(asyncio.Protocol):
    """Carries one exchange after another. ``over`` is told once for each, when it is done with."""

    __slots__ = (
        "_framed", "_head", "_head_bytes", "_headers", "_over", "_parser", "_paused", "_reusable",
        "_transport", "_whole", "body", "on_body",
    )  # fmt: skip

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._head: asyncio.Future[Head] | None = None
        self._headers: Headers = []
        self._head_bytes = 0
        self._framed = False
        self._paused = False
        self._whole = False
        self._reusable = False
        self._over: Callable[[], None] | None = None
        self.body = Body(self)
        self.on_body = self.body.push
        """See httptools, which asks for it when a parser is made: no layer between."""

    @property
    def idle(self) -> bool:
        """Whether another exchange may begin."""
        transport = self._transport
        return self._reusable and transport is not None and not transport.is_closing()

    @property
    def quiet(self) -> bool:
        """Whether nothing lies in the socket that the loop has not read.

        After a busy moment it may be the end, and the next request would fail, or more than was
        asked for, and the next request would take it for its answer.
        """
        transport = self._transport
        peer = transport and transport.get_extra_info("socket")
        if peer is None:
            return False
        poll = select.poll()
        poll.register(peer.fileno(), select.POLLIN)
        return not poll.poll(0)

    async def ask(self, request: bytes, over: Callable[[], None]) -> Head:
        """Send a request and return the head of its answer; `body` is what follows.

        Raises:
            httpx2.TransportError: the connection broke, or what came is not HTTP.
        """
        self._over = over
        transport = self._transport
        if transport is None or transport.is_closing():  # as early as with the end of TLS's hello
            raise httpx2.ConnectError("the connection is closed")
        self._headers, self._head_bytes = [], 0
        self._framed = self._whole = self._reusable = False
        self.body = Body(self)
        self.on_body = self.body.push
        self._parser = httptools.HttpResponseParser(self)
        self._head = asyncio.get_running_loop().create_future()
        transport.write(request)
        return await self._head

    def abort(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()
        self._leave()

    # --- for the body ---

    def pause(self) -> None:
        """See `Source.pause`."""
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """See `Source.resume`."""
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def leave(self) -> None:
        """See `Source.leave`: only one whose body has come to its end can be used again."""
        if self._whole and not self._paused:
            self._leave()
        else:
            self.abort()

    def _leave(self) -> None:
        over, self._over = self._over, None
        if over is not None:
            over()

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by their class

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        parser = self._parser
        if parser is None or self._whole:
            self.abort()  # nobody asked for this
            return
        if self._head is not None:
            if self._head_bytes > HEAD_BYTES:
                self._fail(httpx2.RemoteProtocolError("the response's head is too long"))
                return
            self._head_bytes += len(data)
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(httpx2.RemoteProtocolError("the response is not HTTP/1.1"))

    def eof_received(self) -> None:
        """See `asyncio.Protocol`. A body without a length ends with its connection."""
        if self._parser is not None and self._head is None and not self._framed:
            self._whole = True
            self.body.finish(None)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """See `asyncio.Protocol`."""
        self._reusable = False
        self._break(httpx2.ReadError("the connection broke off"))

    def _fail(self, error: Exception) -> None:
        self._break(error)
        if self._transport is not None:
            self._transport.abort()

    def _break(self, error: Exception) -> None:
        if self._whole or self._parser is None:
            return
        if self._head is None:
            self.body.finish(error)
        elif not self._head.done():
            self._head.set_exception(error)

    # --- httptools ---

    def on_message_begin(self) -> None:
        """See httptools. What comes behind a whole response was not asked for."""
        self._reusable &= not self._whole

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools. What is behind the body, a trailer or another response, is passed over."""
        if self._head is None:
            return
        self._headers.append((name, value))
        self._framed |= name.lower() in (b"content-length", b"transfer-encoding")

    def on_headers_complete(self) -> None:
        """See httptools. What is only informational is passed over (RFC 9110, §15.2)."""
        head, parser = self._head, self._parser
        if head is None or parser is None:
            return
        status = parser.get_status_code()
        if status < 200:
            self._headers, self._framed = [], False
        elif not head.done():
            head.set_result(Head(status, self._headers))
            self._head, self._headers = None, []

    def on_message_complete(self) -> None:
        """See httptools."""
        if self._head is None and self._parser is not None and not self._whole:
            self._whole = True
            self._reusable = self._parser.should_keep_alive()
            self.body.finish(None)
