"""A WebSocket that is handed over: what it tells, what it writes, and how it ends."""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState
from websockets.frames import Close as CloseFrame
from websockets.frames import Frame, Opcode

from protocol.closes import Close
from protocol.limits import LIMITS
from server.frames import (
    BURST_BYTES,
    BYTES_PER_S,
    CLOSE_S,
    EXTENSION,
    FRAME_BYTES,
    PIECE_BYTES,
    TURN_BYTES,
    Frames,
    frame,
)
from server.pings import PING_S, Pings
from tests.support.lines import Line
from tests.support.virtual_time import run_virtual

HANDSHAKE = (
    b"GET /socket HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
)
MAX_SIZE = 1000


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 200_000])
@pytest.mark.parametrize("text", [True, False])
def test_a_frame_is_what_rfc_6455_says(size: int, text: bool) -> None:  # noqa: FBT001
    payload = b"x" * size
    opcode = Opcode.TEXT if text else Opcode.BINARY
    assert frame(payload, text=text) == Frame(opcode, payload).serialize(mask=False)


class Ear:
    def __init__(self) -> None:
        self.came: list[str | bytes] = []
        self.pings = 0
        self.gone = asyncio.Event()

    def take(self, message: str | bytes) -> None:
        self.came.append(message)

    def pinged(self) -> None:
        self.pings += 1

    def left(self) -> None:
        self.gone.set()


class Scene:
    """An app that accepts, waits a moment, and hands over; its work lasts until the peer leaves."""

    def __init__(self, *, before: bytes = b"", accepts_after: float = 0.0) -> None:
        """``before``: what the client sends between the handshake and the handing over."""
        self.pings = Pings()
        config = uvicorn.Config(self.app, log_config=None, ws_max_size=MAX_SIZE, interface="asgi3")
        config.load()
        given: dict[str, Any] = {
            "config": config,
            "server_state": ServerState(),
            "app_state": {},
            "_loop": asyncio.get_running_loop(),
        }
        self.frames = Frames(self.pings, **given)
        self.line = Line(self.frames)
        self.ear = Ear()
        self.code: int | None = None
        self.state = "new"
        self._before = before
        self._accepts_after = accepts_after

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await asyncio.sleep(self._accepts_after)
        await send({"type": "websocket.accept"})
        assert scope["extensions"][EXTENSION] is self.frames
        self.hear(self._before)
        await asyncio.sleep(0.1)
        self.frames.hand_over(self.ear, self._work)
        self.state = "handed over"

    async def _work(self) -> None:
        self.state = "at work"
        await self.ear.gone.wait()
        if self.code is not None:
            await self.frames.close(self.code, "why")
        self.state = "done"

    def hear(self, data: bytes) -> None:
        if data:
            self.frames.data_received(data)

    def say(self, opcode: Opcode, payload: bytes, *, fin: bool = True) -> None:
        self.hear(Frame(opcode, payload, fin).serialize(mask=True))

    @classmethod
    async def stalled(cls) -> "Scene":
        """Return one that is to be closed with 4008 while its client reads nothing."""
        it = cls()
        it.code = 4008
        await it.open()
        it.frames.pause_writing()
        it.ear.left()
        return it

    async def open(self) -> None:
        self.frames.connection_made(self.line)
        self.hear(HANDSHAKE)
        await asyncio.sleep(1)
        assert self.line.sent.startswith(b"HTTP/1.1 101 ")
        self.line.sent.clear()


def play(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    run_virtual(story())


def test_what_came_before_it_was_handed_over_is_told_first() -> None:
    async def story() -> None:
        early = [Frame(Opcode.TEXT, b"one"), Frame(Opcode.BINARY, b"two")]
        it = Scene(before=b"".join(each.serialize(mask=True) for each in early))
        await it.open()
        assert it.ear.came == ["one", b"two"]
        assert it.line.reading
        it.say(Opcode.TEXT, "drei é".encode())
        it.say(Opcode.TEXT, b"for", fin=False)
        it.say(Opcode.CONT, b"ty")
        assert it.ear.came[2:] == ["drei é", "forty"]
        assert it.line.reading  # nobody has to be waited for
        assert it.state == "at work"

    play(story)


@pytest.mark.parametrize("size", [0, 1, 124, 125, 126, 131, 200])
@pytest.mark.parametrize("cut", [0, 1, 2, 5, 6])
def test_a_message_is_told_however_it_is_cut(size: int, cut: int) -> None:
    """Short ones that come whole are taken by another way than all others."""

    async def story() -> None:
        it = Scene()
        await it.open()
        for opcode, payload in ((Opcode.TEXT, b"t" * size), (Opcode.BINARY, b"b" * size)):
            data = Frame(opcode, payload).serialize(mask=True)
            it.hear(data[:cut])
            it.hear(data[cut:])
            it.hear(2 * data)
        text, raw = "t" * size, b"b" * size
        assert it.ear.came == [text, text, text, raw, raw, raw]

    play(story)


def test_short_frames_that_come_whole_pass_by_the_state_machine() -> None:
    """Most of what a silent socket costs is its parsing."""

    async def story() -> None:
        it = Scene()
        await it.open()
        it.say(Opcode.TEXT, b"x" * 200)  # the other way: from there it has to come back
        parsed: list[bytes | bytearray] = []
        parse = it.frames.conn.receive_data

        def receive_data(data: bytes | bytearray) -> None:
            parsed.append(data)
            parse(data)

        it.frames.conn.receive_data = receive_data
        it.frames.ping()
        for opcode in (Opcode.TEXT, Opcode.BINARY):
            it.say(opcode, b"short")
        it.say(Opcode.PONG, bytes(it.line.sent[2:6]))
        assert it.ear.came[1:] == ["short", b"short"]
        assert it.frames.pending_ping_payload is None
        assert parsed == []
        it.say(Opcode.TEXT, b"long" * 50)
        assert len(parsed) == 1

    play(story)


@pytest.mark.parametrize("like", [0x81, 0x82, 0x8A])
@pytest.mark.parametrize("size", [20, 200])
def test_a_payload_that_comes_alone_is_not_taken_for_a_frame(like: int, size: int) -> None:
    """Its bytes are anything, as they are masked: here they begin like a whole short frame."""

    async def story() -> None:
        it = Scene()
        await it.open()
        payload = b"words " * 50
        payload = payload[:size]
        begins = bytes((like, 0x80 | (20 - 6)))
        mask = bytes(a ^ b for a, b in zip(payload, begins, strict=False)) + b"\0\0"
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        length = bytes((0x80 | size,)) if size < 126 else bytes((0xFE, 0, size))
        it.hear(b"\x81" + length + mask)
        it.hear(masked[:20])
        it.hear(masked[20:])
        it.say(Opcode.TEXT, b"next")
        assert it.ear.came == [payload.decode(), "next"]

    play(story)


@pytest.mark.parametrize("kind", ["text amid parts", "not masked", "reserved bit"])
def test_a_short_frame_that_is_not_allowed_ends_the_socket(kind: str) -> None:
    async def story() -> None:
        it = Scene()
        await it.open()
        match kind:
            case "text amid parts":
                it.say(Opcode.TEXT, b"be", fin=False)
                it.say(Opcode.TEXT, b"gone")
            case "not masked":
                it.hear(Frame(Opcode.TEXT, b"0123456789").serialize(mask=False))
            case _:
                it.hear(b"\xc1" + Frame(Opcode.TEXT, b"x").serialize(mask=True)[1:])
        await asyncio.sleep(1)
        assert it.ear.came == []
        assert int.from_bytes(it.line.sent[2:4], "big") == 1002

    play(story)


def test_one_who_left_before_it_was_handed_over_is_told() -> None:
    async def story() -> None:
        leaving = Frame(Opcode.CLOSE, CloseFrame(1000, "").serialize()).serialize(mask=True)
        it = Scene(before=leaving)
        await it.open()
        assert it.ear.gone.is_set()
        assert (it.state, it.line.closed) == ("done", True)

    play(story)


@pytest.mark.parametrize("how", ["close", "lost", "shutdown", "not UTF-8", "too big"])
def test_a_peer_that_leaves_is_told_and_its_work_ends(how: str) -> None:
    codes = {"close": 1000, "lost": None, "shutdown": 1012, "not UTF-8": 1007, "too big": 1009}

    async def story() -> None:
        it = Scene()
        await it.open()
        match how:
            case "close":
                it.say(Opcode.CLOSE, CloseFrame(1000, "").serialize())
            case "lost":
                it.frames.connection_lost(ConnectionResetError())
            case "shutdown":
                it.frames.shutdown()
            case "not UTF-8":
                it.say(Opcode.TEXT, b"\xff")
            case _:
                it.say(Opcode.TEXT, b"x" * (MAX_SIZE + 1))
        await asyncio.sleep(1)
        assert it.state == "done"
        assert it.ear.came == []
        told = int.from_bytes(it.line.sent[2:4], "big") if it.line.sent else None
        assert told == codes[how]
        assert it.frames not in it.frames.connections

    play(story)


def numbered(count: int) -> tuple[list[str], bytes]:
    """Messages, and how they come: many in one read."""
    texts = [f"{number:04}" for number in range(count)]
    frames = (Frame(Opcode.TEXT, text.encode()).serialize(mask=True) for text in texts)
    return texts, b"".join(frames)


MOST = PIECE_BYTES // 10 + TURN_BYTES // FRAME_BYTES
"""Of such messages a turn of the loop takes no more; they are ten bytes each."""


def test_many_frames_of_one_read_are_taken_over_turns_of_the_loop_and_no_more_is_read() -> None:
    async def story() -> None:
        it = Scene()
        await it.open()
        texts, data = numbered(8 * MOST)
        it.hear(data)
        turns = 1
        while len(it.ear.came) < len(texts):
            assert not it.line.reading
            came = len(it.ear.came)
            await asyncio.sleep(0)
            turns += 1
            assert 0 < len(it.ear.came) - came <= MOST
        assert turns >= 8
        assert it.ear.came == texts
        assert it.line.reading
        it.say(Opcode.TEXT, b"next")
        assert it.ear.came[-1] == "next"

    play(story)


def test_the_largest_message_takes_few_turns() -> None:
    async def story() -> None:
        it = Scene()
        it.frames.conn.max_message_size = LIMITS.frame_bytes
        await it.open()
        it.say(Opcode.TEXT, b"x" * (LIMITS.frame_bytes - FRAME_BYTES))
        assert len(it.ear.came) == 1
        it.say(Opcode.TEXT, b"x" * LIMITS.frame_bytes)
        await asyncio.sleep(0)
        assert len(it.ear.came) == 2

    play(story)


def test_what_comes_while_more_waits_is_taken_behind_it() -> None:
    async def story() -> None:
        it = Scene()
        await it.open()
        texts, data = numbered(4 * MOST)
        it.hear(data)
        it.line.resume_reading()  # as uvicorn does, past all of this
        it.say(Opcode.TEXT, b"last")
        assert not it.line.reading
        await asyncio.sleep(1)
        assert it.ear.came == [*texts, "last"]
        assert it.line.reading

    play(story)


def test_a_listener_that_wants_no_more_is_not_read_for_when_all_is_taken() -> None:
    async def story() -> None:
        it = Scene()
        await it.open()
        texts, data = numbered(2 * MOST)
        it.hear(data)
        it.frames.pause_reading()
        await asyncio.sleep(1)
        assert it.ear.came == texts
        assert not it.line.reading
        it.hear(data)
        it.frames.resume_reading()
        assert not it.line.reading  # before that
        await asyncio.sleep(1)
        assert it.ear.came == 2 * texts
        assert it.line.reading

    play(story)


@pytest.mark.parametrize("first", ["peer", "server"])
def test_a_close_behind_much_is_heard(first: str) -> None:
    async def story() -> None:
        it = Scene()
        await it.open()
        texts, data = numbered(4 * MOST)
        it.hear(data + Frame(Opcode.CLOSE, b"").serialize(mask=True) + data)
        if first == "server":
            it.code = 4001
            it.frames.pause_reading()  # as before a welcome
            it.ear.left()
        await asyncio.sleep(1)
        assert it.line.closed
        assert it.state == "done"
        assert it.ear.came == texts[: len(it.ear.came)]
        assert (it.ear.came == texts) is (first == "peer")

    play(story)


def test_what_waits_when_the_peer_is_gone_is_dropped() -> None:
    async def story() -> None:
        it = Scene()
        await it.open()
        _, data = numbered(4 * MOST)
        it.hear(data)
        came = len(it.ear.came)
        it.line.close()
        await asyncio.sleep(1)
        assert len(it.ear.came) == came
        assert not it.line.reading
        assert it.state == "done"

    play(story)


FLOODS = {
    "pings": (Opcode.PING, b"12345678", True),
    "pongs": (Opcode.PONG, b"", True),
    "empty parts": (Opcode.CONT, b"", False),
    "short messages": (Opcode.TEXT, b"{}", True),
    "long messages": (Opcode.BINARY, b"x" * MAX_SIZE, True),
}


@pytest.mark.parametrize("kind", FLOODS)
@pytest.mark.parametrize("at_once", [1, 100])
def test_who_sends_far_too_much_is_closed_with_the_code_for_it(kind: str, at_once: int) -> None:
    opcode, payload, fin = FLOODS[kind]

    async def story() -> None:
        it = Scene()
        await it.open()
        if opcode is Opcode.CONT:
            it.say(Opcode.TEXT, b"", fin=False)
        data = Frame(opcode, payload, fin).serialize(mask=True)
        cost = 0
        while not it.line.closed:
            it.line.sent.clear()
            it.hear(at_once * data)
            cost += at_once * (FRAME_BYTES + len(payload))
            assert cost < BURST_BYTES + 1.1 * BYTES_PER_S  # it was open for a second before
            for _ in range(at_once):
                await asyncio.sleep(0)
            assert it.line.reading or it.line.closed
        assert cost > 0.9 * BURST_BYTES
        told = CloseFrame(Close.RATE_LIMITED, Close.RATE_LIMITED.reason).serialize()
        assert it.line.sent.endswith(Frame(Opcode.CLOSE, told).serialize(mask=False))
        came = len(it.ear.came)
        it.hear(data)
        await asyncio.sleep(1)
        assert len(it.ear.came) == came
        assert it.state == "done"

    play(story)


def test_who_sends_as_much_as_may_come_in_the_long_run_is_not_closed() -> None:
    async def story() -> None:
        it = Scene()
        await it.open()
        for number in range(10 * BYTES_PER_S // FRAME_BYTES):
            it.say(Opcode.TEXT, b"a message of thirty bytes' size" if number % 2 else b"x" * 200)
            await asyncio.sleep((FRAME_BYTES + 208) / BYTES_PER_S)
        assert not it.line.closed

    play(story)


def test_the_rate_is_far_above_what_the_contract_lets_a_client_send() -> None:
    cost = LIMITS.frame_bytes + FRAME_BYTES
    each_second = LIMITS.commands_per_second + LIMITS.partials_per_second
    at_once = LIMITS.command_burst + LIMITS.partials_per_second
    assert 1.9 * cost * each_second < BYTES_PER_S
    assert 1.9 * cost * at_once < BURST_BYTES


@pytest.mark.parametrize("when", ["before its accept", "while it is closed", "reading nothing"])
def test_one_that_cannot_be_told_is_let_go_when_it_sends_far_too_much(when: str) -> None:
    enough = (BURST_BYTES + 2 * BYTES_PER_S) // FRAME_BYTES
    flood = Frame(Opcode.PONG, b"").serialize(mask=True) * enough

    async def story() -> None:
        it = Scene(accepts_after=10)
        it.frames.connection_made(it.line)
        it.hear(HANDSHAKE)
        await asyncio.sleep(1 if when == "before its accept" else 11)
        match when:
            case "while it is closed":
                it.code = 4001
                it.ear.left()
                await asyncio.sleep(0.1)
            case "reading nothing":
                it.frames.pause_writing()
            case _:
                pass
        sent = len(it.line.sent)
        it.hear(flood)
        await asyncio.sleep(20)
        assert it.line.aborted
        assert len(it.line.sent) == sent
        assert it.frames not in it.frames.connections

    play(story)


def test_nothing_is_left_of_the_request() -> None:
    async def story() -> None:
        it = Scene()
        await it.open()
        assert it.state == "at work"
        assert not {"scope", "request", "response"} & vars(it.frames).keys()

    play(story)


def test_a_code_is_told_and_the_peers_answer_waited_for() -> None:
    async def story() -> None:
        it = Scene()
        it.code = 4001
        await it.open()
        it.ear.left()
        await asyncio.sleep(1)
        assert it.line.sent == frame_of_close(4001)
        assert not it.line.closed
        it.say(Opcode.TEXT, b"too late")
        it.say(Opcode.CLOSE, CloseFrame(4001, "").serialize())
        assert it.line.closed
        assert it.ear.came == []

    play(story)


def frame_of_close(code: int) -> bytes:
    return Frame(Opcode.CLOSE, CloseFrame(code, "why").serialize()).serialize(mask=False)


def test_one_that_does_not_read_is_let_go_without_a_close_frame() -> None:
    async def story() -> None:
        it = await Scene.stalled()
        await asyncio.sleep(CLOSE_S - 0.1)
        assert not it.line.closed
        await asyncio.sleep(0.2)
        assert it.line.aborted

    play(story)


def test_one_that_reads_again_while_it_is_closed_is_told_why() -> None:
    async def story() -> None:
        it = await Scene.stalled()
        await asyncio.sleep(1)
        it.frames.resume_writing()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert it.line.sent == frame_of_close(4008)

    play(story)


@pytest.mark.parametrize("how", ["keepalive", "lost"])
def test_one_that_went_while_it_was_to_be_closed_is_no_error(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        it = await Scene.stalled()
        await asyncio.sleep(1)
        if how == "keepalive":
            it.frames.keepalive_timeout()
        it.line.close()
        await asyncio.sleep(1)
        assert it.state == "done"

    play(story)
    assert not caplog.records


def test_a_peer_that_does_not_read_gets_no_pongs() -> None:
    async def story() -> None:
        it = Scene()
        await it.open()
        it.frames.pause_writing()
        it.say(Opcode.PING, b"one")
        assert not it.line.sent
        it.frames.resume_writing()
        it.say(Opcode.PING, b"two")
        assert it.line.sent == Frame(Opcode.PONG, b"two").serialize(mask=False)

    play(story)


def test_what_ended_does_not_hold_its_listener() -> None:
    async def story() -> None:
        it = Scene()
        await it.open()
        assert it.ear in gc.get_referents(it.frames)
        it.ear.left()
        it.line.close()
        await asyncio.sleep(1)
        assert it.state == "done"
        assert it.ear not in gc.get_referents(it.frames, it.frames.queue)

    play(story)


def test_a_message_waits_for_one_that_does_not_read_until_it_does_or_leaves() -> None:
    async def story() -> None:
        for leaves in (False, True):
            it = Scene()
            await it.open()
            it.frames.pause_writing()
            assert not it.frames.write_now(b"a", text=True)
            writing = asyncio.create_task(it.frames.write(b"b", text=False))
            await asyncio.sleep(1)
            assert not writing.done()
            if leaves:
                it.line.close()
            else:
                it.frames.resume_writing()
            assert await writing is not leaves
            assert it.line.sent == (b"" if leaves else b"\x82\x01b")
            assert await it.frames.write(b"c", text=True) is not leaves

    play(story)


@pytest.mark.parametrize("state", ["open", "full", "close_sent", "closing"])
def test_only_an_open_socket_that_flows_takes_one_at_once(state: str) -> None:
    written: list[bytes] = []
    socket: Any = SimpleNamespace(
        writable=SimpleNamespace(is_set=lambda: state != "full"),
        close_sent=state == "close_sent",
        transport=SimpleNamespace(is_closing=lambda: state == "closing", write=written.append),
    )
    assert Frames.write_now(socket, b"hello", text=True) is (state == "open")
    assert written == ([b"\x81\x05hello"] if state == "open" else [])


def test_reading_stops_and_goes_on() -> None:
    async def story() -> None:
        it = Scene()
        await it.open()
        for reading in (False, False, True, True):
            (it.frames.resume_reading if reading else it.frames.pause_reading)()
            assert it.line.reading is reading

    play(story)


@pytest.mark.parametrize("reads", [True, False])
def test_a_ping_is_told_and_a_pong_is_not(reads: bool) -> None:  # noqa: FBT001
    async def story() -> None:
        it = Scene(before=Frame(Opcode.PING, b"early").serialize(mask=True))
        await it.open()
        assert it.ear.pings == 0  # the listener was not there yet
        if not reads:
            it.frames.pause_writing()
        for told in (1, 2):
            it.say(Opcode.PING, b"")
            it.say(Opcode.PONG, b"")
            assert it.ear.pings == told
        it.say(Opcode.TEXT, b"for", fin=False)
        it.say(Opcode.PING, b"between two parts")
        it.say(Opcode.CONT, b"ty")
        assert (it.ear.pings, it.ear.came) == (3, ["forty"])

    play(story)


@pytest.mark.parametrize("answers", [True, False])
def test_each_is_pinged_in_its_second_and_one_that_never_answers_is_gone(
    answers: bool,  # noqa: FBT001
) -> None:
    async def story() -> None:
        it = Scene()
        await it.open()
        await asyncio.sleep(PING_S - 1.5)
        for _ in range(3):
            assert not it.line.sent
            await asyncio.sleep(1)
            if not answers:
                break
            assert it.line.sent[:2] == b"\x89\x04"
            it.say(Opcode.PONG, b"none of it")  # unsolicited ones mean nothing (§5.5.3)
            it.say(Opcode.PONG, bytes(it.line.sent[2:]))
            it.line.sent.clear()
            await asyncio.sleep(PING_S - 1)
        await asyncio.sleep(PING_S)
        assert it.ear.gone.is_set() is it.line.closed is not answers  # the last ping is open yet
        assert (b"keepalive" in it.line.sent) is not answers

    play(story)


def test_the_timer_of_the_pings_ends_with_the_last_socket() -> None:
    async def story() -> None:
        it = Scene()
        await it.open()
        it.say(Opcode.CLOSE, CloseFrame(1000, "").serialize())
        await asyncio.sleep(2)
        sent = bytes(it.line.sent)
        await asyncio.sleep(10 * PING_S)
        assert it.line.sent == sent
        again = Scene()
        again.pings = it.pings
        await again.open()
        await asyncio.sleep(PING_S)
        assert again.line.sent[:1] == b"\x89"

    play(story)
