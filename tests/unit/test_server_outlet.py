"""The one writer of a socket, in virtual time: what leaves, in which order, and when it ends."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest

from protocol.closes import Close
from protocol.codec import Encoding, event_body, event_frame
from protocol.events import (
    Accepted,
    DurableEvent,
    Error,
    InterviewEnded,
    InterviewPaused,
    PartialHeard,
    Pong,
    ReportFailed,
    SpeechRecorded,
    TurnDelta,
    TurnStarted,
)
from protocol.ids import ORIGIN, EventId
from protocol.limits import OVER_LINGER_S
from server.cursor import ResynchroniseError
from server.hub import Framed
from server.outlet import (
    CONTROLS_WAITING,
    ECHOES_WAITING,
    READ_PATIENCE_S,
    SEND_STALL_S,
    ClosedError,
    Outlet,
)
from storage.errors import BackendDownError
from storage.live import Entry
from tests.support.clocks import LoopClock
from tests.support.virtual_time import run_virtual


class FakeCursor:
    """Gives out what the test put in ``log``, at most ``batch`` at a time."""

    def __init__(self, batch: int = 256) -> None:
        self.position = ORIGIN
        self.log: list[Entry] = []
        self.batch = batch
        self.fault: Exception | None = None
        self.asked = 0

    def add(self, *events: DurableEvent) -> EventId:
        """Append to the log; return the new head."""
        head = self.log[-1].id if self.log else ORIGIN
        for event in events:
            body = event_body(event)
            head = head.after(body)
            self.log.append(Entry(head, body))
        return head

    async def take(self) -> list[Entry]:
        if self.fault is not None:
            raise self.fault
        return self._next()

    def near(self) -> list[Entry] | None:
        """Every second time there is nothing near: both ways are taken."""
        self.asked += 1
        return self._next() if self.asked % 2 and self.fault is None else None

    def delta(self, encoding: Encoding) -> Framed | None:
        """The next entry, where it is the only one, and a delta."""
        ahead = self.log[self.position.seq :]
        if self.fault is not None or len(ahead) != 1 or b'"turn.delta"' not in ahead[0].body:
            return None
        return Framed(ahead[0].id, event_frame(ahead[0].body, ahead[0].id, encoding))

    def _next(self) -> list[Entry]:
        entries = self.log[self.position.seq :][: self.batch]
        if entries:
            self.position = entries[-1].id
        return entries


class FakeWire:
    """Keeps what is sent; ``stuck`` sends wait until it is cleared."""

    def __init__(self) -> None:
        self.frames: list[Any] = []
        self.flowing = asyncio.Event()
        self.flowing.set()

    async def send(self, frame: bytes) -> None:
        await self.flowing.wait()
        self.frames.append(msgspec.json.decode(frame))

    def send_now(self, frame: bytes) -> bool:
        if self.flowing.is_set():
            self.frames.append(msgspec.json.decode(frame))
        return self.flowing.is_set()

    def told(self, *fields: str) -> list[Any]:
        """The frames' types, or their ``fields``."""
        return (
            [frame["type"] for frame in self.frames]
            if not fields
            else [tuple(frame.get(field) for field in fields) for frame in self.frames]
        )


class Scene:
    def __init__(self, batch: int = 256, encoding: Encoding = "json") -> None:
        self.clock = LoopClock()
        self.wire, self.cursor = FakeWire(), FakeCursor(batch)
        self.outlet = Outlet(self.wire, encoding, self.clock)
        self.closed: Close | None = None
        self.closed_after: float | None = None

    def run(self, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def serve() -> None:
            cursor: Any = self.cursor
            began = self.clock.monotonic()
            try:
                await self.outlet.run(cursor)
            except ClosedError as end:
                self.closed = end.code
                self.closed_after = self.clock.monotonic() - began

        async def main() -> None:
            serving = asyncio.create_task(serve())
            try:
                await story()
            finally:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)

        run_virtual(main())


def deltas(*texts: str, turn: int = 1) -> list[TurnDelta]:
    offset, made = 0, list[TurnDelta]()
    for text in texts:
        made.append(TurnDelta(turn=turn, attempt=1, offset=offset, text=text))
        offset += len(text)
    return made


PAUSED = InterviewPaused(at=1)
PARTIAL_V = ("speech.partial", "v")


def accepted(head: EventId, name: str = "c") -> Accepted:
    return Accepted(command_id=name, id=str(head), duplicate=False)


async def moment() -> None:
    await asyncio.sleep(0.001)


def test_caught_up_is_told_once_and_behind_the_history() -> None:
    scene = Scene(batch=2)
    head = scene.cursor.add(*[PAUSED] * 5)

    async def story() -> None:
        await moment()
        assert scene.wire.told() == ["interview.paused"] * 5 + ["live"]
        assert scene.wire.frames[-1]["id"] == str(head)
        scene.cursor.add(PAUSED)
        scene.outlet.wake()
        await moment()
        assert scene.wire.told()[-2:] == ["live", "interview.paused"]

    scene.run(story)


def test_controls_come_before_further_events() -> None:
    scene = Scene()
    scene.cursor.add(PAUSED)
    scene.outlet.say(Error(code="x", message="y"))

    async def story() -> None:
        await moment()
        assert scene.wire.told() == ["error", "interview.paused", "live"]

    scene.run(story)


def test_accepted_comes_behind_the_commands_effect_and_stored_behind_what_it_covers() -> None:
    scene = Scene(batch=1)
    head = scene.cursor.add(PAUSED, PAUSED)
    later = head.after(event_body(PAUSED))
    scene.outlet.answer(accepted(head, "first"), head)
    scene.outlet.answer(accepted(later, "second"), later)
    scene.outlet.cover(later)

    async def story() -> None:
        await moment()
        assert scene.wire.told() == ["interview.paused", "interview.paused", "accepted", "live"]
        assert scene.wire.frames[2]["command_id"] == "first"
        assert scene.cursor.add(PAUSED) == later
        scene.outlet.wake()
        await moment()
        assert scene.wire.told()[4:] == ["interview.paused", "accepted", "stored"]
        scene.outlet.cover(head)  # news that came late
        await moment()
        assert len(scene.wire.frames) == 7

    scene.run(story)


def test_a_partial_that_waited_behind_its_final_is_dropped() -> None:
    scene = Scene()
    final = SpeechRecorded(turn=2, utterance_id="u", revision=1, text="all")
    scene.cursor.add(final)

    async def story() -> None:
        await moment()
        scene.outlet.say(PartialHeard(utterance_id="u", revision=0, text="al"))
        scene.outlet.say(PartialHeard(utterance_id="v", revision=0, text="an"))
        await moment()
        assert scene.wire.told("type", "utterance_id")[-2:] == [("live", None), PARTIAL_V]
        started = TurnStarted(turn=4, attempt=1, speaker="candidate", kind="answer", at=1)
        scene.cursor.add(started)
        scene.outlet.wake()
        await moment()
        scene.outlet.say(PartialHeard(utterance_id="u", revision=0, text="new"))
        await moment()
        assert scene.wire.told("type", "text")[-1] == ("speech.partial", "new")

    scene.run(story)


def test_a_client_that_is_behind_gets_few_large_deltas() -> None:
    scene = Scene()
    head = scene.cursor.add(PAUSED, *deltas("ab", "cd", "ef"), PAUSED, *deltas("x", "y", turn=3))

    async def story() -> None:
        await moment()
        fields = scene.wire.told("type", "text", "first")
        assert fields[:4] == [
            ("interview.paused", None, None),
            ("turn.delta", "abcdef", 2),
            ("interview.paused", None, None),
            ("turn.delta", "xy", 6),
        ]
        assert scene.wire.frames[3]["id"] == str(head)

    scene.run(story)


def test_a_client_that_keeps_up_gets_every_delta_as_it_is() -> None:
    scene = Scene()

    async def story() -> None:
        await moment()
        for delta in deltas("ab", "cd"):
            scene.cursor.add(delta)
            scene.outlet.wake()
            await moment()
        assert scene.wire.told("type", "text", "first")[1:] == [
            ("turn.delta", "ab", None),
            ("turn.delta", "cd", None),
        ]

    scene.run(story)


def test_a_delta_that_is_all_there_is_leaves_at_once() -> None:
    scene = Scene()

    async def story() -> None:
        await moment()
        for text in ("ab", "cd"):
            head = scene.cursor.add(*deltas(text))
            scene.outlet.wake()  # nothing is awaited
            assert scene.wire.told("type", "text")[-1] == ("turn.delta", text)
            assert scene.cursor.position == head
        await moment()
        assert len(scene.wire.frames) == 3

    scene.run(story)


def _answer(scene: Scene) -> None:
    scene.outlet.answer(accepted(scene.cursor.log[-1].id, "first"), scene.cursor.log[-1].id)


def _control(scene: Scene) -> None:
    scene.outlet.answer(accepted(scene.cursor.log[-1].id), scene.cursor.log[-1].id)
    scene.outlet.say(Error(code="x", message="y"))  # not at once: the task is about to run


def _cover(scene: Scene) -> None:
    scene.outlet.cover(scene.cursor.log[-1].id)


@pytest.mark.parametrize(
    ("waits", "told"),
    [
        (_answer, ["turn.delta", "accepted"]),
        (_control, ["error", "turn.delta", "accepted"]),
        (_cover, ["turn.delta", "stored"]),
    ],
)
def test_a_delta_overtakes_nothing(waits: Callable[[Scene], None], told: list[str]) -> None:
    scene = Scene()

    async def story() -> None:
        await moment()
        scene.cursor.add(*deltas("ab"))
        waits(scene)
        scene.outlet.wake()
        assert len(scene.wire.frames) == 1
        await moment()
        assert scene.wire.told()[1:] == told

    scene.run(story)


def test_a_control_message_leaves_at_once_unless_something_waits() -> None:
    scene = Scene()

    async def story() -> None:
        scene.outlet.say(Error(code="before", message="y"))
        await moment()
        scene.outlet.say(Error(code="now", message="y"))  # nothing is awaited
        scene.wire.flowing.clear()
        scene.outlet.say(Error(code="first", message="y"))
        scene.outlet.say(Error(code="second", message="y"))
        assert scene.wire.told("type", "code") == [
            ("error", "before"),
            ("live", None),
            ("error", "now"),
        ]
        scene.wire.flowing.set()
        scene.outlet.say(Error(code="third", message="y"))
        await moment()
        assert [code for (code,) in scene.wire.told("code")[3:]] == ["first", "second", "third"]

    scene.run(story)


def test_a_partial_whose_final_is_out_is_not_said_at_once_either() -> None:
    scene = Scene()

    async def story() -> None:
        scene.cursor.add(SpeechRecorded(turn=2, utterance_id="u", revision=1, text="It"))
        await moment()
        scene.outlet.say(PartialHeard(utterance_id="u", revision=2, text="I"))
        scene.outlet.say(PartialHeard(utterance_id="v", revision=1, text="A"))
        assert scene.wire.told("type", "utterance_id")[-1] == PARTIAL_V
        await moment()
        assert ("speech.partial", "u") not in scene.wire.told("type", "utterance_id")

    scene.run(story)


def test_who_rests_at_the_head_needs_no_waking() -> None:
    scene = Scene()

    async def story() -> None:
        head = scene.cursor.add(*deltas("ab"))
        assert not scene.outlet.rests_at(head)  # nothing was sent yet
        await moment()
        assert scene.outlet.rests_at(head)
        assert not scene.outlet.rests_at(EventId(head.seq, head.check + 1))
        scene.outlet.cover(head)
        assert not scene.outlet.rests_at(head)
        await moment()
        assert scene.outlet.rests_at(head)

    scene.run(story)


def test_a_delta_for_one_who_does_not_read_waits() -> None:
    scene = Scene()

    async def story() -> None:
        await moment()
        scene.wire.flowing.clear()
        for text in ("ab", "cd", "ef"):
            scene.cursor.add(*deltas(text))
            scene.outlet.wake()
        await asyncio.sleep(SEND_STALL_S - 1)
        assert scene.wire.told() == ["live"]
        scene.wire.flowing.set()
        await moment()
        assert "".join(text or "" for (text,) in scene.wire.told("text")) == "abcdef"

    scene.run(story)


@pytest.mark.parametrize("waited_s", [SEND_STALL_S - 0.5, SEND_STALL_S + 0.5])
def test_a_send_that_does_not_end_ends_the_socket(waited_s: float) -> None:
    scene = Scene()

    async def story() -> None:
        await moment()
        scene.wire.flowing.clear()
        scene.outlet.say(Error(code="x", message="y"))
        await asyncio.sleep(waited_s)
        scene.wire.flowing.set()
        scene.outlet.say(Error(code="z", message="y"))
        await asyncio.sleep(2 * SEND_STALL_S)

    scene.run(story)
    if waited_s < SEND_STALL_S:
        codes = [code for (code,) in scene.wire.told("code")]
        assert (scene.closed, codes) == (None, [None, "x", "z"])
    else:
        assert scene.closed == Close.TOO_SLOW
        assert scene.closed_after == pytest.approx(SEND_STALL_S, abs=0.1)


def test_one_that_reads_on_as_its_time_ends_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()

    async def stuck(_frame: bytes) -> None:
        await asyncio.sleep(2 * SEND_STALL_S)

    async def story() -> None:
        await moment()
        monkeypatch.setattr(scene.wire, "send", stuck)
        scene.wire.flowing.clear()
        scene.outlet.say(Error(code="x", message="y"))
        await moment()
        scene.wire.flowing.set()
        await asyncio.sleep(2 * SEND_STALL_S)

    scene.run(story)
    assert (scene.closed, scene.wire.told("code")[1:]) == (None, [("x",)])


def test_control_messages_for_one_who_does_not_read_are_limited() -> None:
    scene = Scene()

    async def story() -> None:
        scene.wire.flowing.clear()
        await moment()
        for _ in range(CONTROLS_WAITING + 1):
            scene.outlet.say(Error(code="x", message="y"))
        scene.wire.flowing.set()
        await moment()
        assert scene.closed is Close.TOO_SLOW

    scene.run(story)


@pytest.mark.parametrize("judged", [Close.REPLACED, Close.TOO_SLOW])
def test_who_reads_a_frame_now_and_then_is_closed_all_the_same(
    monkeypatch: pytest.MonkeyPatch, judged: Close
) -> None:
    scene, sent = Scene(), list[float]()

    async def trickle(_frame: bytes) -> None:
        await asyncio.sleep(0.9 * SEND_STALL_S)
        sent.append(scene.clock.monotonic())

    async def story() -> None:
        await moment()
        monkeypatch.setattr(scene.wire, "send", trickle)
        scene.wire.flowing.clear()
        for _ in range(CONTROLS_WAITING // 2):
            scene.outlet.say(Error(code="x", message="y"))
        await moment()
        scene.outlet.close(judged)
        for _ in range(10 * CONTROLS_WAITING):
            scene.outlet.say(Error(code="x", message="y"))
        await asyncio.sleep(3 * SEND_STALL_S)

    scene.run(story)
    assert scene.closed is judged
    assert scene.closed_after is not None
    assert scene.closed_after <= 2 * SEND_STALL_S
    assert len(sent) <= 2


def test_echoes_for_one_who_does_not_read_are_limited() -> None:
    scene, frame = Scene(), "x" * 60_000

    async def story() -> None:
        await moment()
        scene.wire.flowing.clear()
        for _ in range(ECHOES_WAITING // len(frame) + 2):
            scene.outlet.say(Pong(nonce=frame, server_time=1))
        scene.wire.flowing.set()
        await moment()
        assert scene.closed is Close.TOO_SLOW

    scene.run(story)


def test_answers_for_one_who_does_not_read_are_limited() -> None:
    scene = Scene()

    async def story() -> None:
        await moment()
        behind = EventId(9, 9)
        for number in range(CONTROLS_WAITING + 1):
            told = Accepted(command_id=f"c{number}", id=str(behind), duplicate=True)
            scene.outlet.answer(told, behind)
        await moment()
        assert scene.closed is Close.TOO_SLOW

    scene.run(story)


def test_a_close_goes_behind_the_controls_and_the_first_code_counts() -> None:
    scene = Scene()

    async def story() -> None:
        scene.outlet.drain(700)
        scene.outlet.close(Close.TOO_SLOW)
        await moment()
        assert scene.wire.told("type", "reconnect_after_ms") == [("draining", 700)]
        assert scene.closed is Close.DRAINING

    scene.run(story)


ENDED = InterviewEnded(reason="completed")
REPORT = ReportFailed(code="c", retryable=True)


def test_it_is_over_when_all_is_told_and_stored() -> None:
    scene = Scene()

    async def story() -> None:
        scene.cursor.add(ENDED)
        scene.outlet.wake()
        await asyncio.sleep(5)
        scene.outlet.cover(scene.cursor.log[-1].id)
        await moment()
        assert scene.closed is None  # the report is not told yet
        head = scene.cursor.add(REPORT)
        scene.outlet.wake()
        await moment()
        assert scene.closed is None  # and now it is not stored yet
        scene.outlet.cover(head)
        await moment()
        assert (scene.closed, scene.wire.told()[-1]) == (Close.OVER, "stored")

    scene.run(story)


@pytest.mark.parametrize("events", [(ENDED,), (ENDED, REPORT)])
def test_it_is_over_after_a_minute_in_any_case(events: tuple[DurableEvent, ...]) -> None:
    scene = Scene()
    scene.cursor.add(*events)

    async def story() -> None:
        await asyncio.sleep(2 * OVER_LINGER_S)
        assert scene.closed is Close.OVER
        assert scene.closed_after == pytest.approx(OVER_LINGER_S)

    scene.run(story)


def test_a_short_outage_is_waited_out_and_controls_go_on() -> None:
    scene = Scene()
    scene.cursor.fault = BackendDownError()

    async def story() -> None:
        await asyncio.sleep(READ_PATIENCE_S / 2)
        scene.outlet.say(Error(code="x", message="y"))
        await asyncio.sleep(2)
        assert scene.wire.told() == ["error"]
        scene.cursor.fault = None
        scene.cursor.add(PAUSED)
        await asyncio.sleep(2)
        assert scene.wire.told() == ["error", "interview.paused", "live"]

    scene.run(story)


@pytest.mark.parametrize(
    ("fault", "code"),
    [(BackendDownError(), Close.BACKEND_DOWN), (ResynchroniseError(), Close.RESYNCHRONISE)],
)
def test_what_cannot_be_read_closes_the_socket(fault: Exception, code: Close) -> None:
    scene = Scene()
    scene.cursor.fault = fault

    async def story() -> None:
        await asyncio.sleep(READ_PATIENCE_S + 5)
        assert scene.closed is code
        assert scene.wire.frames == []

    scene.run(story)
