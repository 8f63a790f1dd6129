"""The WebSocket endpoint: subprotocol, accept, and one `Connection` that takes the socket over."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import structlog
from litestar import WebSocket, websocket
from litestar.handlers import WebsocketRouteHandler

from protocol.closes import Close
from protocol.codec import SUBPROTOCOLS, Encoding
from server.connection import Backends, Connection
from server.frames import EXTENSION, Frames
from server.outlet import ClosedError

_log = structlog.get_logger()


class FramesWire:
    """A `Socket` over `Frames`."""

    __slots__ = ("_frames", "_text")

    def __init__(self, frames: Frames, encoding: Encoding) -> None:
        self._frames = frames
        self._text = encoding == "json"

    async def send(self, frame: bytes) -> None:
        """See `Wire.send`."""
        if not await self._frames.write(frame, text=self._text):
            raise ClosedError(None)

    def send_now(self, frame: bytes) -> bool:
        """See `Wire.send_now`."""
        return self._frames.write_now(frame, text=self._text)

    def pause_reading(self) -> None:
        """See `Socket.pause_reading`."""
        self._frames.pause_reading()

    def resume_reading(self) -> None:
        """See `Socket.resume_reading`."""
        self._frames.resume_reading()


class Connections:
    """The open sockets of this instance, so that they can be drained and counted."""

    def __init__(self) -> None:
        self.open: set[Connection] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    def add(self, connection: Connection) -> None:
        """Count a socket in."""
        self.open.add(connection)
        self._empty.clear()

    def discard(self, connection: Connection) -> None:
        """Count a socket out."""
        self.open.discard(connection)
        if not self.open:
            self._empty.set()

    async def gone(self, patience_s: float) -> None:
        """Wait until every socket has left, at most ``patience_s``."""
        try:
            async with asyncio.timeout(patience_s):
                await self._empty.wait()
        except TimeoutError:
            _log.warning("sockets are left", sockets=len(self.open))

    def __len__(self) -> int:
        return len(self.open)

    def abort_all(self, code: Close) -> None:
        """Close every socket now."""
        for connection in tuple(self.open):
            connection.abort(code)


def socket_route(
    shared: Callable[[], Backends], connections: Connections, admits: Callable[[], bool]
) -> WebsocketRouteHandler:
    """Return the route of PROTOCOL.md's endpoint.

    ``admits`` tells whether this instance takes one more socket; else it is closed with 4001, which
    asks the client to try another instance.
    """

    @websocket("/api/interviews/{interview_id:str}/socket")
    async def interview_socket(socket: WebSocket[Any, Any, Any], interview_id: str) -> None:
        offered = socket.scope["subprotocols"]
        name = next((name for name in offered if name in SUBPROTOCOLS), None)
        await socket.accept(subprotocols=name)
        if name is None:
            await _close(socket, Close.NO_SUBPROTOCOL)
            return
        if not admits():
            await _close(socket, Close.DRAINING)
            return
        frames: Frames = cast("Any", socket.scope)["extensions"][EXTENSION]
        encoding = SUBPROTOCOLS[name]
        wire = FramesWire(frames, encoding)
        connection = Connection(shared(), wire, interview_id, encoding)
        frames.hand_over(connection, partial(attend, connection, frames))
        # Litestar wraps these in closures over the socket: only `gc` would free what is left of it.
        whole: Any = socket
        whole.receive = whole.send = None

    async def attend(connection: Connection, frames: Frames) -> None:
        connections.add(connection)
        try:
            code = await connection.run()
        except Exception:  # noqa: BLE001  # the peer learns 4000, the log learns why
            _log.exception("socket failed", interview=connection.interview_id)
            code = Close.INTERNAL
        finally:
            connections.discard(connection)
        shared().meter.closed(0 if code is None else code)
        if code is not None:
            await frames.close(int(code), code.reason)

    return interview_socket


async def _close(socket: WebSocket[Any, Any, Any], code: Close) -> None:
    await socket.send({"type": "websocket.close", "code": int(code), "reason": code.reason})
