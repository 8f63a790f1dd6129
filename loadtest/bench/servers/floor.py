"""The floor: what a relay costs on this loop when nothing but bytes is moved.

Two asyncio protocols on uvloop, no library for HTTP, SSE, JSON or WebSocket, nothing checked that a
real provider or client could get wrong, nothing kept. The text of a piece is cut out of the
provider's bytes and put between those of a frame. It is no server that one should run.
"""

import asyncio
import base64
import contextlib
import gc
import hashlib
import os
import signal
from urllib.parse import urlsplit

import uvloop

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = b"sec-websocket-key: "
_CONTENT = b'"content": "'
_DONE = b"data: [DONE]"
_CLOSE = b"\x88\x02\x03\xe8"
_BODY = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"Ask me."}]}'


class Upstream(asyncio.Protocol):
    """One completion: asks, and hands on each piece as it comes."""

    def __init__(self, host: str, down: "Downstream") -> None:
        self.transport: asyncio.Transport | None = None
        self._host = host
        self._down = down
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        self.transport = transport  # type: ignore[assignment]  # of a stream it is a Transport
        transport.write(  # type: ignore[attr-defined]
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: %b\r\nAuthorization: Bearer k\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (self._host.encode(), len(_BODY), _BODY)
        )

    def data_received(self, data: bytes) -> None:
        """Cut the pieces out; a line that is not whole yet waits."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        end = data.rfind(b"\n\n") + 2
        if end == 1:
            self._rest = data
            return
        if end < len(data):
            self._rest, data = data[end:], data[:end]
        frames: list[bytes] = []
        place = data.find(_CONTENT)
        while place >= 0:
            start = place + len(_CONTENT)
            stop = data.find(b'"}', start)
            if stop > start:
                frames.append(frame(b'{"type":"delta","text":"%b"}' % data[start:stop]))
            place = data.find(_CONTENT, stop)
        if _DONE in data:
            frames.append(_CLOSE)
        if frames:
            self._down.write(b"".join(frames))


class Downstream(asyncio.Protocol):
    """One client: a handshake, a prompt, and then only what is written to it."""

    def __init__(self, host: str, port: int) -> None:
        self._transport: asyncio.Transport | None = None
        self._address = (host, port)
        self._open = False
        self._asked = False
        self._up: asyncio.Task[tuple[asyncio.Transport, Upstream]] | None = None

    def write(self, data: bytes) -> None:
        """Write to the client."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = transport  # type: ignore[assignment]  # of a stream it is a Transport

    def data_received(self, data: bytes) -> None:
        """Shake hands; the first frame behind that is the prompt, others say nothing."""
        if not self._open:
            self._open = True
            head = data.lower()
            start = head.index(_KEY) + len(_KEY)
            key = data[start : data.index(b"\r\n", start)]
            accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
            self.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n" % accept
            )
        elif not self._asked and data[0] == 0x81:
            self._asked = True
            host, port = self._address
            connecting = asyncio.get_running_loop().create_connection(
                lambda: Upstream(f"{host}:{port}", self), host, port
            )
            self._up = asyncio.create_task(connecting)  # ended with this connection
            self._up.add_done_callback(self._connected)

    def _connected(self, up: "asyncio.Task[tuple[asyncio.Transport, Upstream]]") -> None:
        """Without a provider there is nothing to relay."""
        if not up.cancelled() and up.exception() is not None and self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the provider."""
        del exc
        if self._up is None:
            return
        if not self._up.done():
            self._up.cancel()
        elif not self._up.cancelled() and self._up.exception() is None:
            self._up.result()[0].abort()


def frame(payload: bytes) -> bytes:
    """Return a text frame of a server (RFC 6455, §5.2)."""
    size = len(payload)
    if size < 126:
        return b"\x81%c%b" % (size, payload)
    return b"\x81\x7e%b%b" % (size.to_bytes(2, "big"), payload)


async def _serve() -> None:
    provider = urlsplit(os.environ["OPENAI_BASE_URL"])
    host, port = provider.hostname or "", provider.port or 80
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(
        lambda: Downstream(host, port), "127.0.0.1", int(os.environ["PORT"]), backlog=4096
    )
    gc.freeze()
    async with server:
        await stop.wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_serve())
