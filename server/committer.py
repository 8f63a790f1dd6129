"""Group commit of the relay: every few milliseconds a flush carries what waits for all interviews.

A `Relay` is one attempt's way into the log. Its first piece is flushed at once; after that, text
gathers while its flush is in flight and for at least `PACE_S` in all, and goes out as one delta. An
append whose reply was lost is repeated with the same ordinal, so that it takes effect once.

Where appends take longer than they lately could, something is short of time, mostly this machine:
both pauses are stretched by that, so that it gets larger pieces in place of more of them. They are
stretched, too, where the loop's own thread runs for most of the time.

A flush does not wait for the one before it: Redis works on one while the words of another are sent,
and both take their time. Were there only one, all that came meanwhile would wait for it, and make
the next one as long. An interview is in one flush at a time, so that its words stay in order.
"""

import asyncio
import math
from collections.abc import Callable

import structlog
from msgspec.structs import replace

from protocol.codec import event_body
from protocol.events import TurnDelta
from protocol.ids import EventId
from server.clock import Clock
from server.hub import Hub
from server.waiting import Flag
from storage.errors import BadDataError, StorageError
from storage.live import Append, Appended, Fenced, LiveStore

PACE_S = 0.02
GATHER_S = 0.010
"""The least time from one flush to the next, unless a turn's first words wait."""
REST = 4
"""From one append of a relay to the next pass so many times what they lately take beyond the least,
in the mean; from one flush to the next, half of that."""
STRETCH = 5.0
"""So many times longer the pauses get at the most: words come ten times a second then."""
LOAD_S = 1.0
"""The thread's load is the mean of about so long a time. That is much more than `MEAN_S`: what
longer pauses save shows in it before they are stretched further."""
LEAST_S = 30.0
"""The least that an append took is that of so long a time, and of the one before. A Redis that is
far away is no reason to rest."""
MEAN_S = 0.1
"""What counts is the mean of about so long a time in which words were appended. One append that
took long is no reason, either: it made words late already, and a rest would make others late."""
BUSY, FULL = 0.6, 0.75
"""From which load of the loop's thread on the pauses are stretched, and from which they are
longest: the share of the time in which it ran. Below, words are there sooner; above, more of them
fit in. A thread that is not let run is no busier by that, but its appends take longer."""
TICK_S = 0.001
"""The least wait: uvloop's timers have no finer steps, and it takes shorter ones for none."""
FLIGHTS = 2
"""So many flushes may be in flight; beyond that they grow."""
RETRY_S = 0.05
PATIENCE_S = 60.0
"""How long an append is repeated while the lease is still renewed (Redis out of memory, say)."""

_log = structlog.get_logger()


class FencedError(Exception):
    """This instance does not hold the turn any more; it writes nothing further."""


class Relay:
    """One attempt's text on its way into the log. Offsets count code points."""

    __slots__ = (
        "_attempt", "_committer", "_error", "_fence", "_handle", "_idle", "_offset", "_piece",
        "_turn", "_waiting", "aboard", "due", "head", "interview_id", "ordinal", "over", "since",
    )  # fmt: skip

    def __init__(
        self,
        committer: "Committer",
        interview_id: str,
        turn: int,
        attempt: int,
        *,
        fence: str,
        ordinal: int,
        offset: int,
        handle: str,
    ) -> None:
        self._committer = committer
        self.interview_id = interview_id
        self._turn, self._attempt, self._fence = turn, attempt, fence
        self.ordinal, self._offset, self._handle = ordinal, offset, handle
        self._waiting: list[str] = []
        self._piece: Append | None = None
        self.aboard = False
        """Whether a flush that is in flight carries it."""
        self.over = False
        """Whether it is flushed no more."""
        self._idle = Flag()
        self._idle.set()
        self._error: Exception | None = None
        self.due = 0.0
        self.since = 0.0
        self.head: EventId | None = None
        """Where the log held the last piece. The next one follows it unless its number tells that
        another event came in between: under this fence only this relay counts the ordinals on."""

    @property
    def fresh(self) -> bool:
        """Whether nothing of this attempt was flushed here yet."""
        return self.due == 0.0

    def push(self, text: str, handle: str) -> None:
        """Take a piece; ``handle`` is saved with it, for whoever goes on behind it.

        Raises:
            FencedError, StorageError: an earlier piece could not be appended, for good.
        """
        self._check()
        self._waiting.append(text)
        self._handle = handle
        if len(self._waiting) == 1:  # what waits was asked for when the first of it came
            self._idle.clear()
            self._committer.want(self)

    async def drained(self) -> None:
        """Wait until the log holds everything; see `push` for the errors."""
        await self._idle.wait()
        self._check()

    def take(self, now: float, *, hears: bool) -> Append:
        """Return the append that is due: the last one if its reply was lost, else the next."""
        if self._piece is None:
            text = "".join(self._waiting)
            self._waiting.clear()
            delta = TurnDelta(
                turn=self._turn, attempt=self._attempt, offset=self._offset, text=text
            )
            self.ordinal += 1
            self._offset += len(text)
            self.since = now
            self._piece = Append(
                id=self.interview_id,
                fence=self._fence,
                ordinal=self.ordinal,
                handle=self._handle,
                body=event_body(delta),
                hears=hears,
            )
        elif self._piece.hears != hears:
            self._piece = replace(self._piece, hears=hears)
        return self._piece

    def settle(self, head: EventId, pace_s: float) -> bool:
        """Note that the last append is in the log, at ``head``; tell whether more waits.

        The next one is due ``pace_s`` behind the time at which this one was taken.
        """
        self._piece = None
        self.head = head
        self.due = self.since + pace_s
        if not self._waiting:
            self._idle.set()
        return bool(self._waiting)

    def fail(self, error: Exception) -> None:
        """Give up: nothing further is appended."""
        self._error = error
        self._piece = None
        self._waiting.clear()
        self._idle.set()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error


class _Haste:
    """How much longer than usual both pauses are to be, from what appends and this thread take.

    ``worked`` returns the CPU seconds that the thread has used.
    """

    __slots__ = ("_beyond", "_landed", "_least", "_least_now", "_load", "_until", "stretch")

    def __init__(self, worked: Callable[[], float]) -> None:
        self.stretch = 1.0
        self._load = _Load(worked)
        self._landed = -math.inf
        self._beyond = 0.0
        self._least = self._least_now = math.inf
        self._until = 0.0

    def learn(self, took: float, now: float) -> None:
        """Note what an append took that was begun ``now``."""
        if now >= self._until:
            self._least, self._least_now = self._least_now, math.inf
            self._until = now + LEAST_S
        self._least_now = min(self._least_now, took)
        beyond = min(took - min(self._least, self._least_now), STRETCH * PACE_S / REST)
        landed = now + took
        weight = min(landed - self._landed, PACE_S * self.stretch) / MEAN_S
        self._beyond += (beyond - self._beyond) * weight
        self._landed = landed
        busy = (self._load.share(landed) - BUSY) / (FULL - BUSY)
        own = 1.0 + (STRETCH - 1.0) * min(1.0, busy)
        self.stretch = max(1.0, REST * self._beyond / PACE_S, own)


class _Load:
    """In which share of the time a thread ran, in the mean of about `LOAD_S`."""

    __slots__ = ("_at", "_share", "_then", "_worked")

    def __init__(self, worked: Callable[[], float]) -> None:
        self._worked = worked
        self._at, self._then = -math.inf, 0.0
        self._share = 0.0

    def share(self, now: float) -> float:
        """Return the mean; measured again each `MEAN_S` at the most."""
        passed = now - self._at
        if passed >= MEAN_S:
            worked = self._worked()
            used = (worked - self._then) / passed
            self._share += (used - self._share) * min(1.0, passed / LOAD_S)
            self._at, self._then = now, worked
        return self._share


def _idle() -> float:
    return 0.0


class Committer:
    """Appends for all relays of this instance."""

    def __init__(
        self,
        store: LiveStore,
        hub: Hub,
        clock: Clock,
        measure: Callable[[int, float], None] | None = None,
        worked: Callable[[], float] = _idle,
    ) -> None:
        """``worked`` returns the CPU seconds that the loop's thread has used."""
        self._store = store
        self._hub = hub
        self._clock = clock
        self._measure = measure
        self._ready: dict[Relay, None] = {}
        """Those with something to say that no flush carries now."""
        self._wanted = asyncio.Event()
        self._gate = asyncio.Lock()
        self._next = 0.0
        self._haste = _Haste(worked)
        self._until = math.inf
        """When who waits at the gate looks again, if nobody wakes it. While nobody waits there it
        says nothing, and need not: who comes next looks first."""

    def want(self, relay: Relay) -> None:
        """Flush ``relay`` as soon as it is due."""
        if relay.aboard or relay.over or relay in self._ready:
            return
        if relay.fresh or max(relay.due, self._next) < self._until:
            self._wanted.set()  # else a flush is due soon in any case
        self._ready[relay] = None

    def forget(self, relay: Relay) -> None:
        """Flush ``relay`` no more: its attempt is over."""
        relay.over = True
        self._ready.pop(relay, None)

    async def run(self) -> None:
        """Flush for ever; owned by the instance's task group."""
        async with asyncio.TaskGroup() as group:
            for _ in range(FLIGHTS):
                group.create_task(self._fly())

    async def _fly(self) -> None:
        while True:
            async with self._gate:
                relays = await self._take_aboard()
            await self._flush(relays)

    async def _take_aboard(self) -> list[Relay]:
        """Wait for those that are due, and take them for one flush."""
        while True:
            self._wanted.clear()
            now = self._clock.monotonic()
            due = [relay for relay in self._ready if relay.due <= now]
            if due and (now >= self._next or any(relay.fresh for relay in due)):
                self._next = now + GATHER_S * self._haste.stretch
                for relay in due:
                    del self._ready[relay]
                    relay.aboard = True
                return due
            await self._rest(now)

    async def _rest(self, now: float) -> None:
        """Wait for the earliest relay that is not due yet, or for a new one."""
        earliest = min((relay.due for relay in self._ready), default=math.inf)
        self._until = max(earliest, self._next)
        wait_s = None if earliest == math.inf else max(TICK_S, self._until - now)
        try:
            async with asyncio.timeout(wait_s):
                await self._wanted.wait()
        except TimeoutError:
            return

    async def _flush(self, relays: list[Relay]) -> None:
        with self._hub.expecting([relay.interview_id for relay in relays]):
            await self._append(relays)

    async def _append(self, relays: list[Relay]) -> None:
        started = self._clock.monotonic()
        hears = self._hub.hears
        appends = [relay.take(started, hears=hears(relay.interview_id)) for relay in relays]
        try:
            results = await self._store.append(appends)
        except StorageError as error:
            await self._miss(relays, error)
            return
        took = self._clock.monotonic() - started
        self._haste.learn(took, started)
        missed: dict[StorageError, list[Relay]] = {}
        for relay, result in zip(relays, results, strict=True):
            if isinstance(result, StorageError):
                missed.setdefault(result, []).append(relay)
            else:
                self._settle(relay, result)
        if self._measure is not None:
            self._measure(len(relays) - sum(map(len, missed.values())), took)
        for error, some in missed.items():
            await self._miss(some, error)

    async def _miss(self, relays: list[Relay], error: StorageError) -> None:
        """See to those that ``error`` kept from being appended."""
        if isinstance(error, BadDataError):
            await self._part(relays, error)
        else:
            self._postpone(relays, error)

    async def _part(self, relays: list[Relay], error: BadDataError) -> None:
        """Append one by one what was refused together, so that only the bad one is given up."""
        if len(relays) > 1:
            for relay in relays:
                if not relay.over:
                    await self._append([relay])
            return
        for relay in relays:
            _log.error("append refused", interview=relay.interview_id)
            self._give_up(relay, error)

    def _settle(self, relay: Relay, result: Appended | Fenced) -> None:
        if isinstance(result, Fenced):
            self._give_up(relay, FencedError())
            return
        if result.entry is not None:
            self._hub.add(relay.interview_id, (result.entry,), relay.head)
        else:
            self._hub.hear(relay.interview_id, f"e{result.head}")  # its own notice may be none
        relay.aboard = False
        if relay.settle(result.head, PACE_S * self._haste.stretch):
            self.want(relay)

    def _postpone(self, relays: list[Relay], error: StorageError) -> None:
        now = self._clock.monotonic()
        for relay in relays:
            if now - relay.since > PATIENCE_S:
                self._give_up(relay, error)
            else:
                relay.due = now + RETRY_S
                relay.aboard = False
                self.want(relay)

    def _give_up(self, relay: Relay, error: Exception) -> None:
        relay.over = True
        relay.fail(error)
