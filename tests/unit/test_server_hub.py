"""What wakes a socket, and what a socket that was woken reads from where."""

import asyncio
from functools import partial
from typing import Any

import pytest
from structlog.testing import capture_logs

from protocol.codec import encode, event_body, event_frame
from protocol.events import InterviewPaused, PartialHeard, TurnDelta
from protocol.ids import ORIGIN, EventId
from server.clock import SystemClock
from server.cursor import Cursor, ResynchroniseError
from server.hub import LATE_BATCHES, PULSE_BATCH, PULSE_S, RING, SPREAD_S, Hub, Topic
from storage.errors import BackendDownError
from storage.live import UNREADABLE, Entry, Pulse
from tests.support.clocks import LoopClock
from tests.support.virtual_time import run_virtual

pytestmark = pytest.mark.anyio

NAME = "an interview"


class FakeStore:
    """A log that counts how often it is read."""

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self.reads = 0

    async def read(self, _: str, position: EventId, count: int) -> list[Entry]:
        self.reads += 1
        return [entry for entry in self.entries if entry.id.seq >= position.seq][:count]


class FakeNotifier:
    async def watch(self, _: str) -> None: ...

    async def unwatch(self, _: str) -> None: ...

    def hears(self, _: str) -> bool:
        return True


class FakeWatcher:
    def __init__(self, *, rests: bool = False) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.rests = rests

    def reach(self, head: EventId) -> bool:
        self.calls.append(("reach", head))
        return self.rests

    def __getattr__(self, name: str) -> Any:
        def called(*values: Any) -> None:
            self.calls.append((name, *values))

        return called

    def woken(self) -> int:
        """How often it was woken since this was asked last."""
        count = sum(call == ("wake",) for call in self.calls)
        self.calls.clear()
        return count


class Scene:
    """One topic whose ring holds the first ``known`` entries of the log, read to their end."""

    def __init__(self, known: int = 3, count: int = 5) -> None:
        self.log: list[Entry] = []
        head = ORIGIN
        for number in range(1, count + 1):
            body = event_body(TurnDelta(turn=1, attempt=1, offset=2 * number, text=f"{number} "))
            head = head.after(body)
            self.log.append(Entry(head, body))
        self.store = FakeStore(self.log)
        self.topic = Topic(NAME)
        self.watcher = FakeWatcher()
        self.topic.watchers = (self.watcher,)  # type: ignore[assignment]
        self.topic.add(self.log[:known])
        position = self.log[known - 1].id if known else ORIGIN
        self.cursor = Cursor(self.store, self.topic, position)  # type: ignore[arg-type]
        self.watcher.woken()


async def test_what_is_committed_here_is_not_read_from_redis() -> None:
    it = Scene(known=3)
    it.topic.add(it.log[3:])
    assert it.watcher.woken() == 1
    assert await it.cursor.take() == it.log[3:]
    assert await it.cursor.take() == []
    assert it.store.reads == 0


async def test_what_others_commit_is_read() -> None:
    it = Scene(known=3)
    it.topic.hear(f"e{it.log[-1].id}")
    assert it.watcher.woken() == 1
    assert await it.cursor.take() == it.log[3:]


async def test_a_doubt_is_settled_in_redis_though_nothing_new_was_heard_of() -> None:
    it = Scene(known=3)
    assert await it.cursor.take() == []
    it.topic.hear("")
    assert it.watcher.woken() == 1
    assert await it.cursor.take() == it.log[3:]
    assert it.store.reads == 1


async def test_a_commit_that_others_overtook_leaves_no_ring_with_a_hole() -> None:
    it = Scene(known=2)
    it.topic.add(it.log[3:])
    assert await it.cursor.take() == it.log[2:]
    assert it.store.reads == 1


async def test_a_log_that_lost_its_tail_is_no_continuation() -> None:
    it = Scene(known=5)
    it.store.entries = it.log[:3]
    it.topic.hear("")
    with pytest.raises(ResynchroniseError):
        await it.cursor.take()


async def test_while_a_commit_is_under_way_its_own_notification_wakes_nobody() -> None:
    it = Scene(known=3)
    hub = Hub(it.store, FakeNotifier(), SystemClock())  # type: ignore[arg-type]
    topic = await hub.enter(NAME, it.watcher)  # type: ignore[arg-type]
    topic.add(it.log[:3])
    it.watcher.woken()
    with hub.expecting([NAME]):
        hub.hear(NAME, f"e{it.log[4].id}")
        assert it.watcher.woken() == 0
        hub.add(NAME, it.log[3:])
        assert it.watcher.woken() == 1
    assert it.watcher.woken() == 0


async def test_the_notification_of_what_was_added_here_wakes_nobody_again() -> None:
    it = Scene(known=3)
    it.topic.add(it.log[3:])
    assert it.watcher.woken() == 1
    it.topic.hear(f"e{it.log[4].id}")
    assert it.watcher.woken() == 0
    it.topic.hear(f"e{EventId(5, 1)}")  # another log's
    assert it.watcher.woken() == 1


async def test_the_newest_delta_is_encoded_once_for_all_who_are_right_behind_it() -> None:
    it = Scene(known=4)
    position = it.log[2].id
    for encoding in ("json", "msgpack"):
        framed = it.topic.delta_after(position, encoding)
        assert framed is not None
        assert framed.id == it.log[3].id
        assert framed.frame == event_frame(it.log[3].body, it.log[3].id, encoding)
        assert it.topic.delta_after(position, encoding) is framed
    assert it.topic.delta_after(it.log[1].id, "json") is None
    assert it.topic.delta_after(it.log[3].id, "json") is None
    assert it.topic.delta_after(EventId(3, 1), "json") is None
    it.topic.add(it.log[4:])
    newer = it.topic.delta_after(it.log[3].id, "json")
    assert newer is not None
    assert newer.id == it.log[4].id


async def test_what_is_no_delta_is_left_to_the_task() -> None:
    it = Scene(known=5)
    body = event_body(InterviewPaused(at=1))
    head = it.log[4].id.after(body)
    it.topic.add([Entry(head, body)])
    assert it.topic.delta_after(it.log[4].id, "json") is None


@pytest.mark.parametrize("known", [0, 3])
async def test_a_commit_that_fails_wakes_for_what_was_heard_meanwhile(known: int) -> None:
    it = Scene(known=known)
    hub = Hub(it.store, FakeNotifier(), SystemClock())  # type: ignore[arg-type]
    topic = await hub.enter(NAME, it.watcher)  # type: ignore[arg-type]
    topic.add(it.log[:known])
    it.watcher.woken()
    with hub.expecting([NAME]):
        hub.hear(NAME, f"e{it.log[4].id}")
    assert it.watcher.woken() == 1


async def test_a_pulse_makes_good_for_what_nobody_was_told() -> None:
    it = Scene(known=3)
    it.topic.beat(Pulse(head=it.log[-1].id, stored=it.log[1].id, sockets={"candidate": 7}))
    assert ("reach", it.log[-1].id) in it.watcher.calls
    assert ("stored", it.log[1].id) in it.watcher.calls
    assert ("joined", "candidate", 7) in it.watcher.calls
    assert await it.cursor.take() == it.log[3:]
    it.topic.beat(None)
    assert it.watcher.calls[-1] == ("lost",)


@pytest.mark.parametrize("expecting", [False, True])
async def test_a_pulse_that_was_asked_before_the_news_hides_none(
    expecting: bool,  # noqa: FBT001
) -> None:
    it = Scene(known=3)
    it.topic.expected = int(expecting)
    it.topic.hear(f"e{it.log[4].id}")
    it.topic.beat(pulse(it.log[2].id))  # before anybody could read what was heard of
    it.watcher.woken()
    if expecting:
        it.topic.settle()
        assert it.watcher.woken() == 1
    assert await it.cursor.take() == it.log[3:]
    assert it.store.reads == 1


async def test_a_pulse_that_words_of_this_instance_overtook_costs_no_reading() -> None:
    it = Scene(known=3)
    it.topic.add(it.log[3:4])
    it.topic.beat(pulse(it.log[1].id))
    it.topic.add(it.log[4:])
    assert await it.cursor.take() == it.log[3:]
    assert it.store.reads == 0


async def test_a_pulse_without_news_asks_for_the_place_alone_unless_somebody_is_new() -> None:
    it = Scene(known=3)
    hub = Hub(it.store, FakeNotifier(), SystemClock())  # type: ignore[arg-type]
    topic = await hub.enter(NAME, it.watcher)  # type: ignore[arg-type]
    same = Pulse(head=it.log[-1].id, stored=it.log[1].id, sockets={"candidate": 7})
    topic.beat(same)
    it.watcher.calls.clear()
    topic.beat(same)
    assert it.watcher.calls == [("reach", it.log[-1].id)]
    new = FakeWatcher()
    await hub.enter(NAME, new)  # type: ignore[arg-type]
    topic.beat(same)
    assert ("stored", it.log[1].id) in new.calls
    assert ("joined", "candidate", 7) in new.calls
    new.calls.clear()
    topic.tell_again()
    topic.beat(same)
    assert ("joined", "candidate", 7) in new.calls


@pytest.mark.parametrize("rests", [True, False])
async def test_where_all_rest_only_what_comes_is_looked_at(rests: bool) -> None:  # noqa: FBT001
    it = Scene(known=5)
    it.watcher.rests = rests
    same = pulse(it.log[-1].id)
    looked = ("reach", same.head)
    more = Entry(EventId(same.head.seq + 1, 5), b"{}")
    for comes in (
        it.topic.tell_again,
        partial(it.topic.hear, ""),
        partial(it.topic.hear, f"e{more.id}"),
        partial(it.topic.add, [more], same.head),
    ):
        for _ in range(3):
            it.topic.beat(same)
        it.watcher.calls.clear()
        it.topic.beat(same)
        assert it.watcher.calls == [looked] * (not rests)
        comes()
        it.watcher.calls.clear()
        it.topic.beat(same)
        assert looked in it.watcher.calls
    for _ in range(3):
        it.topic.beat(same)
    it.watcher.rests = False  # it goes on beyond what a pulse tells of
    news = pulse(more.id)
    for _ in range(3):
        it.watcher.calls.clear()
        it.topic.beat(news)
        assert ("reach", more.id) in it.watcher.calls
        assert it.topic.asks()
    it.topic.beat(None)
    assert it.watcher.calls[-1] == ("lost",)


async def test_where_nothing_happens_every_second_pulse_asks() -> None:
    it = Scene(known=5)
    it.watcher.rests = True
    asked: list[bool] = []
    for beats in range(10):
        if beats == 6:
            it.topic.hear("")
        asked.append(it.topic.asks())
        if asked[-1]:
            it.topic.beat(pulse(it.log[-1].id) if beats < 1 else it.topic.pulse)
    calm = [False, True, False, True]
    assert asked == [True, True, *calm, True, *calm[:3]]


async def test_what_is_known_to_follow_is_taken_unless_another_event_came_in_between() -> None:
    it = Scene(known=3)
    known = it.log[2].id
    it.topic.add(it.log[3:4], known)
    assert it.topic.after(known) == it.log[3:4]
    beyond = Entry(EventId(it.log[3].id.seq + 2, 5), b"{}")
    it.topic.add([beyond], it.log[3].id)
    assert it.topic.after(known) is None
    assert it.topic.after(beyond.id) == []


async def test_a_topic_ends_with_its_last_socket() -> None:
    it = Scene()
    hub = Hub(it.store, FakeNotifier(), SystemClock())  # type: ignore[arg-type]
    first: Any = FakeWatcher()
    second: Any = FakeWatcher()
    topic = await hub.enter(NAME, first)
    assert await hub.enter(NAME, second) is topic
    await hub.leave(topic, first)
    assert hub.topic(NAME) is topic
    await hub.leave(topic, second)
    assert hub.topic(NAME) is None
    hub.hear(NAME, "x")  # nobody is there to be told
    assert second.calls == []


def _heard(revision: int, utterance_id: str = "u") -> PartialHeard:
    return PartialHeard(utterance_id=utterance_id, revision=revision, text=f"{revision}")


async def test_an_older_partial_is_told_to_nobody() -> None:
    it = Scene()
    for revision in (2, 1, 3):
        it.topic.hear("p" + encode(_heard(revision), "json").decode())
    assert it.watcher.calls == [("partial", _heard(2)), ("partial", _heard(3))]


def pulse(head: EventId) -> Pulse:
    return Pulse(head=head, stored=ORIGIN, sockets={})


async def test_an_interview_that_rests_keeps_no_entries_and_its_next_word_is_not_asked_for() -> (
    None
):
    it = Scene(known=3)
    for beats in range(3):
        held = it.topic.after(ORIGIN.after(it.log[0].body))
        assert held == (it.log[1:3] if beats < 2 else None)
        it.topic.beat(pulse(it.log[2].id))
    it.topic.add(it.log[3:4])
    delta = it.cursor.delta("json")
    assert delta is not None
    assert delta.frame == event_frame(it.log[3].body, it.log[3].id, "json")
    assert await it.cursor.take() == it.log[3:4]
    assert it.store.reads == 0


async def test_one_that_is_spoken_to_between_pulses_does_not_rest() -> None:
    it = Scene(known=2)
    for known in (3, 4, 5):
        it.topic.add(it.log[known - 1 : known])
        it.topic.beat(pulse(it.log[known - 1].id))
    assert await it.cursor.take() == it.log[2:]
    assert it.store.reads == 0


async def test_a_rested_log_that_others_went_on_with_is_read() -> None:
    it = Scene(known=3)
    for _ in range(2):
        it.topic.beat(pulse(it.log[2].id))
    it.topic.add(it.log[4:])
    assert await it.cursor.take() == it.log[3:]
    assert it.store.reads == 1


@pytest.mark.parametrize("at_once", [1, 7, RING + 3])
async def test_of_a_long_log_the_newest_entries_are_held(at_once: int) -> None:
    it = Scene(known=1, count=RING + 20)
    for start in range(1, len(it.log), at_once):
        it.topic.add(it.log[start : start + at_once])
    base = len(it.log) - RING
    assert it.topic.after(it.log[base - 1].id) == it.log[base:]
    assert it.topic.after(it.log[base].id) == it.log[base + 1 :]
    assert it.topic.after(it.log[base - 2].id) is None


@pytest.mark.parametrize(("latency_s", "calls"), [(0.0, 5), (0.3, 4), (5.0, 2)])
def test_a_pulse_asks_for_all_topics_batch_after_batch_and_for_what_is_late_at_once(
    latency_s: float, calls: int
) -> None:
    names = [f"i{number}" for number in range(4 * PULSE_BATCH + 1)]
    asked: list[tuple[float, list[str]]] = []

    class Store(FakeStore):
        async def pulse(self, some: list[str], known: list[Pulse | None]) -> list[None]:
            assert len(known) == len(some)
            asked.append((asyncio.get_running_loop().time(), some))
            await asyncio.sleep(latency_s)
            return [None] * len(some)

    async def main() -> None:
        store: Any = Store([])
        notifier: Any = FakeNotifier()
        hub = Hub(store, notifier, LoopClock())
        watchers: list[Any] = [FakeWatcher() for _ in names]
        for name, watcher in zip(names, watchers, strict=True):
            await hub.enter(name, watcher)
        task = asyncio.create_task(hub.run())
        await asyncio.sleep(1.25 * PULSE_S + SPREAD_S + 2 * latency_s)
        task.cancel()
        pulse = asked[:calls]
        assert [name for _, some in pulse for name in some] == names
        assert len(pulse[0][1]) == PULSE_BATCH
        assert pulse[-1][0] - pulse[0][0] <= SPREAD_S + latency_s
        assert pulse[-1][0] - pulse[0][0] >= SPREAD_S * 4 / 5 - 0.001
        assert all(("lost",) in watcher.calls for watcher in watchers)

    run_virtual(main())


def test_neither_a_damaged_interview_nor_a_fault_ends_the_pulses() -> None:
    asked: list[int] = []

    class Store(FakeStore):
        async def pulse(self, some: list[str], _: list[Pulse | None]) -> list[Pulse | None]:
            asked.append(len(some))
            if len(asked) == 1:
                raise LookupError
            return [UNREADABLE, None, None]

    class Faulty(FakeWatcher):
        def lost(self) -> None:
            raise LookupError

    async def main() -> list[FakeWatcher]:
        store: Any = Store([])
        notifier: Any = FakeNotifier()
        hub = Hub(store, notifier, LoopClock())
        watchers = [FakeWatcher(), Faulty(), FakeWatcher()]
        for number, watcher in enumerate(watchers):
            listening: Any = watcher
            await hub.enter(f"i{number}", listening)
        task = asyncio.create_task(hub.run())
        await asyncio.sleep(2.5 * PULSE_S + SPREAD_S)
        task.cancel()
        return watchers

    with capture_logs() as logs:
        damaged, _, missing = run_virtual(main())
    assert damaged.calls == []
    assert ("lost",) in missing.calls
    told = [line["event"] for line in logs][:3]
    assert told == ["pulse failed", "pulse not taken", "pulses not read"]


def test_a_pulse_that_is_very_late_asks_for_no_more_at_once_than_redis_bears() -> None:
    count = (3 * LATE_BATCHES + 1) * PULSE_BATCH
    asked: list[int] = []

    class Store(FakeStore):
        async def pulse(self, some: list[str], _: list[Pulse | None]) -> list[None]:
            asked.append(len(some))
            await asyncio.sleep(SPREAD_S)
            if len(asked) == 2:
                raise BackendDownError("not now")
            return [None] * len(some)

    async def main() -> list[FakeWatcher]:
        store: Any = Store([])
        notifier: Any = FakeNotifier()
        hub = Hub(store, notifier, LoopClock())
        watchers = [FakeWatcher() for _ in range(count)]
        for number, watcher in enumerate(watchers):
            listening: Any = watcher
            await hub.enter(f"i{number}", listening)
        task = asyncio.create_task(hub.run())
        await asyncio.sleep(1.25 * PULSE_S + 4.5 * SPREAD_S)
        task.cancel()
        return watchers

    with capture_logs() as logs:
        watchers = run_virtual(main())
    whole = LATE_BATCHES * PULSE_BATCH
    assert asked[:4] == [PULSE_BATCH, whole, whole, whole]
    told = [("lost",) in watcher.calls for watcher in watchers]
    assert told == [not PULSE_BATCH <= number < PULSE_BATCH + whole for number in range(count)]
    assert [line["event"] for line in logs] == ["pulse failed"]  # one line for all of a pulse
