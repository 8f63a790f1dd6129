"""uvicorn's HTTP protocol with bounds: of a head, of a body, of the time for each, of connections.

uvicorn takes heads, trailers and chunk extensions of any length, and gives them any time; httptools
joins the pieces of one header again and again, so that 50 MB of one freeze an instance for half a
minute. So bytes are counted here before the parser sees them, by *parts*: a part is a head, or all
that belongs to a body on the wire, trailers and framing included.
"""

import asyncio
from typing import Any
from urllib.parse import unquote

from msgspec import Struct
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from server.guards import body_bytes, plain_problem
from server.joined import Joined

SLICE_BYTES = 8 * 1024
"""The parser is fed so much at a time: what a slice holds beyond a part's end is not counted."""
LINGER_S = 1.0
LINGER_BYTES = 1024 * 1024
"""What a refused client still sends is thrown away for so long: closing on unread bytes would reset
the connection, and the refusal with it (RFC 9112, §9.6)."""


class Bounds(Struct, frozen=True, kw_only=True):
    """What one client may take of an instance, and how many there may be."""

    connections: int
    """All that are open, WebSockets among them."""
    head_bytes: int = 32 * 1024
    head_s: float = 10.0
    framing: int = 2
    """How much more than the body itself is taken on the wire: chunks have framing."""
    body_s: float = 30.0
    pipelined: int = 32
    """Requests that wait for the answer to an earlier one of their connection."""


class Intake(HttpToolsProtocol):
    """One connection. Goes out of the way when it becomes a WebSocket."""

    def __init__(self, bounds: Bounds, **given: Any) -> None:
        super().__init__(**given)
        self._bounds = bounds
        self._parts = 0
        self._in_body = False
        self._left = bounds.head_bytes
        self._timer: asyncio.TimerHandle | None = None
        self._timed_part = -1
        self._refused = False
        self._handed_over = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        self._joined = Joined(transport, self.loop)
        super().connection_made(self._joined)  # type: ignore[arg-type]  # it does what one does
        if len(self.connections) > self._bounds.connections:
            problem = plain_problem(503, b"This instance is full.", b"retry-after: 2\r\n")
            self.transport.write(problem)
            self.transport.close()
            return
        self._time()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._refused:
            self._left -= len(data)
            if self._left < 0:
                self.transport.abort()
            return
        while data and not self._handed_over and not self.transport.is_closing():
            if self._left <= 0 or len(self.pipeline) > self._bounds.pipelined:
                self._too_much()
                return
            piece, part = data[: min(SLICE_BYTES, self._left)], self._parts
            data = data[len(piece) :]
            super().data_received(piece)
            if self._parts == part:
                self._left -= len(piece)
        self._time()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over: frames have bounds of their own."""
        self._handed_over = True
        self._stop_timer()
        self._joined.flush()
        self.transport = self._joined.transport  # frames are joined where they are made
        super().handle_websocket_upgrade()
        self.parser: Any = None  # its callbacks are methods of this: only `gc` would free the two

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # it is uvicorn's own words
        """See uvicorn, which tells of it as plain text."""
        self.transport.write(plain_problem(400, b"This is no HTTP request."))
        self.transport.close()

    def on_headers_complete(self) -> None:
        """See httptools."""
        path = unquote(self.url.partition(b"?")[0].decode("latin-1"))
        self._begin(in_body=True, size=self._bounds.framing * body_bytes(path))
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """See httptools."""
        self._begin(in_body=False, size=self._bounds.head_bytes)
        super().on_message_complete()

    def _begin(self, *, in_body: bool, size: int) -> None:
        self._parts += 1
        self._in_body = in_body
        self._left = size

    def _time(self) -> None:
        """Give the part that is being read its time; none runs while an answer is being made.

        After the answer uvicorn's keep-alive takes over, until the next byte.
        """
        if self._timed_part == self._parts or self._handed_over or self.transport.is_closing():
            return
        self._stop_timer()
        untouched = not self._in_body and self._left == self._bounds.head_bytes
        if untouched and self._answering:
            return
        seconds = self._bounds.body_s if self._in_body else self._bounds.head_s
        self._timed_part = self._parts
        self._timer = self.loop.call_later(seconds, self._too_late)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def _answering(self) -> bool:
        return bool(self.cycle) and not self.cycle.response_complete  # None at first

    def _too_much(self) -> None:
        if self._in_body:
            self._refuse(413, b"The request is too large.")
        else:
            self._refuse(431, b"The request's header is too large.")

    def _too_late(self) -> None:
        self._refuse(408, b"The request took too long.")

    def _refuse(self, status: int, detail: bytes) -> None:
        """Take nothing more in, and close; say why, unless an answer is under way already."""
        self._stop_timer()
        if self.pipeline or (self._answering and not self._in_body):
            self.pipeline.clear()
            self.transport.close()
            return
        if self._answering:
            self.cycle.disconnected = True  # for the app this is as if the client had left
            self.cycle.message_event.set()
        if not self._begun:
            self.transport.write(plain_problem(status, detail))
        self._refused, self._left = True, LINGER_BYTES
        self._timer = self.loop.call_later(LINGER_S, self.transport.abort)
        self.transport.write_eof()
        self.flow.resume_reading()

    @property
    def _begun(self) -> bool:
        """Whether the request whose body is being read has its answer, or some of it."""
        return self._in_body and self.cycle.response_started
