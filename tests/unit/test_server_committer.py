"""Group commit over the twin, in virtual time."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from protocol import commands as c
from protocol.codec import read_body
from protocol.events import TurnDelta
from protocol.ids import ORIGIN, EventId
from protocol.machine import Received, transition
from server.committer import (
    BUSY,
    FLIGHTS,
    FULL,
    GATHER_S,
    LEAST_S,
    PACE_S,
    PATIENCE_S,
    REST,
    RETRY_S,
    STRETCH,
    Committer,
    FencedError,
    Relay,
)
from server.hub import Hub, Topic
from storage.errors import BackendDownError, BadDataError, OutOfMemoryError, StorageError
from storage.live import Acquired, Append, Appended, Fenced, Restore
from storage.twin import Twin, TwinNotifier, TwinServer
from tests.support.clocks import LoopClock
from tests.support.interviews import NOW, session
from tests.support.virtual_time import run_beside

START = c.InterviewStart(id="c-1", consent=c.Consent(version="1", at=NOW))
TRIP_S = 0.005
SLOW_S = 0.5


class Wire:
    """Every call takes a while."""

    def __init__(self) -> None:
        self.trip_s = TRIP_S

    async def request(self, client: str, operation: str) -> None:
        assert client in ("", "notifier")
        assert operation
        await asyncio.sleep(self.trip_s)

    async def reply(self, client: str, operation: str) -> None:
        assert client in ("", "notifier")
        assert operation


class WatchedTwin(Twin):
    """Notes every flush; refuses what it is told to."""

    def __init__(self, server: TwinServer) -> None:
        super().__init__(server)
        self.flushes: list[tuple[float, int]] = []
        self.bad: set[str] = set()
        self.slow: set[str] = set()
        self.full: set[str] = set()
        """For these there is a fault, unless they come alone; the others' words are in."""
        self.fault: StorageError = OutOfMemoryError("not now")
        self.at_once = self.most_at_once = 0

    async def append(self, appends: Sequence[Append]) -> list[Appended | Fenced | StorageError]:
        self.flushes.append((asyncio.get_running_loop().time(), len(appends)))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            some = self.full if len(appends) > 1 else set[str]()
            if not some and any(append.id in self.bad for append in appends):
                await asyncio.sleep(TRIP_S)
                raise BadDataError
            if any(append.id in self.slow for append in appends):
                await asyncio.sleep(SLOW_S)
            results = await super().append([a for a in appends if a.id not in some])
            for place, append in enumerate(appends):
                if append.id in some:
                    results.insert(place, self.fault)
            return results
        finally:
            self.at_once -= 1


class Scene:
    def __init__(self) -> None:
        self.clock = LoopClock()
        self.wire = Wire()
        self.server = TwinServer(self.clock.now, wire=self.wire)
        self.store = WatchedTwin(self.server)
        self.notifier = TwinNotifier(self.server)
        self.hub = Hub(self.store, self.notifier, self.clock)
        self.measured: list[int] = []
        self.busy = 0.0
        """The share of its core that the instance uses."""
        self._worked, self._looked = 0.0, 0.0
        self.committer = Committer(
            self.store,
            self.hub,
            self.clock,
            lambda deltas, _: self.measured.append(deltas),
            self._work,
        )

    def _work(self) -> float:
        now = self.clock.monotonic()
        self._worked += self.busy * (now - self._looked)
        self._looked = now
        return self._worked

    async def relay(self, *, lease_ms: int = 10**9) -> Relay:
        """The way into the log of a new interview's first turn."""
        live = transition(session(), Received(command=START, at=NOW)).session
        await self.store.create(Restore(session=live, version=0, head=ORIGIN, tick=0))
        name = live.interview_id
        acquired = await self.store.acquire(name, self.clock.nonce(), lease_ms)
        assert isinstance(acquired, Acquired)
        return Relay(
            self.committer, name, 1, 1, fence=acquired.fence, ordinal=0, offset=0, handle=""
        )

    def gaps(self, first: int = 0) -> list[float]:
        """The times from one flush to the next, from the ``first`` on."""
        times = [at for at, _ in self.store.flushes[first:]]
        return [later - earlier for earlier, later in itertools.pairwise(times)]

    def logged(self, relay: Relay) -> list[TurnDelta]:
        entries = self.server.interviews[relay.interview_id].log
        events = [read_body(entry.body, entry.id) for entry in entries if entry.body]
        return [event for event in events if isinstance(event, TurnDelta)]

    def text(self, relay: Relay) -> str:
        pieces = self.logged(relay)
        offset = 0
        for piece in pieces:
            assert piece.offset == offset
            offset += len(piece.text)
        return "".join(piece.text for piece in pieces)

    def run(self, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
        run_beside(self.committer.run, story)


async def _speak(relay: Relay, words: int, every_s: float) -> str:
    said = [f"w{number} 🦁 " for number in range(words)]
    for word in said:
        relay.push(word, "")
        await asyncio.sleep(every_s)
    await relay.drained()
    return "".join(said)


def test_the_first_piece_goes_at_once_and_the_rest_at_a_pace() -> None:
    scene = Scene()

    async def story() -> None:
        relay = await scene.relay()
        began = scene.clock.monotonic()
        said = await _speak(relay, 200, 0.001)
        assert scene.text(relay) == said
        assert scene.store.flushes[0][0] == pytest.approx(began)
        gaps = scene.gaps()
        assert min(gaps) >= PACE_S - 1e-9
        assert max(gaps) <= PACE_S + 0.002
        assert scene.measured == [1] * len(scene.store.flushes)

    scene.run(story)


def test_slow_words_are_not_held_back() -> None:
    scene = Scene()

    async def story() -> None:
        relay = await scene.relay()
        began = scene.clock.monotonic()
        await _speak(relay, 5, 0.1)
        times = [at - began for at, _ in scene.store.flushes]
        assert times == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])

    scene.run(story)


@pytest.mark.parametrize(
    ("later_s", "pace_s"), [(PACE_S / REST, PACE_S), (0.015, 0.06), (0.09, PACE_S * STRETCH)]
)
def test_where_appends_take_longer_there_are_fewer_and_larger_ones(
    later_s: float, pace_s: float
) -> None:
    scene = Scene()

    async def story() -> None:
        relay = await scene.relay()
        said = await _speak(relay, 20, 0.005)
        usual = len(scene.store.flushes)
        scene.wire.trip_s = TRIP_S + later_s
        said += await _speak(relay, 300, 0.005)
        scene.wire.trip_s = TRIP_S
        said += await _speak(relay, 100, 0.005)
        assert scene.text(relay) == said
        gaps = scene.gaps()
        assert gaps[usual + 8 : usual + 16] == pytest.approx([pace_s] * 8, abs=0.006)
        assert gaps[-6:-1] == pytest.approx([PACE_S] * 5, abs=0.006), "it is over soon"

    scene.run(story)


@pytest.mark.parametrize(
    ("busy", "pace_s"),
    [
        (BUSY, PACE_S),
        ((BUSY + FULL) / 2, PACE_S * (1 + STRETCH) / 2),
        (FULL, PACE_S * STRETCH),
        (1.0, PACE_S * STRETCH),
    ],
)
def test_where_the_instance_itself_is_busy_there_are_fewer_and_larger_appends(
    busy: float, pace_s: float
) -> None:
    scene = Scene()

    async def story() -> None:
        relay = await scene.relay()
        scene.busy = busy
        said = await _speak(relay, 1600, 0.005)
        hurried = len(scene.store.flushes)
        scene.busy = 0.1
        said += await _speak(relay, 400, 0.005)
        assert scene.text(relay) == said
        gaps = scene.gaps()
        assert gaps[hurried - 9 : hurried - 1] == pytest.approx([pace_s] * 8, abs=0.006)
        assert gaps[-9:-1] == pytest.approx([PACE_S] * 8, abs=0.006), "it is over soon"

    scene.run(story)


def test_a_busy_moment_of_the_instance_is_no_reason_to_rest() -> None:
    scene = Scene()

    async def story() -> None:
        relay = await scene.relay()
        scene.busy = 0.5
        said = await _speak(relay, 600, 0.005)
        scene.busy = 1.0
        said += await _speak(relay, 30, 0.005)
        scene.busy = 0.5
        said += await _speak(relay, 200, 0.005)
        assert scene.text(relay) == said
        gaps = scene.gaps()
        assert max(gaps) <= PACE_S + 0.006

    scene.run(story)


@pytest.mark.parametrize("busier", [0.1, 0.5, 2.0])
def test_the_pauses_settle_where_they_change_the_load(busier: float) -> None:
    """``busier``: the load of appends at the usual pace, beside what words take without them."""
    scene = Scene()

    async def story() -> None:
        relay = await scene.relay()
        said = ""
        ends: list[float] = []
        for _ in range(40):
            before = len(scene.store.flushes)
            said += await _speak(relay, 100, 0.005)
            flushed = len(scene.store.flushes) - before
            scene.busy = 0.5 + busier * flushed * PACE_S / 0.5
            ends.append(flushed)
        assert scene.text(relay) == said
        assert max(ends[-20:]) - min(ends[-20:]) <= 0.25 * max(ends[-20:]), "no swinging"

    scene.run(story)


@pytest.mark.parametrize("idle_s", [0.0, 3.0])
def test_one_append_that_takes_long_is_no_reason_to_rest(idle_s: float) -> None:
    scene = Scene()

    async def story() -> None:
        relay = await scene.relay()
        late_s = 0.03
        await _speak(relay, 100, 0.005)
        await asyncio.sleep(idle_s)
        began = len(scene.store.flushes)
        scene.wire.trip_s = late_s
        async with asyncio.TaskGroup() as group:
            group.create_task(_speak(relay, 100, 0.005))
            await asyncio.sleep(PACE_S)  # in which one append begins
            scene.wire.trip_s = TRIP_S
        gaps = scene.gaps(began)
        assert gaps[0] == pytest.approx(late_s, abs=0.006)
        assert gaps[1:-1] == pytest.approx([PACE_S] * len(gaps[1:-1]), abs=0.006)

    scene.run(story)


def test_a_redis_that_is_far_away_is_no_reason_to_rest() -> None:
    scene = Scene()

    async def gaps(trip_s: float) -> list[float]:
        relay = await scene.relay()
        scene.wire.trip_s = trip_s
        began = len(scene.store.flushes)
        await _speak(relay, 60, 0.005)
        return scene.gaps(began)[:-1]

    async def story() -> None:
        assert await gaps(0.018) == pytest.approx([PACE_S] * 14, abs=0.006)
        await asyncio.sleep(LEAST_S)
        assert max(await gaps(0.04)) > 2 * 0.04, "it is farther away than lately"
        await asyncio.sleep(LEAST_S)
        await gaps(0.04)
        await asyncio.sleep(LEAST_S)
        last = await gaps(0.04)
        assert last == pytest.approx([0.04] * len(last), abs=0.006), "long ago does not matter"

    scene.run(story)


def test_few_flushes_are_in_flight_and_carry_what_waits_of_all() -> None:
    scene = Scene()

    async def story() -> None:
        relays = [await scene.relay() for _ in range(20)]
        async with asyncio.TaskGroup() as group:
            spoken = [group.create_task(_speak(relay, 50, 0.004)) for relay in relays]
        assert [scene.text(relay) for relay in relays] == [task.result() for task in spoken]
        assert scene.store.most_at_once <= FLIGHTS
        assert len(scene.store.flushes) < 4 * 20
        assert sum(scene.measured) == sum(len(scene.logged(relay)) for relay in relays)

    scene.run(story)


def test_a_slow_flush_holds_up_only_whom_it_carries() -> None:
    scene = Scene()

    async def story() -> None:
        slow, other = await scene.relay(), await scene.relay()
        scene.store.slow.add(slow.interview_id)
        slow.push("one ", "")
        await asyncio.sleep(0)
        slow.push("two ", "")
        said = await _speak(other, 10, PACE_S)
        assert scene.text(other) == said
        assert scene.text(slow) == ""
        await slow.drained()
        assert [delta.text for delta in scene.logged(slow)] == ["one ", "two "]
        assert min(scene.gaps(2)) >= GATHER_S - 1e-9

    scene.run(story)


def test_more_flushes_than_may_be_in_flight_are_not_begun() -> None:
    scene = Scene()

    async def story() -> None:
        relays = [await scene.relay() for _ in range(3 * FLIGHTS)]
        scene.store.slow.update(relay.interview_id for relay in relays)
        for relay in relays:
            relay.push("one ", "")
            await asyncio.sleep(2 * GATHER_S)
        assert scene.store.most_at_once == FLIGHTS
        for relay in relays:
            await relay.drained()
            assert scene.text(relay) == "one "
        assert [count for _, count in scene.store.flushes] == [1] * FLIGHTS + [2 * FLIGHTS]

    scene.run(story)


def test_an_append_whose_reply_was_lost_takes_effect_once() -> None:
    scene = Scene()

    async def story() -> None:
        relay = await scene.relay()
        for part in ("request", "reply"):
            scene.server.lose("append", part, 3)
            relay.push(f"{part} ", "")
            relay.push("and more ", "")
            await relay.drained()
        assert scene.text(relay) == "request and more reply and more "

    scene.run(story)


def test_a_socket_is_woken_though_the_reply_is_lost_and_no_notice_comes() -> None:
    scene = Scene()

    class Socket:
        topic: Topic | None = None
        saw = ORIGIN

        def wake(self) -> None:
            assert self.topic is not None
            self.saw = self.topic.head

        def stored(self, _: EventId) -> None:
            raise AssertionError

    async def story() -> None:
        relay, socket = await scene.relay(), Socket()
        scene.notifier.attach(scene.hub.hear)
        topic = await scene.hub.enter(relay.interview_id, socket)  # type: ignore[arg-type]
        socket.topic = topic
        scene.server.lose("append", "reply")
        relay.push("alone ", "")
        await relay.drained()
        await asyncio.sleep(0)
        held = scene.server.interviews[relay.interview_id]
        assert socket.saw == held.head
        assert topic.after(topic.head) is None  # it reads what was lost from Redis
        relay.push("and more ", "")
        await relay.drained()
        assert socket.saw == held.head
        scene.notifier.detach()

    scene.run(story)


def test_an_outage_is_waited_out_without_haste() -> None:
    scene = Scene()

    async def story() -> None:
        relay = await scene.relay()
        scene.server.down = True
        relay.push("a", "")
        await asyncio.sleep(20)
        relay.push("b", "")
        assert len(scene.store.flushes) <= 20 / RETRY_S
        scene.server.down = False
        await relay.drained()
        assert scene.text(relay) == "ab"

    scene.run(story)


def test_an_outage_without_end_is_given_up_and_told() -> None:
    scene = Scene()

    async def story() -> None:
        relay = await scene.relay()
        scene.server.down = True
        began = scene.clock.monotonic()
        relay.push("a", "")
        with pytest.raises(BackendDownError):
            await relay.drained()
        waited = scene.clock.monotonic() - began
        assert PATIENCE_S < waited < PATIENCE_S + 1
        with pytest.raises(BackendDownError):
            relay.push("b", "")
        scene.server.down = False
        await asyncio.sleep(1)
        assert scene.text(relay) == ""

    scene.run(story)


def test_who_was_fenced_out_writes_nothing_further() -> None:
    scene = Scene()

    async def story() -> None:
        relay, other = await scene.relay(lease_ms=50), await scene.relay()
        relay.push("mine", "")
        await relay.drained()
        await asyncio.sleep(0.1)
        taken = await scene.store.acquire(relay.interview_id, "another")
        assert isinstance(taken, Acquired)
        relay.push("late", "")
        other.push("fine", "")
        with pytest.raises(FencedError):
            await relay.drained()
        with pytest.raises(FencedError):
            relay.push("later", "")
        await other.drained()
        assert (scene.text(relay), scene.text(other)) == ("mine", "fine")

    scene.run(story)


def test_bad_data_of_one_turn_costs_no_other() -> None:
    scene = Scene()

    async def story() -> None:
        bad, *good = [await scene.relay() for _ in range(4)]
        scene.store.bad.add(bad.interview_id)
        for relay in (bad, *good):
            relay.push("a", "")
        with pytest.raises(BadDataError):
            await bad.drained()
        for relay in good:
            relay.push("b", "")
            await relay.drained()
        assert [scene.text(relay) for relay in good] == ["ab"] * 3
        assert scene.text(bad) == ""

    scene.run(story)


def test_where_some_of_a_flush_are_refused_the_others_words_are_out() -> None:
    scene = Scene()

    async def story() -> None:
        refused, *written = [await scene.relay() for _ in range(3)]
        scene.store.full.add(refused.interview_id)
        for relay in (refused, *written):
            relay.push("a", "")
        for relay in written:
            await relay.drained()
        assert [scene.text(relay) for relay in (refused, *written)] == ["", "a", "a"]
        assert scene.measured == [2]
        scene.store.full.clear()
        await refused.drained()
        assert scene.text(refused) == "a"

    scene.run(story)


def test_where_some_of_a_flush_are_bad_the_bad_one_alone_is_given_up() -> None:
    scene = Scene()

    async def story() -> None:
        bad, beside, written = [await scene.relay() for _ in range(3)]
        scene.store.full = {bad.interview_id, beside.interview_id}
        scene.store.bad = {bad.interview_id}
        scene.store.fault = BadDataError("refused together")
        for relay in (bad, beside, written):
            relay.push("a", "")
        await written.drained()
        with pytest.raises(BadDataError):
            await bad.drained()
        await beside.drained()
        assert [scene.text(relay) for relay in (bad, beside, written)] == ["", "a", "a"]

    scene.run(story)


def test_what_is_forgotten_is_flushed_no_more() -> None:
    scene = Scene()

    async def story() -> None:
        relay = await scene.relay()
        relay.push("a", "")
        await relay.drained()
        relay.push("b", "")
        scene.committer.forget(relay)
        await asyncio.sleep(1)
        assert scene.text(relay) == "a"
        assert len(scene.store.flushes) == 1

    scene.run(story)


def test_one_that_is_due_does_not_wait_for_one_that_is_due_later() -> None:
    scene = Scene()

    async def story() -> None:
        early, late = await scene.relay(), await scene.relay()
        for relay in (early, late):
            relay.push("one ", "")
            await relay.drained()
        await asyncio.sleep(1)
        late.push("two ", "")
        await asyncio.sleep(TRIP_S + 0.003)
        late.push("three ", "")  # not before its pace
        at = scene.clock.monotonic()
        early.push("two ", "")
        await early.drained()
        assert scene.clock.monotonic() - at < GATHER_S + 2 * TRIP_S
        await late.drained()
        assert scene.text(late) == "one two three "

    scene.run(story)


def test_what_is_forgotten_while_others_are_parted_from_bad_data_is_not_flushed() -> None:
    scene = Scene()

    async def story() -> None:
        bad, *good = [await scene.relay() for _ in range(3)]
        scene.store.bad.add(bad.interview_id)
        for relay in (bad, *good):
            relay.push("a", "")
        await asyncio.sleep(TRIP_S + 0.001)
        scene.committer.forget(good[1])
        await good[0].drained()
        await asyncio.sleep(1)
        assert [scene.text(relay) for relay in good] == ["a", ""]

    scene.run(story)


def test_what_is_forgotten_in_flight_is_not_repeated() -> None:
    scene = Scene()

    async def story() -> None:
        relay = await scene.relay()
        scene.server.lose("append", "request")
        relay.push("a", "")
        await asyncio.sleep(0)
        scene.committer.forget(relay)
        relay.push("b", "")
        await asyncio.sleep(1)
        assert scene.text(relay) == ""
        assert len(scene.store.flushes) == 1

    scene.run(story)


def test_every_storage_error_reaches_the_speaker_as_it_is() -> None:
    assert issubclass(BadDataError, StorageError)
    assert not issubclass(FencedError, StorageError)
