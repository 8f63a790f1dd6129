import asyncio
import base64
import hashlib
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from websockets.frames import Frame, Opcode

from loadtest.load.wire import GONE, HandshakeError, Socket

pytestmark = pytest.mark.anyio


class Owner:
    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.codes: list[int] = []

    def received(self, payload: bytes) -> None:
        self.messages.append(payload)

    def closed(self, code: int) -> None:
        self.codes.append(code)


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.gone = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.gone = True

    def abort(self) -> None:
        self.gone = True


def connected() -> tuple[Socket, Owner, Transport]:
    owner, transport = Owner(), Transport()
    socket = Socket(owner, urlsplit("http://h:1/base"), "/base/socket", "interview.v1.json")
    socket.connection_made(transport)
    return socket, owner, transport


def answer(request: bytes) -> bytes:
    key = next(
        line[19:] for line in request.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key")
    )
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False)
    accept = base64.b64encode(digest.digest()).decode()
    return f"HTTP/1.1 101 x\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode()


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    for place in range(0, len(data), size):
        yield data[place : place + size]


def frame(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin=fin).serialize(mask=False)


LONG = [b"", b"a", b"b" * 125, b"c" * 126, b"d" * 70_000, b"e"]


class Leaving(Owner):
    def __init__(self) -> None:
        super().__init__()
        self.leave = lambda: None

    def received(self, payload: bytes) -> None:
        super().received(payload)
        self.leave()


async def test_what_came_with_the_message_that_made_the_owner_leave_is_not_taken() -> None:
    owner, transport = Leaving(), Transport()
    socket = Socket(owner, urlsplit("http://h:1/base"), "/base/socket", "interview.v1.json")
    owner.leave = socket.abort
    socket.connection_made(transport)
    frames = b"".join(frame(Opcode.TEXT, each) for each in (b"a", b"b"))
    socket.data_received(answer(transport.written[0]) + frames)
    socket.data_received(frames)
    assert owner.messages == [b"a"]
    socket.connection_lost(None)
    assert owner.codes == [GONE]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1_000, 1_000_000])
async def test_messages_are_cut_out_of_bytes_however_they_come(size: int) -> None:
    socket, owner, transport = connected()
    data = answer(transport.written[0]) + b"".join(frame(Opcode.TEXT, each) for each in LONG)
    for piece in pieces(data, size):
        socket.data_received(piece)
    await socket.opened
    assert owner.messages == LONG


async def test_the_request_asks_for_the_subprotocol() -> None:
    _, _, transport = connected()
    assert transport.written[0].startswith(b"GET /base/socket HTTP/1.1\r\nHost: h:1\r\n")
    assert b"\r\nSec-WebSocket-Protocol: interview.v1.json\r\n" in transport.written[0]


async def test_fragments_are_joined_and_a_ping_between_them_is_answered() -> None:
    socket, owner, transport = connected()
    socket.data_received(answer(transport.written[0]))
    socket.data_received(frame(Opcode.TEXT, b"one ", fin=False))
    socket.data_received(frame(Opcode.PING, b"there?"))
    socket.data_received(frame(Opcode.CONT, b"two"))
    assert owner.messages == [b"one two"]
    assert transport.written[-1][0] == 0x80 | Opcode.PONG


async def test_what_is_sent_is_masked() -> None:
    socket, _, transport = connected()
    socket.data_received(answer(transport.written[0]))
    socket.send(b"hello")
    head, length, *rest = transport.written[-1]
    assert (head, length) == (0x81, 0x80 | 5)
    key, body = rest[:4], rest[4:]
    assert bytes(byte ^ key[place % 4] for place, byte in enumerate(body)) == b"hello"


async def test_a_close_tells_its_code_once() -> None:
    socket, owner, transport = connected()
    socket.data_received(answer(transport.written[0]))
    socket.data_received(frame(Opcode.CLOSE, (4010).to_bytes(2, "big") + b"why"))
    assert transport.gone
    socket.connection_lost(None)
    assert owner.codes == [4010]
    assert not socket.open


async def test_a_connection_that_breaks_is_gone() -> None:
    socket, owner, transport = connected()
    socket.data_received(answer(transport.written[0]))
    socket.connection_lost(ConnectionResetError())
    assert owner.codes == [GONE]


@pytest.mark.parametrize(
    "reply",
    [b"HTTP/1.1 403 Forbidden\r\n\r\n", b"HTTP/1.1 101 x\r\nSec-WebSocket-Accept: no\r\n\r\n"],
)
async def test_a_refused_handshake_is_told_to_who_waits(reply: bytes) -> None:
    socket, owner, transport = connected()
    socket.data_received(reply)
    with pytest.raises(HandshakeError):
        await socket.opened
    socket.connection_lost(None)
    assert transport.gone
    assert owner.codes == []
