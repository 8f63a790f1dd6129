"""uvicorn's WebSocket protocol for sockets of which thousands rest and hundreds are spoken through.

ASGI is how a socket comes in: through the guards, the router, `accept`. From there its `Listener`
has it: messages are told as they come, frames are written as they are made, and nothing of the way
in is kept. Through ASGI each message would pass a queue, two dictionaries and some ten coroutines,
all of which, with the request, stay as long as the socket does.

A frame of a server is not masked and stands for itself, so that it can be written without asking
the protocol's state machine, which learns nothing from it. Source: RFC 6455, §5.2.

A turn of the loop takes only so much of one socket: a read may hold 40,000 frames of six bytes, and
all other sockets wait while they are taken. The rest stays here, unread, and the peer has to wait.
How much that may be in the long run is counted by what it costs, not by messages: control frames
and empty parts of a message are none.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.streams import StreamReader

from protocol.closes import Close, reason_of
from server.pings import Pings
from server.waiting import Flag, Inbox

try:
    from websockets.speedups import apply_mask
except ImportError:  # where it was not compiled
    from websockets.utils import apply_mask

EXTENSION = "viva.frames"
"""The key under a scope's ``extensions`` where `Frames` is found."""
CLOSE_S = 10.0
"""How long a close frame may wait for what was written before it."""
FRAME_BYTES = 4 * 1024
"""What a frame costs beyond its bytes, as that of bytes: small ones cost what they are, frames."""
TURN_BYTES = 64 * 1024
"""After so much a socket waits for the next turn of the loop."""
PIECE_BYTES = 1024
"""The state machine is fed so much at a time: it takes all frames that it is fed."""
BYTES_PER_S = 4 * 1024 * 1024
"""What one socket may send in the long run: 1,000 small frames, or 60 of the largest. It is twice
what `LIMITS` let a client send who makes the most of each."""
BURST_BYTES = 2 * BYTES_PER_S
_TEXT, _BINARY, _PING, _PONG = 0x81, 0x82, 0x89, 0x8A  # with FIN
_BETWEEN_FRAMES = StreamReader.at_eof.__code__
"""Where websockets' parser waits when it is in no frame."""


def frame(payload: bytes, *, text: bool) -> bytes:
    """Return ``payload`` as one whole frame of a server."""
    opcode, size = _TEXT if text else _BINARY, len(payload)
    if size < 126:
        return b"%c%c%b" % (opcode, size, payload)
    if size < 65_536:
        return b"%c\x7e%b%b" % (opcode, size.to_bytes(2, "big"), payload)
    return b"%c\x7f%b%b" % (opcode, size.to_bytes(8, "big"), payload)


def _text(payload: bytes) -> str | None:
    try:
        return str(payload, "utf-8")
    except UnicodeDecodeError:
        return None


class Listener(Protocol):
    """Whom a socket was handed over to. None of these may block, nor raise."""

    def take(self, message: str | bytes) -> None:
        """A whole message came."""

    def pinged(self) -> None:
        """The peer sent a ping (RFC 6455, §5.5.2), which is answered without the listener."""

    def left(self) -> None:
        """The peer is gone, or this server is about to be; told once or more."""


class _Leaving:
    """Stands where uvicorn's queue was, to hear that the peer left.

    Messages are told by another way; one that comes while the socket is being closed is dropped.
    """

    __slots__ = ("_listener",)

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def put_nowait(self, message: Any) -> None:
        """Tell the listener."""
        if message["type"] == "websocket.disconnect":
            self._listener.left()


class _StateMachine(ServerProtocol):
    """websockets' own, but for the reasons in its close frames: they were texts of exceptions.

    That of an internal error is none: it is empty, or uvicorn's, which names a peer that is gone.
    """

    def fail(self, code: int, reason: str = "") -> None:
        """See websockets."""
        super().fail(code, reason if code == CloseCode.INTERNAL_ERROR else reason_of(code))


class Frames(WebSocketsSansIOProtocol):
    """One WebSocket: ASGI's until it is handed over, then its listener's."""

    # What each frame needs lies in one place, some of uvicorn's own attributes among it. Without,
    # all would be in a large dictionary: an object does without one up to 30 attributes.
    __slots__ = (
        "_beat", "_between", "_credit", "_guarded", "_listener", "_pings", "_reckoned", "_unread",
        "_work", "close_sent", "conn", "curr_msg_data_type", "disconnected", "frames",
        "pending_ping_payload", "queue", "read_paused", "transport", "writable",
    )  # fmt: skip

    def __init__(self, pings: Pings, **given: Any) -> None:
        super().__init__(**given)
        self.conn.__class__ = _StateMachine  # uvicorn makes it, and takes no other
        self.queue = Inbox[Any]()  # type: ignore[assignment]  # it does what is asked of one
        self.writable = Flag()  # type: ignore[assignment]
        self.writable.set()
        self._pings = pings
        self._beat: set[Any] | None = None
        self._guarded = self.app
        self.app = self._attended
        self._listener: Listener | None = None
        self._between = False
        """Whether the state machine waits for the first byte of a message, or of a control frame.
        """
        self._unread = b""
        """What the state machine has not been fed yet. While there is any, the transport is not
        read, and a turn of the loop is to come that goes on."""
        self._credit = BURST_BYTES
        """What may come until it is reckoned how much may come since the last time."""
        self._reckoned = self.loop.time()
        self._work: Callable[[], Awaitable[None]] | None = None

    # --- from ASGI to the listener ---

    def handle_connect(self, event: Request) -> None:
        """See uvicorn: from here on the app finds this in its scope."""
        super().handle_connect(event)
        if not self.close_sent:
            extensions: Any = self.scope.setdefault("extensions", {})
            extensions[EXTENSION] = self

    def hand_over(self, listener: Listener, work: Callable[[], Awaitable[None]]) -> None:
        """Tell ``listener`` what comes; await ``work()`` when the app has returned.

        Only for the app, after it accepted the socket, and right before it returns: nothing counts
        the socket until the work begins. As with ASGI, the connection ends when the work does.
        """
        self._work = work
        came: Any = self.queue
        self.queue = _Leaving(listener)  # type: ignore[assignment]
        self._listener = listener
        self.resume_reading()  # before the listener may want it to pause
        waiting: list[dict[str, Any]] = came.taken()
        for message in waiting:
            if message["type"] == "websocket.receive":
                text = message.get("text")
                listener.take(message["bytes"] if text is None else text)
            else:
                listener.left()

    async def _attended(self, scope: Any, receive: Any, send: Any) -> None:
        """Run the app, and what it left to be done: by then nothing is left of the request."""
        app: Any = self._guarded
        self.app = app  # a bound method of its own would keep this from being freed in time
        await app(scope, receive, send)
        work, self._work = self._work, None
        if work is not None:
            self.request.headers.clear()  # the parser, for one, holds it for ever
            del scope, receive, send, self.scope, self.request, self.response
            try:
                await work()
            finally:  # they know this one: without, only a collection would free the three
                self._listener, self.queue = None, Inbox[Any]()  # type: ignore[assignment]

    # --- in ---

    def data_received(self, data: bytes) -> None:
        """See uvicorn. A life sign is one short frame: most of what a silent peer costs."""
        listener, size = self._listener, len(data)
        if (
            listener is not None
            and self._between
            and 6 <= size <= 131  # masked, of up to 125 bytes
            and data[1] == 0x80 | size - 6
            and not self.close_sent
            and self._credit > 0
            and self._whole(listener, data)
        ):
            self._credit -= FRAME_BYTES
            return
        self._between = False
        if self._unread:  # uvicorn, which knows of none, reads on by itself
            self._unread += data
            self.transport.pause_reading()
        else:
            self._take_in(data)

    def _take_in(self, data: bytes) -> None:
        """Feed the state machine what this turn of the loop has time for; keep the rest."""
        at, enough = 0, self._credit - TURN_BYTES
        while at < len(data) and self._credit > enough and not self.transport.is_closing():
            piece = data[at : at + PIECE_BYTES]
            at += PIECE_BYTES
            self._credit -= len(piece)
            super().data_received(piece)
        if self._credit <= 0 and not self._may_go_on():
            self._fail()
        elif at < len(data) and not self.transport.is_closing():
            self._unread = data[at:]
            self.transport.pause_reading()
            self.loop.call_soon(self._go_on)
        else:
            self._between = self._between_messages()

    def _go_on(self) -> None:
        """Take more of what came; read on when that was all."""
        data, self._unread = self._unread, b""
        self._take_in(data)
        if not (self._unread or self.read_paused or self.transport.is_closing()):
            self.transport.resume_reading()

    def handle_events(self) -> None:
        """See uvicorn."""
        self._credit -= FRAME_BYTES * len(self.conn.events)
        super().handle_events()

    def _may_go_on(self) -> bool:
        """Reckon how much more may come by now; tell whether that is anything."""
        now = self.loop.time()
        earned = int((now - self._reckoned) * BYTES_PER_S)
        self._credit, self._reckoned = min(BURST_BYTES, self._credit + earned), now
        return self._credit > 0

    def _fail(self) -> None:
        """End a socket that sends too much; tell it why, if it is open and reads."""
        if self.conn.state is State.OPEN and self.writable.is_set():
            self.conn.fail(Close.RATE_LIMITED)
            self.handle_parser_exception()
        else:
            self.transport.abort()

    def _between_messages(self) -> bool:
        """Ask the state machine where it is. It stays there until it is given more, or closes.

        What closes it from this side sets ``close_sent``, takes the listener away, or closes the
        transport, and nothing comes any more.
        That its buffer is empty does not tell: it may have taken a frame's head out of it.
        """
        conn: Any = self.conn
        if (
            conn.state is not State.OPEN
            or conn.current_size is not None  # parts of a message came
            or conn.reader.buffer
        ):
            return False
        waits = conn.parser
        while (inner := waits.gi_yieldfrom) is not None:  # a server's parser runs the common one
            waits = inner
        return waits.gi_code is _BETWEEN_FRAMES

    def _whole(self, listener: Listener, data: bytes) -> bool:
        """Take a frame that is a whole message, or a pong; leave all others to the state machine.

        That learns nothing from such a frame.
        """
        kind, payload = data[0], apply_mask(data[6:], data[2:6])
        if kind == _PONG:
            if payload == self.pending_ping_payload:
                self.pending_ping_payload = None
        elif kind == _BINARY:
            listener.take(payload)
        elif kind == _TEXT and (text := _text(payload)) is not None:
            listener.take(text)
        else:
            return False
        return True

    def send_receive_event_to_app(self) -> None:
        """See uvicorn; a listener need not be waited for, so that reading goes on."""
        listener = self._listener
        if listener is None or self.close_sent:
            super().send_receive_event_to_app()
            return
        parts, self.frames = self.frames, []
        payload = parts[0] if len(parts) == 1 else b"".join(parts)
        if self.curr_msg_data_type == "bytes":
            listener.take(bytes(payload))
        elif (text := _text(payload)) is not None:
            listener.take(text)
        else:
            self.conn.fail(1007)
            self.handle_parser_exception()

    def pause_reading(self) -> None:
        """Let what the peer sends wait in the kernel's buffers."""
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on, as soon as all that was read is taken."""
        if self.read_paused:
            self.read_paused = False
            if not self._unread:
                self.transport.resume_reading()

    # --- out ---

    def write_now(self, payload: bytes, *, text: bool) -> bool:
        """Write a message if the transport takes it without waiting; tell whether it was written.

        Only for the app, and only after it accepted the socket.
        """
        if not self.writable.is_set() or self.close_sent or self.transport.is_closing():
            return False
        self.transport.write(frame(payload, text=text))
        return True

    async def write(self, payload: bytes, *, text: bool) -> bool:
        """Wait until the transport takes a message; tell whether the peer was still there."""
        while not self.write_now(payload, text=text):
            if self.disconnected or self.close_sent or self.transport.is_closing():
                return False
            await self.writable.wait()
        return True

    async def close(self, code: int, reason: str) -> None:
        """Close the socket; one whose client does not read is let go without a close frame."""
        self._listener = None
        try:
            async with asyncio.timeout(CLOSE_S):
                await self.writable.wait()
        except TimeoutError:
            self.transport.abort()
        if not self.close_sent and not self.transport.is_closing():
            await self.send({"type": "websocket.close", "code": code, "reason": reason})

    # --- life signs ---

    def handle_ping(self) -> None:
        """See uvicorn: a peer that does not read gets no more to read."""
        if self._listener is not None:
            self._listener.pinged()
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def start_keepalive(self) -> None:
        """See uvicorn, which has a timer for each socket, and settings that mean nothing here."""
        self._beat = self._pings.add(self)

    def stop_keepalive(self) -> None:
        """See uvicorn."""
        if self._beat is not None:
            self._beat.discard(self)
            self._beat = None

    def ping(self) -> None:
        """Ask for a life sign; a peer that has not answered the last such question is gone."""
        if self.close_sent or self.transport.is_closing():
            return
        if self.pending_ping_payload is not None:
            self.keepalive_timeout()
            return
        self.pending_ping_payload = payload = random.randbytes(4)
        self.transport.write(b"%c%c%b" % (_PING, len(payload), payload))
