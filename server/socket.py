"""The WebSocket endpoint: subprotocol, accept, and one `Connection`."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import structlog
from litestar import WebSocket, websocket
from litestar.handlers import WebsocketRouteHandler

from protocol.closes import Close
from protocol.codec import SUBPROTOCOLS, Encoding
from server.connection import Backends, Connection
from server.frames import EXTENSION, Frames

_log = structlog.get_logger()


class AsgiWire:
    """A `Wire` over ASGI's WebSocket messages."""

    def __init__(self, socket: WebSocket[Any, Any, Any], encoding: Encoding) -> None:
        self._receive = socket.receive
        self._send = socket.send
        self._text = encoding == "json"
        scope = cast("dict[str, Any]", socket.scope)  # a server may leave its extensions out
        extensions: dict[str, Any] = scope.get("extensions") or {}
        self._frames: Frames | None = extensions.get(EXTENSION)

    async def receive(self) -> str | bytes | None:
        """See `Wire.receive`."""
        message = await self._receive()
        if message["type"] != "websocket.receive":
            return None
        text = message.get("text")
        return text if text is not None else message.get("bytes") or b""

    def send_now(self, frame: bytes) -> bool:
        """See `Wire.send_now`."""
        return self._frames is not None and self._frames.send_now(frame, text=self._text)

    async def send(self, frame: bytes) -> None:
        """See `Wire.send`."""
        if self._text:
            await self._send({"type": "websocket.send", "text": frame.decode(), "bytes": None})
        else:
            await self._send({"type": "websocket.send", "text": None, "bytes": frame})


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
        encoding = SUBPROTOCOLS[name]
        connection = Connection(shared(), AsgiWire(socket, encoding), interview_id, encoding)
        connections.add(connection)
        try:
            code = await connection.run()
        except Exception:  # noqa: BLE001  # the peer learns 4000, the log learns why
            _log.exception("socket failed", interview=interview_id)
            code = Close.INTERNAL
        finally:
            connections.discard(connection)
        shared().meter.closed(0 if code is None else code)
        if code is not None:
            await _close(socket, code)

    return interview_socket


async def _close(socket: WebSocket[Any, Any, Any], code: Close) -> None:
    await socket.send({"type": "websocket.close", "code": int(code), "reason": code.reason})
