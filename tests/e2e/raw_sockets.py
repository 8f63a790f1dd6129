"""WebSockets by hand (RFC 6455): what no library would send, byte by byte."""

import base64
import json
import os
import socket
import struct
import time
from typing import Any, ClassVar

import msgspec

from protocol.closes import reason_of

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
PATIENCE_S = 10.0


def frame(
    opcode: int, payload: bytes, *, fin: bool = True, rsv: int = 0, mask: bool = True
) -> bytes:
    """One frame (§5.2)."""
    first = (0x80 if fin else 0) | (rsv << 4) | opcode
    flag, size = (0x80 if mask else 0), len(payload)
    if size < 126:
        head = struct.pack("!BB", first, flag | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, flag | 126, size)
    else:
        head = struct.pack("!BBQ", first, flag | 127, size)
    if not mask:
        return head + payload
    key = os.urandom(4)
    masked = bytes(byte ^ key[place % 4] for place, byte in enumerate(payload))
    return head + key + masked


class CutError(Exception):
    """So many bytes were read as were to be read."""


class RawSocket:
    """One connection to an instance. `abandon_all` ends those that a test left open."""

    _all: ClassVar[list["RawSocket"]] = []

    def __init__(
        self,
        port: int,
        interview_id: str,
        *,
        subprotocol: str | None = "interview.v1.json",
        origin: str | None = None,
        receive_buffer: int | None = None,
    ) -> None:
        self.binary = subprotocol == "interview.v1.msgpack"
        self._bytes = bytearray()
        self.received = 0
        self.left: int | None = None
        """How many more bytes are read before `CutError`; None for all."""
        self.tcp = socket.socket()
        self._all.append(self)
        if receive_buffer is not None:
            self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.tcp.settimeout(PATIENCE_S)
        self.tcp.connect(("127.0.0.1", port))
        lines = [
            f"GET /api/interviews/{interview_id}/socket HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            "Sec-WebSocket-Version: 13",
        ]
        if subprotocol is not None:
            lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
        if origin is not None:
            lines.append(f"Origin: {origin}")
        self.tcp.sendall("\r\n".join([*lines, "", ""]).encode())
        head = self._until(b"\r\n\r\n").decode()
        self.status = int(head.split(" ", 2)[1])
        self.received = len(self._bytes)

    def raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.tcp.sendall(data)

    def text(self, text: str | bytes) -> None:
        """Send one text frame."""
        self.raw(frame(TEXT, text.encode() if isinstance(text, str) else text))

    def say(self, kind: str, **fields: Any) -> None:
        """Send a message in the socket's encoding."""
        message = {"type": kind, **fields}
        if self.binary:
            self.raw(frame(BINARY, msgspec.msgpack.encode(message)))
        else:
            self.text(json.dumps(message, ensure_ascii=False))

    def read(self) -> tuple[int, bytes]:
        """Return the next frame's opcode and payload; pings are answered, pongs left out."""
        while True:
            head = self._exactly(2)
            size = head[1] & 0x7F
            if size == 126:
                size = struct.unpack("!H", self._exactly(2))[0]
            elif size == 127:
                size = struct.unpack("!Q", self._exactly(8))[0]
            payload = self._exactly(size)
            opcode = head[0] & 0x0F
            if opcode == PING:
                self.raw(frame(PONG, payload))
            elif opcode != PONG:
                return opcode, payload

    def hear(self, *kinds: str) -> dict[str, Any]:
        """Return the next message, or the next of these types."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            opcode, payload = self.read()
            assert opcode in (TEXT, BINARY), f"closed: {payload!r}"
            decode = msgspec.msgpack.decode if self.binary else json.loads
            message: dict[str, Any] = decode(payload)
            if not kinds or message["type"] in kinds:
                return message
        raise AssertionError(f"none of {kinds} came")

    def closed(self) -> int:
        """Read on until the close; return its code. Its reason must be that of the contract."""
        while True:
            opcode, payload = self.read()
            if opcode == CLOSE:
                assert len(payload) <= 125
                code = int(struct.unpack("!H", payload[:2])[0])
                assert payload[2:].decode() == reason_of(code)
                return code

    @property
    def unread(self) -> bytes:
        """What has come and was not read as frames yet."""
        return bytes(self._bytes)

    def abandon(self) -> None:
        """Be gone without a word."""
        self.tcp.close()

    @classmethod
    def abandon_all(cls) -> None:
        """Abandon every socket."""
        while cls._all:
            cls._all.pop().abandon()

    def _until(self, mark: bytes) -> bytes:
        while (place := self._bytes.find(mark)) < 0:
            self._more()
        found = bytes(self._bytes[: place + len(mark)])
        del self._bytes[: place + len(mark)]
        return found

    def _exactly(self, size: int) -> bytes:
        while len(self._bytes) < size:
            self._more()
        found = bytes(self._bytes[:size])
        del self._bytes[:size]
        return found

    def _more(self) -> None:
        if self.left == 0:
            raise CutError
        data = self.tcp.recv(65_536 if self.left is None else min(self.left, 65_536))
        if not data:
            raise ConnectionError("the server closed the TCP connection")
        self.received += len(data)
        if self.left is not None:
            self.left -= len(data)
        self._bytes += data
