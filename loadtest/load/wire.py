"""A WebSocket client at the least cost: frames are cut out where the bytes come in.

No task, no queue and no copy for a message; whoever owns the socket is called with its payload.
"""

import asyncio
import base64
import hashlib
import os
import socket
from typing import Protocol
from urllib.parse import SplitResult

from websockets.frames import Frame, Opcode

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_HEADER_BYTES = 16_384
STALLED_BUFFER = 4_096
GONE = 1006
"""No close frame was seen (RFC 6455, §7.1.5)."""


class HandshakeError(Exception):
    """The server did not take the socket; the message is its status line."""


class Owner(Protocol):
    """Who reads the socket."""

    def received(self, payload: bytes) -> None:
        """Take a message."""

    def closed(self, code: int) -> None:
        """Learn that the socket is gone: once, and only after it was open."""


class Socket(asyncio.Protocol):
    """One connection, from the handshake on."""

    def __init__(self, owner: Owner, url: SplitResult, path: str, subprotocol: str) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._take = owner.received
        self._owner = owner
        self._text = subprotocol.endswith("json")
        self._key = base64.b64encode(os.urandom(16))
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: {url.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {self._key.decode()}\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
        ).encode()
        self._transport: asyncio.Transport | None = None
        self._open = False
        self._broken = False
        self._rest = b""
        self._parts: list[bytes] = []
        self._code = GONE

    @property
    def open(self) -> bool:
        """Whether messages can be sent."""
        return self._open

    def send(self, payload: bytes) -> None:
        """Send a message; one for a socket that is gone is lost, as on the way."""
        if self._open and self._transport is not None:
            opcode = Opcode.TEXT if self._text else Opcode.BINARY
            self._transport.write(Frame(opcode, payload).serialize(mask=True))

    def close(self) -> None:
        """Close it in good order; the server's answer ends it."""
        if self._open and self._transport is not None:
            frame = Frame(Opcode.CLOSE, (1000).to_bytes(2, "big"))
            self._transport.write(frame.serialize(mask=True))

    def abort(self) -> None:
        """Break it off, as a network does: what was read already is not taken, either."""
        self._broken = True
        if self._transport is not None:
            self._transport.abort()

    def stall(self, *, stalled: bool) -> None:
        """Stop reading, or read on."""
        if self._transport is None or self._transport.is_closing():
            return
        if stalled and self._transport.is_reading():
            self._transport.pause_reading()
        elif not stalled and not self._transport.is_reading():
            self._transport.resume_reading()

    def shrink(self) -> None:
        """Take away the kernel's room for what a stalled reader does not read."""
        raw = self._transport.get_extra_info("socket") if self._transport else None
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STALLED_BUFFER)

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = transport  # type: ignore[assignment]  # of a stream it is a Transport
        assert self._transport is not None  # noqa: S101 - it was just set
        self._transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner, or who waits for the handshake."""
        was, self._open = self._open, False
        if not self.opened.done():
            self.opened.set_exception(exc or HandshakeError("closed in the handshake"))
        elif was:
            self._owner.closed(self._code)

    def data_received(self, data: bytes) -> None:
        """Cut messages out of what came in."""
        if self._rest:
            data = self._rest + data
        place = 0 if self._open else self._shake(data)
        end = len(data)
        while end - place >= 2 and self._open and not self._broken:
            first, length = data[place], data[place + 1]
            start = place + 2
            if length > 125:
                start += 2 if length == 126 else 8
                if start > end:
                    break
                length = int.from_bytes(data[place + 2 : start], "big")
            stop = start + length
            if stop > end:
                break
            place = stop
            if first in (0x81, 0x82):  # a whole message, as nearly all are
                self._take(data[start:stop])
            else:
                self._other(first, data[start:stop])
        self._rest = data[place:] if place < end else b""

    def _shake(self, data: bytes) -> int:
        """Read the answer to the upgrade; returns where the frames begin."""
        head, found, _ = data.partition(b"\r\n\r\n")
        if not found:
            if len(data) > _HEADER_BYTES:
                self._refuse("its header has no end")
            return 0
        expected = base64.b64encode(hashlib.sha1(self._key + _GUID, usedforsecurity=False).digest())
        status = head.partition(b"\r\n")[0]
        if b" 101 " not in status + b" " or expected not in head:
            self._refuse(status.decode("latin-1"))
            return len(data)
        self._open = True
        self.opened.set_result(None)
        return len(head) + 4

    def _refuse(self, why: str) -> None:
        if not self.opened.done():
            self.opened.set_exception(HandshakeError(why))
        self.abort()

    def _other(self, first: int, payload: bytes) -> None:
        """Take what is no whole message: parts of one, ping, pong, close."""
        opcode = first & 0x0F
        if opcode < Opcode.CLOSE:
            self._parts.append(payload)
            if first & 0x80:
                whole, self._parts = b"".join(self._parts), []
                self._take(whole)
        elif opcode == Opcode.PING and self._transport is not None:
            self._transport.write(Frame(Opcode.PONG, payload).serialize(mask=True))
        elif opcode == Opcode.CLOSE:
            self._code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
            if self._transport is not None:
                self._transport.write(Frame(Opcode.CLOSE, payload[:2]).serialize(mask=True))
                self._transport.close()
