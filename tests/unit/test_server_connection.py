"""One socket over the twin, in virtual time: how it ends, and what it may send."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, cast

import msgspec
import pytest
from msgspec.structs import replace

from protocol.closes import Close
from protocol.codec import encode
from protocol.commands import (
    AnswerSubmit,
    DurableCommand,
    Hello,
    Ping,
    SpeechPartial,
)
from protocol.events import ReportView, Welcome
from protocol.ids import ORIGIN
from protocol.limits import (
    HEARTBEAT_MS,
    HEARTBEATS_MISSED,
    LIMITS,
    OVER_LINGER_S,
    OVERRATE_CLOSE_S,
)
from protocol.machine import Speaking
from protocol.scalars import Role
from server.connection import COMMANDS_WAITING, EARLY_BYTES, Backends, Connection
from server.heartbeats import LOOK_S, Heartbeats
from server.hub import Hub, Topic
from server.joining import Admission, Seat
from server.outlet import SEND_STALL_S, Outlet
from server.sessions import Verdict
from server.voice import SPEAKING_S
from storage.live import Restore
from storage.twin import Twin, TwinNotifier, TwinServer
from tests.support.clocks import LoopClock
from tests.support.interviews import session
from tests.support.virtual_time import run_virtual

FOREVER_S = 1e6


class FakeWire:
    """A client: what it sends, and what it was sent; ``stuck``: it reads nothing."""

    def __init__(self) -> None:
        self.connection: Connection
        self.reading = True
        self.got: list[dict[str, Any]] = []
        self.stuck = False

    def say(self, message: Any) -> None:
        self.connection.take(encode(message, "json").decode())

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    async def send(self, frame: bytes) -> None:
        if self.stuck:
            await asyncio.sleep(FOREVER_S)
        self.got.append(msgspec.json.decode(frame))

    def send_now(self, frame: bytes) -> bool:
        if not self.stuck:
            self.got.append(msgspec.json.decode(frame))
        return not self.stuck

    def pongs(self) -> list[str]:
        return [message["nonce"] for message in self.got if message["type"] == "pong"]

    def codes(self) -> Counter[str]:
        return Counter(str(message["code"]) for message in self.got if "code" in message)


class FakeDoor:
    def __init__(self, role: Role) -> None:
        self.role: Role = role
        self.hangs = False
        self.session: dict[str, Any] = {}

    def identify(self, interview_id: str, hello: Hello) -> str:
        assert hello.credential
        return interview_id

    async def admit(self, grant: str, hello: Hello, *, since: float) -> Admission:
        assert hello
        assert since
        if self.hangs:
            await asyncio.sleep(FOREVER_S)
        welcome = Welcome(
            interview_id=grant,
            role=self.role,
            recovered=True,
            head=str(ORIGIN),
            resume_token="token",
            heartbeat_ms=HEARTBEAT_MS,
            limits=LIMITS,
        )
        return Admission(
            seat=Seat(self.role, self.role, 1),
            position=ORIGIN,
            stored=ORIGIN,
            session=replace(session(grant), **self.session),
            welcome=welcome,
        )


class FakeSessions:
    """Decides nothing while it ``hangs``, as with a Redis that does not answer."""

    def __init__(self) -> None:
        self.hangs = False
        self.asked: list[str] = []
        self.applied: list[Any] = []
        self.running = 0

    async def apply(self, _: str, happened: Any) -> None:
        self.applied.append(happened)

    async def command(self, _: str, command: DurableCommand, _seen: Any) -> Verdict:
        self.asked.append(command.id)
        self.running += 1
        try:
            if self.hangs:
                await asyncio.sleep(FOREVER_S)
        finally:
            self.running -= 1
        return Verdict(accepted=ORIGIN)


class Silent:
    """Counts nothing and follows nobody."""

    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *_: None


class Scene:
    def __init__(self, role: Role = "candidate") -> None:
        self.clock = LoopClock()
        self.server = TwinServer(self.clock.now)
        self.store = Twin(self.server)
        self.hub = Hub(self.store, TwinNotifier(self.server), self.clock)
        self.heartbeats = Heartbeats(self.clock)
        self.door, self.sessions, self.wire = FakeDoor(role), FakeSessions(), FakeWire()
        parts: dict[str, Any] = {
            "store": self.store,
            "sessions": self.sessions,
            "hub": self.hub,
            "door": self.door,
            "followers": Silent(),
            "clock": self.clock,
            "meter": Silent(),
            "presence": Silent(),
            "heartbeats": self.heartbeats,
        }
        self._backends = Backends(**parts)
        self.connection: Connection

    @property
    def topic(self) -> Topic | None:
        return self.hub.topic(self.connection.interview_id)

    async def prepare(self) -> Connection:
        """Return a socket that is not served yet."""
        new = session()
        await self.store.create(Restore(session=new, version=0, head=ORIGIN, tick=0))
        wire = cast("Any", self.wire)
        self.connection = self.wire.connection = Connection(
            self._backends, wire, new.interview_id, "json"
        )
        return self.connection

    async def open(self, *, hello: bool = True) -> "asyncio.Task[Close | None]":
        """Open the socket; give it a moment."""
        await self.prepare()
        serving = asyncio.create_task(self.connection.run())
        if hello:
            self.wire.say(Hello(credential="credential"))
        await asyncio.sleep(0.01)
        return serving

    async def within(self, serving: "asyncio.Task[Close | None]", seconds: float) -> Close | None:
        async with asyncio.timeout(seconds):
            return await serving

    def run(self, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            ticking = asyncio.create_task(self.heartbeats.run())
            try:
                await story()
            finally:
                ticking.cancel()

        run_virtual(main())


@pytest.mark.parametrize("waits_for", ["hello", "the door", "Redis", "its client", "nothing"])
def test_a_socket_is_aborted_at_once_whatever_it_waits_for(waits_for: str) -> None:
    scene = Scene()

    async def story() -> None:
        scene.door.hangs = waits_for == "the door"
        scene.sessions.hangs = waits_for == "Redis"
        scene.wire.stuck = waits_for == "its client"
        serving = await scene.open(hello=waits_for != "hello")
        for number in range(0 if waits_for == "hello" else 5):
            scene.wire.say(AnswerSubmit(id=f"a{number}", text="x"))
        await asyncio.sleep(1)
        assert not serving.done()
        for code in (Close.RESYNCHRONISE, Close.TOO_SLOW):  # the first one counts
            scene.connection.abort(code)
        assert await scene.within(serving, 0.001) == Close.RESYNCHRONISE
        assert not serving.cancelling()
        assert (scene.topic, scene.sessions.running) == (None, 0)
        scene.connection.abort(Close.INTERNAL)  # too late to mean anything

    scene.run(story)


def test_a_socket_that_cannot_be_woken_ends_and_hurts_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene()

    def broken(_outlet: Outlet) -> None:
        raise OSError

    async def story() -> None:
        serving = await scene.open()
        monkeypatch.setattr(Outlet, "wake", broken)
        scene.connection.wake()  # whoever calls it, the committer of all turns here, goes on
        monkeypatch.undo()
        assert await scene.within(serving, 0.001) == Close.INTERNAL

    scene.run(story)


def test_a_server_that_ends_is_no_abort() -> None:
    scene = Scene()

    async def story() -> None:
        for aborted in (False, True):
            serving = await scene.open()
            if aborted:
                scene.connection.abort(Close.RESYNCHRONISE)
            serving.cancel()
            await asyncio.wait([serving])
            assert serving.cancelled()
            assert scene.topic is None

    scene.run(story)


def test_a_silent_client_is_closed_in_time_while_its_commands_wait() -> None:
    scene = Scene()

    async def story() -> None:
        scene.sessions.hangs = True
        serving = await scene.open()
        for number in range(4):
            scene.wire.say(AnswerSubmit(id=f"a{number}", text="x"))
        silence = HEARTBEAT_MS / 1000 * HEARTBEATS_MISSED
        assert await scene.within(serving, silence + 2 * LOOK_S) == Close.HEARTBEAT_LOST

    scene.run(story)


def test_a_ping_of_the_websocket_is_a_sign_of_life() -> None:
    scene = Scene()

    async def story() -> None:
        serving = await scene.open()
        silence = HEARTBEAT_MS / 1000 * HEARTBEATS_MISSED
        for _ in range(3):
            await asyncio.sleep(silence - LOOK_S)
            assert not serving.done()
            scene.connection.pinged()
        await asyncio.sleep(silence - LOOK_S)
        assert await scene.within(serving, 3 * LOOK_S) == Close.HEARTBEAT_LOST

    scene.run(story)


def test_a_client_that_does_not_read_is_closed_in_time() -> None:
    scene = Scene()

    async def story() -> None:
        serving = await scene.open()
        scene.sessions.hangs = scene.wire.stuck = True
        scene.wire.say(AnswerSubmit(id="a", text="x"))
        scene.connection.thinking(1)
        assert await scene.within(serving, SEND_STALL_S + 0.001) == Close.TOO_SLOW

    scene.run(story)


def test_what_waits_for_a_decision_is_bounded() -> None:
    scene = Scene()

    async def story() -> None:
        scene.sessions.hangs = True
        serving = await scene.open()
        for number in range(COMMANDS_WAITING + 20):
            scene.wire.say(AnswerSubmit(id=f"a{number}", text="x"))
            scene.wire.say(SpeechPartial(utterance_id="u", revision=number, text="x"))
            await asyncio.sleep(0.2)
        assert scene.sessions.asked == ["a0"]
        assert scene.wire.codes() == {"rate_limited": 20}
        scene.connection.abort(Close.INTERNAL)
        await scene.within(serving, 1)

    scene.run(story)


@pytest.mark.parametrize("partial", [False, True])
def test_forbidden_messages_have_a_rate_too(partial: bool) -> None:  # noqa: FBT001
    scene = Scene("observer")

    async def story() -> None:
        serving = await scene.open()
        message: Any = AnswerSubmit(id="a", text="x")
        if partial:
            message = SpeechPartial(utterance_id="u", revision=1, text="x")
        for _ in range(LIMITS.command_burst + 10):
            scene.wire.say(message)
        await asyncio.sleep(0.001)
        surplus = {} if partial else {"rate_limited": 10}
        assert scene.wire.codes() == {"forbidden": LIMITS.command_burst, **surplus}
        began = scene.clock.monotonic()
        while not serving.done():
            scene.wire.say(message)
            await asyncio.sleep(0.02)
        assert serving.result() == Close.RATE_LIMITED
        assert scene.clock.monotonic() - began <= OVERRATE_CLOSE_S + 1
        assert scene.sessions.asked == []

    scene.run(story)


@pytest.mark.parametrize(
    "command",
    ['"answer.submit","id":"a"', '"speech.partial","utterance_id":"u","revision":1,"text":""'],
)
def test_commands_of_a_newer_client_have_a_rate_too(command: str) -> None:
    scene = Scene()

    async def story() -> None:
        await scene.open()
        for _ in range(LIMITS.command_burst + 10):
            scene.connection.take(f'{{"type":{command},"newer":1}}')
        await asyncio.sleep(0.01)
        assert scene.wire.codes()["unknown_field"] == LIMITS.command_burst

    scene.run(story)


@pytest.mark.parametrize("sign", ['"ping","nonce":"a b"', '"ack","event_id":"0-0"'])
def test_life_signs_of_a_newer_client_are_no_commands(sign: str) -> None:
    scene = Scene()

    async def story() -> None:
        serving = await scene.open()
        sent = int(2 * LIMITS.commands_per_second * (OVERRATE_CLOSE_S + 5))
        for _ in range(sent):
            scene.connection.take(f'{{"type":{sign},"newer":1}}')
            await asyncio.sleep(0.5 / LIMITS.commands_per_second)
        scene.wire.say(AnswerSubmit(id="a", text="x"))
        await asyncio.sleep(0.01)
        assert scene.wire.codes() == {"unknown_field": sent}
        assert scene.sessions.asked == ["a"]
        assert not serving.done()

    scene.run(story)


@pytest.mark.parametrize("waits_for", ["hello", "the door", "Redis", "its client", "nothing"])
def test_one_that_leaves_is_let_go_at_once_whatever_it_waited_for(waits_for: str) -> None:
    scene = Scene()

    async def story() -> None:
        scene.door.hangs = waits_for == "the door"
        scene.sessions.hangs = waits_for == "Redis"
        scene.wire.stuck = waits_for == "its client"
        serving = await scene.open(hello=waits_for != "hello")
        if waits_for not in ("hello", "the door"):
            scene.wire.say(AnswerSubmit(id="a", text="x"))
        await asyncio.sleep(1)
        scene.connection.left()
        scene.connection.abort(Close.INTERNAL)  # too late to mean anything
        assert await scene.within(serving, 0.001) is None
        assert (scene.topic, scene.sessions.running) == (None, 0)

    scene.run(story)


def test_one_that_left_before_anything_began_is_not_served() -> None:
    scene = Scene()

    async def story() -> None:
        connection = await scene.prepare()
        connection.left()
        assert await connection.run() is None
        assert scene.topic is None

    scene.run(story)


def test_what_comes_before_the_welcome_is_kept_in_order_and_bounded() -> None:
    scene = Scene()

    async def story() -> None:
        scene.door.hangs = True
        serving = await scene.open()
        for number in range(COMMANDS_WAITING - 1):
            assert scene.wire.reading
            scene.wire.say(AnswerSubmit(id=f"a{number}", text="x"))
        scene.wire.say(AnswerSubmit(id="more", text="x"))
        assert not scene.wire.reading
        scene.connection.left()
        await serving

        scene.door.hangs = False
        serving = await scene.open(hello=False)
        scene.wire.say(Hello(credential="credential"))
        for number in range(5):
            scene.wire.say(AnswerSubmit(id=f"b{number}", text="x"))
        scene.wire.say(AnswerSubmit(id="large", text="x" * EARLY_BYTES))
        assert not scene.wire.reading
        await asyncio.sleep(1)
        assert scene.wire.reading
        assert scene.sessions.asked == [*(f"b{number}" for number in range(5)), "large"]
        scene.connection.abort(Close.INTERNAL)
        await serving

    scene.run(story)


@pytest.mark.parametrize("early", [False, True])
def test_one_that_ends_itself_has_no_cancellation_left(early: bool) -> None:  # noqa: FBT001
    scene = Scene()

    async def story() -> None:
        serving = await scene.open(hello=False)
        scene.wire.say(Hello(credential="credential"))
        await asyncio.sleep(0 if early else 1)
        for _ in range(3):
            scene.connection.take("{}")  # of these the third costs the socket, too
        scene.connection.take("{")
        assert await scene.within(serving, 1) == Close.UNDECODABLE
        assert not serving.cancelling()

    scene.run(story)


def test_nothing_is_decided_of_what_comes_with_a_message_that_costs_the_socket() -> None:
    scene = Scene()

    async def story() -> None:
        serving = await scene.open()
        scene.connection.take("{")
        scene.wire.say(AnswerSubmit(id="a", text="x"))
        assert await scene.within(serving, 0.001) == Close.UNDECODABLE
        assert scene.sessions.asked == []

    scene.run(story)


@pytest.mark.parametrize("nonce", ["plain", "of two words"])
def test_pings_are_answered_in_their_order(nonce: str) -> None:
    scene = Scene()

    async def story() -> None:
        await scene.open()
        asked = [f"{nonce}{number}" for number in range(4)]
        scene.wire.say(Ping(nonce=asked[0]))
        assert scene.wire.pongs() == asked[:1]  # nobody waited for it
        assert scene.wire.got[-1]["server_time"] == scene.clock.now()
        scene.wire.stuck = True
        for each in asked[1:3]:
            scene.wire.say(Ping(nonce=each))
        scene.wire.stuck = False
        scene.wire.say(Ping(nonce=asked[3]))  # which could go at once, but those before it wait
        assert scene.wire.pongs() == asked[:1]
        await asyncio.sleep(0.01)
        assert scene.wire.pongs() == asked
        scene.connection.abort(Close.TOO_SLOW)
        scene.wire.say(Ping(nonce=nonce))
        assert scene.wire.pongs() == asked

    scene.run(story)


def test_a_usual_ping_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()

    async def story() -> None:
        await scene.open()
        monkeypatch.delattr("server.connection.decode_command")
        scene.wire.say(Ping(nonce="usual"))
        assert scene.wire.pongs() == ["usual"]

    scene.run(story)


def test_a_pong_that_cannot_be_written_at_once_is_left_to_the_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene()

    def fails(_: bytes) -> bool:
        raise OSError

    async def story() -> None:
        serving = await scene.open()
        with monkeypatch.context() as patched:
            patched.setattr(scene.wire, "send_now", fails)
            scene.wire.say(Ping(nonce="kept"))
        assert scene.wire.pongs() == []
        await asyncio.sleep(0.01)
        assert scene.wire.pongs() == ["kept"]
        assert not serving.done()

    scene.run(story)


@pytest.mark.parametrize("reported", [False, True])
def test_who_comes_when_all_is_over_waits_for_the_report(reported: bool) -> None:  # noqa: FBT001
    scene = Scene()
    report = ReportView(report_id="r") if reported else None
    scene.door.session = {"status": "completed", "report": report}

    async def story() -> None:
        serving = await scene.open()
        if not reported:
            for _ in range(2):
                await asyncio.sleep(OVER_LINGER_S / 2 - 1)
                assert not serving.done()
                scene.wire.say(Ping(nonce="there"))
        assert await scene.within(serving, 5) is Close.OVER

    scene.run(story)


def test_who_speaks_is_noted_now_and_then() -> None:
    scene = Scene()

    async def story() -> None:
        serving = await scene.open()
        for number in range(4):
            for part in range(10):
                said = f"{number} {part}"
                scene.wire.say(SpeechPartial(utterance_id="u", revision=1, text=said))
                await asyncio.sleep(SPEAKING_S / 10)
            assert len(scene.sessions.applied) == number + 1
        assert all(isinstance(happened, Speaking) for happened in scene.sessions.applied)
        scene.connection.abort(Close.INTERNAL)
        await scene.within(serving, 1)

    scene.run(story)
