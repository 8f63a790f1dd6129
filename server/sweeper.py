"""The sweeper: what the clock brings, on every instance, for all interviews.

Lapsed leases (turns whose instance died) are taken over, due timers become `Ticked` or park a
session that rests, and outboxes that hold something are given to the writer. Every instance sweeps;
who acts first wins, and the others find nothing left to do.

Timers take calls of their own, and many may be due at once. They are worked through beside the
sweep: a turn whose instance died does not wait for them.
"""

import asyncio
import math
from typing import Protocol

import structlog

from protocol.clock import QUIET_MS
from protocol.limits import OVER_LINGER_S
from protocol.machine import Ticked, next_tick
from protocol.session import Session
from server.clock import Clock, seconds_since
from server.sessions import Sessions
from server.voice import SPEAKING_S
from storage.errors import BadDataError, ErasedError, MissingError, StorageError
from storage.live import Due, LiveStore, State

SWEEP_S = 0.2
WHOLE_EVERY = 5
"""One sweep of so many looks at timers and outboxes, too. Their news is told as well, and can wait;
a turn whose instance died cannot."""
LIMIT = 64
"""At most so many lapsed leases and timers of one partition a sweep."""
TAKEN = 128
"""At most so many turns an instance takes over a sweep. Behind an outage of Redis all have lapsed,
and whoever sweeps first would have them all."""
AGAIN_MS = 10_000
"""When a session that could not be parked is looked at again; while it cannot, ever later."""
GAP_S = QUIET_MS / 1000 - SPEAKING_S
"""A gap between two sweeps behind which an answer may look silent that is not: nobody was heard."""
HEARD_S = 45.0
"""How long such answers are waited for then: clients come back, and tell that they answer."""
LINGER_MS = int(1000 * OVER_LINGER_S) + AGAIN_MS
"""How long one that is over rests at least: its sockets wait for the report, and would be sent away
to bring it back."""
FAULTY_MS = 60_000
"""When an interview is looked at again that cannot be read, or met a fault of the program."""

_log = structlog.get_logger()


class Follow(Protocol):
    """Who acts on what the sweep finds; see `server.sessions.Followers`."""

    def run(self, interview_id: str) -> None:
        """A turn's lease has lapsed."""

    def store(self, partition: int) -> None:
        """The partition's outbox holds something."""


class SweepMeter(Protocol):
    """What is measured of sweeps."""

    def dependency_is(self, name: str, *, up: bool) -> None:
        """Set whether ``redis`` answered."""

    def backlog(self, partitions: int, waited_s: float) -> None:
        """Set how many partitions' outboxes hold something, and how long the oldest entry waits."""


class Sweeper:
    """One instance's sweep."""

    def __init__(
        self,
        store: LiveStore,
        sessions: Sessions,
        followers: Follow,
        clock: Clock,
        *,
        idle_ms: int,
        meter: SweepMeter | None = None,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._followers = followers
        self._clock = clock
        self._idle_ms = idle_ms
        self._meter = meter
        self._swept = self._trusts_at = -math.inf
        self._timers: tuple[str, ...] = ()
        self._found = asyncio.Event()
        self._down = False

    async def run(self) -> None:
        """Sweep for ever; owned by the instance's task group."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._work())
            while True:
                self._act(await self._next(LIMIT))
                for _ in range(WHOLE_EVERY - 1):
                    self._take_over(await self._next(LIMIT, leases_only=True))

    async def outboxes(self) -> None:
        """Sweep for outboxes alone, for ever: in a process that runs no turns and no timers.

        What another one had begun to store when it died is noticed by nobody else there.
        """
        while True:
            self._empty(await self._next(0, sweeps=WHOLE_EVERY))

    async def _next(self, limit: int, *, leases_only: bool = False, sweeps: int = 1) -> Due:
        """Look until Redis answers, for ``limit`` leases and timers of a partition at most.

        That is after a pause as long as ``sweeps`` take. An outage is logged when it begins.
        """
        while True:
            await asyncio.sleep(sweeps * SWEEP_S * (0.75 + self._clock.random() / 2))
            try:
                due = await self._store.due(limit, leases_only=leases_only)
            except StorageError as error:
                if not self._down:
                    _log.warning("sweep failed", error=type(error).__name__)
                self._found_redis(up=False)
            else:
                self._found_redis(up=True)
                now = self._clock.monotonic()
                if now - self._swept > GAP_S:
                    self._trusts_at = now + HEARD_S
                self._swept = now
                return due

    def _found_redis(self, *, up: bool) -> None:
        self._down = not up
        if self._meter is not None:
            self._meter.dependency_is("redis", up=up)

    def _act(self, due: Due) -> None:
        self._take_over(due)
        self._empty(due)
        self._timers = due.timers
        if due.timers:
            self._found.set()

    def _take_over(self, due: Due) -> None:
        # From anywhere: some may never be taken, and must not keep the others from it.
        first = int(self._clock.random() * len(due.leases))
        for interview_id in (*due.leases[first:], *due.leases[:first])[:TAKEN]:
            self._followers.run(interview_id)

    def _empty(self, due: Due) -> None:
        for partition in due.outboxes:
            self._followers.store(partition)
        if self._meter is not None:
            self._meter.backlog(len(due.outboxes), seconds_since(self._clock, due.oldest))

    async def _work(self) -> None:
        """Work through the due timers, all that one sweep found before those of a later one."""
        while True:
            await self._found.wait()
            self._found.clear()
            for interview_id in self._timers:
                await self._timer(interview_id)

    async def _timer(self, interview_id: str) -> None:
        try:
            found = await self._store.load(interview_id)
            if isinstance(found, State):
                await self._look(found)
            else:
                await self._store.postpone(interview_id, 0)  # drops the timer of what is gone
        except (MissingError, ErasedError):
            return
        except BadDataError as error:
            _log.error("timer failed", interview=interview_id, error=str(error))
            await self._put_off(interview_id)
        except StorageError as error:
            _log.warning("timer failed", interview=interview_id, error=type(error).__name__)
        except Exception:  # noqa: BLE001  # each instance would meet it, and end with it
            _log.exception("timer failed", interview=interview_id)
            await self._put_off(interview_id)

    async def _put_off(self, interview_id: str) -> None:
        """Look at an interview again in a while, whatever changes meanwhile."""
        try:
            await self._store.postpone(interview_id, self._clock.now() + FAULTY_MS)
        except StorageError:
            return  # the next sweep meets it again
        except Exception:  # noqa: BLE001  # so it does then
            _log.exception("timer not put off", interview=interview_id)

    async def _look(self, state: State) -> None:
        now = self._clock.now()
        session = state.session
        tick = next_tick(session)
        if tick is not None and tick <= now:
            deaf_s = self._trusts_at - self._clock.monotonic()
            if deaf_s > 0 and _is_answering(session):
                due = now + int(1000 * deaf_s) + 1
                await self._store.postpone(session.interview_id, due, state.version)
                return
            ticked = Ticked(at=now, lacks=self._sessions.lacks(session))
            await self._sessions.apply(session.interview_id, ticked, state=state)
            return
        idle_ms = max(self._idle_ms, LINGER_MS) if session.over else self._idle_ms
        rests_at = state.touched + idle_ms
        if rests_at > now:
            due = min(rests_at, tick or rests_at)
            await self._store.postpone(session.interview_id, due, state.version)
            return
        parked = await self._store.park(session.interview_id, state.version, idle_ms, AGAIN_MS)
        if parked == "ok":
            _log.info("session parked", interview=session.interview_id)


def _is_answering(session: Session) -> bool:
    opened = session.open
    return session.status == "live" and opened is not None and opened.speaker == "candidate"
