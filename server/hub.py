"""What this instance knows of the interviews that have sockets here.

A `Topic` is one such interview: the newest entries of its log (a ring, filled by the commits made
here, and let go when the interview rests), the newest head heard of, and the sockets to wake.
Notifications only wake: a socket that wakes reads on from its own cursor. A pulse every few seconds
makes good for lost notifications; where nothing happens, every second one does.
"""

import asyncio
import math
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import msgspec
import structlog

from protocol.codec import Encoding, event_frame
from protocol.events import PartialHeard
from protocol.ids import ORIGIN, EventId, trusted_event_id
from server.clock import Clock, due_part
from server.partials import Newest
from storage.errors import StorageError
from storage.live import UNREADABLE, Entry, LiveStore, Notifier, Pulse

RING = 256
PULSE_S = 5.0
SPREAD_S = 1.0
PULSE_BATCH = 64
"""A pulse goes out in batches of so many, over so long."""
LATE_BATCHES = 16
"""Those that are late go together, so many at a time: more would keep Redis busy for too long."""

_DELTA = b'{"type":"turn.delta"'

_log = structlog.get_logger()


class Framed(NamedTuple):
    """An entry as clients of one encoding get it."""

    id: EventId
    frame: bytes


class Watcher(Protocol):
    """A socket, as its topic sees it. None of these may block."""

    def wake(self) -> None:
        """There may be something new in the log."""

    def reach(self, head: EventId) -> bool:
        """The log ends at ``head``, as a pulse has just seen; tell whether all of it was sent."""
        ...

    def stored(self, covered: EventId) -> None:
        """PostgreSQL has everything up to ``covered``."""

    def joined(self, slot: str, number: int) -> None:
        """The interview's ``number``-th socket took ``slot``."""

    def partial(self, heard: PartialHeard) -> None:
        """Someone spoke."""

    def rated(self, payload: str) -> None:
        """An assessment's answer was rated: the JSON of its turn and ratings."""

    def thinking(self, turn: int) -> None:
        """The interviewer's turn has no words yet."""

    def gone(self) -> None:
        """The interview was erased."""

    def lost(self) -> None:
        """Redis does not hold the interview any more, or lost the tail of its log."""


class Topic:
    """One interview with sockets on this instance."""

    __slots__ = (
        "_base",
        "_calm",
        "_framed",
        "_rested",
        "_ring",
        "_skipped",
        "expected",
        "head",
        "interview_id",
        "partials",
        "pulse",
        "watchers",
    )  # fmt: skip

    def __init__(self, interview_id: str) -> None:
        self.interview_id = interview_id
        self.watchers: tuple[Watcher, ...] = ()
        """Mostly one; made anew when one comes or leaves, so that who is told may do so."""
        self.head = ORIGIN
        self.expected = 0
        """Commits made here whose reply is on its way: what they added will be in the ring."""
        self.partials = Newest()
        self.pulse: Pulse | None = None
        """The last one, as far as all sockets know what it told."""
        self._base: EventId | None = None
        """What the ring's first entry follows, and its end where it is empty; None: not known."""
        self._ring: deque[Entry] | None = None
        self._calm = False
        """Nothing has come, and nobody, since all sockets had what the last pulse told."""
        self._skipped = False
        self._rested: EventId | None = None
        """Where the log ended when a pulse saw it last."""
        self._framed: dict[Encoding, Framed] = {}
        """The last delta that was sent, encoded once for all sockets."""

    @property
    def _end(self) -> EventId | None:
        return self._ring[-1].id if self._ring else self._base

    def add(self, entries: Sequence[Entry], behind: EventId | None = None) -> None:
        """Take entries that the log has acknowledged to a commit made on this instance.

        ``behind`` is an id that they are known to follow, unless another came in between.
        """
        if not entries:
            return
        self._calm = False
        end, ring = self._end, self._ring
        if end is None or not _continues(end, entries[0], behind):
            # Others wrote in between, or Redis lost what came before.
            self._base = ring = None
        if ring is None:
            ring = self._ring = deque(maxlen=RING)
        surplus = len(ring) + len(entries) - RING
        if surplus > 0:
            held = len(ring)
            self._base = (ring[surplus - 1] if surplus <= held else entries[surplus - held - 1]).id
        ring.extend(entries)
        head = entries[-1].id
        if head.seq > self.head.seq:
            self.head = head
        for watcher in self.watchers:
            watcher.wake()

    def after(self, position: EventId) -> list[Entry] | None:
        """Return the ring's entries behind ``position``; None where the ring cannot tell."""
        if self._base is not None and self._base == position:
            return list(self._ring or ())
        ring = self._ring
        if not ring:
            return None
        start = position.seq - ring[0].id.seq
        if not 0 <= start < len(ring) or ring[start].id != position:
            return None
        return [ring[place] for place in range(start + 1, len(ring))]

    def delta_after(self, position: EventId, encoding: Encoding) -> Framed | None:
        """Return the ring's last entry, framed, if it is a delta right behind ``position``."""
        ring = self._ring
        if not ring or (ring[-2].id if len(ring) > 1 else self._base) != position:
            return None
        newest = ring[-1]
        framed = self._framed.get(encoding)
        if framed is None or framed.id is not newest.id:
            if not newest.body.startswith(_DELTA):
                return None
            framed = Framed(newest.id, event_frame(newest.body, newest.id, encoding))
            self._framed[encoding] = framed
        return framed

    def hear(self, payload: str) -> None:
        """Take a notification. An empty one wakes in doubt."""
        self._calm = False
        kind, content = payload[:1], payload[1:]
        if kind == "e":
            self._hear_of(trusted_event_id(content))
        elif kind == "s":
            self.cover(trusted_event_id(content))
        elif kind == "p":
            self._hear_partial(_partials.decode(content))
        elif kind:
            for watcher in self.watchers:
                _tell(watcher, kind, content)
        else:
            self._base = self._ring = None  # what others added may have been told to nobody
            self._wake()

    def tell_again(self) -> None:
        """Somebody here may not know what the last pulse told: the next one is news."""
        self.pulse, self._calm = None, False

    def asks(self) -> bool:
        """Whether the next pulse is to ask for it: of those where nothing happens, every second."""
        self._skipped = self._calm and not self._skipped
        return not self._skipped

    def stir(self) -> None:
        """A socket went on by what it read itself."""
        self._calm = False

    def cover(self, covered: EventId) -> None:
        """Tell the sockets how far PostgreSQL has come."""
        for watcher in self.watchers:
            watcher.stored(covered)

    def beat(self, pulse: Pulse | None) -> None:
        """Take what a pulse found."""
        if self._calm and pulse is self.pulse:
            return  # what a look at it all touches has gone from the processor's cache
        self._calm = False
        if pulse is None:
            for watcher in self.watchers:
                watcher.lost()
            return
        if self._end != self.head and pulse.head.seq < self.head.seq:
            # It was asked before what was heard of since, or the hash does not tell yet of words
            # that were written by name. What is heard of and not here is to be read.
            self._base = self._ring = None
        self.head = pulse.head
        if self._rested == pulse.head == self._end:  # what nobody needs takes much room
            self._base, self._ring = self._end, None
            self._framed.clear()
        self._rested = pulse.head
        rests = [watcher.reach(pulse.head) for watcher in self.watchers]
        if pulse is self.pulse:
            self._calm = self._ring is None and not self.expected and all(rests)
            return
        self.pulse = pulse
        self.cover(pulse.stored)
        for slot, number in pulse.sockets.items():
            for watcher in self.watchers:
                watcher.joined(slot, number)

    def settle(self) -> None:
        """A commit that was expected has its reply, or never will have."""
        self.expected -= 1
        if not self.expected and self._end != self.head:
            self._calm = False
            self._wake()  # something else was heard of meanwhile

    def _hear_partial(self, heard: PartialHeard) -> None:
        if self.partials.admits(heard.utterance_id, heard.revision):
            for watcher in self.watchers:
                watcher.partial(heard)

    def _hear_of(self, head: EventId) -> None:
        if self._end == head:
            return  # it was added here, and all were woken
        if not self.expected:
            self._advance(head)
        elif head.seq > self.head.seq:
            # Notifications overtake replies: who woke now would ask Redis for what is coming.
            self.head = head

    def _advance(self, head: EventId) -> None:
        if head.seq > self.head.seq:
            self.head = head
        self._wake()

    def _wake(self) -> None:
        for watcher in self.watchers:
            watcher.wake()


_partials = msgspec.json.Decoder(PartialHeard)


def _continues(last: EventId, entry: Entry, behind: EventId | None) -> bool:
    if last is behind and entry.id.seq == last.seq + 1:
        return True  # the sum of every word would be found twice: Redis has just made it
    return last.after(entry.body) == entry.id


def _tell(watcher: Watcher, kind: str, content: str) -> None:
    match kind:
        case "c":
            slot, _, number = content.rpartition(" ")
            watcher.joined(slot, int(number))
        case "r":
            watcher.rated(content)
        case "t":
            watcher.thinking(int(content))
        case "l":
            watcher.lost()
        case "x":
            watcher.gone()
        case _:
            watcher.wake()


class Hub:
    """All topics of this instance. It owns the pulse; the notifier calls `hear`."""

    def __init__(self, store: LiveStore, notifier: Notifier, clock: Clock) -> None:
        self._store = store
        self._notifier = notifier
        self._clock = clock
        self._topics: dict[str, Topic] = {}

    def topic(self, interview_id: str) -> Topic | None:
        """Return the interview's topic, where it has sockets here."""
        return self._topics.get(interview_id)

    async def enter(self, interview_id: str, watcher: Watcher) -> Topic:
        """Make a socket a watcher; returns when notifications flow.

        Raises:
            BackendDownError: Redis does not confirm the subscription in time.
        """
        topic = self._topics.get(interview_id)
        if topic is None:
            topic = self._topics[interview_id] = Topic(interview_id)
        topic.watchers += (watcher,)
        topic.tell_again()
        try:
            await self._notifier.watch(interview_id)
        except BaseException:
            await self.leave(topic, watcher)
            raise
        return topic

    async def leave(self, topic: Topic, watcher: Watcher) -> None:
        """Forget a socket; the last one closes the topic."""
        topic.watchers = tuple(each for each in topic.watchers if each is not watcher)
        if not topic.watchers and self._topics.get(topic.interview_id) is topic:
            del self._topics[topic.interview_id]
            await self._notifier.unwatch(topic.interview_id)

    def hear(self, interview_id: str, payload: str) -> None:
        """Take a notification; the notifier's listener."""
        topic = self._topics.get(interview_id)
        if topic is not None:
            topic.hear(payload)

    def hears(self, interview_id: str) -> bool:
        """Tell whether the interview's notifications reach this instance."""
        return self._notifier.hears(interview_id)

    def add(
        self, interview_id: str, entries: Sequence[Entry], behind: EventId | None = None
    ) -> None:
        """See `Topic.add`."""
        topic = self._topics.get(interview_id)
        if topic is not None:
            topic.add(entries, behind)

    @contextmanager
    def expecting(self, interviews: Sequence[str]) -> Generator[None]:
        """While a commit to these logs is under way, nobody reads its entries from Redis."""
        topics = [topic for name in interviews if (topic := self._topics.get(name)) is not None]
        for topic in topics:
            topic.expected += 1
        try:
            yield
        finally:
            for topic in topics:
                topic.settle()

    async def run(self) -> None:
        """Beat for ever; owned by the instance's task group."""
        began = self._clock.monotonic()
        while True:
            due = began + PULSE_S * (0.75 + self._clock.random() / 2)
            await asyncio.sleep(due - self._clock.monotonic())
            began = self._clock.monotonic()
            await self._beat_all(began)

    async def _beat_all(self, began: float) -> None:
        topics, done = [topic for topic in self._topics.values() if topic.asks()], 0
        batches = math.ceil(len(topics) / PULSE_BATCH)
        failed = False
        unread: list[str] = []
        while done < batches:
            due = await due_part(self._clock, began, done, parts=batches, over_s=SPREAD_S)
            due = min(due, done + LATE_BATCHES)
            try:
                unread += await self._beat(topics[done * PULSE_BATCH : due * PULSE_BATCH])
            except StorageError as error:  # those behind it may have more luck
                if not failed:
                    _log.warning("pulse failed", error=type(error).__name__)
                failed = True
            except Exception:  # noqa: BLE001  # each instance would meet it, and end with it
                if not failed:
                    _log.exception("pulse failed")
                failed = True
            done = due
        if unread:  # of words their sockets are told all the same
            _log.error("pulses not read", interviews=len(unread), first=unread[0])

    async def _beat(self, topics: Sequence[Topic]) -> list[str]:
        """Beat for some; return those whose pulse cannot be read."""
        names = [topic.interview_id for topic in topics]
        pulses = await self._store.pulse(names, [topic.pulse for topic in topics])
        unread: list[str] = []
        for topic, pulse in zip(topics, pulses, strict=True):
            try:
                if pulse is UNREADABLE:
                    unread.append(topic.interview_id)
                else:
                    topic.beat(pulse)
            except Exception:  # noqa: BLE001  # each instance would meet it, and end with it
                _log.exception("pulse not taken", interview=topic.interview_id)
        return unread
