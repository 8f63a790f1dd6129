"""The leases this instance holds, renewed together.

A holder that could not renew stops itself at two thirds of the lease, on the monotonic clock,
before anyone else can take over. The fence in Redis makes that safe; stopping makes it quiet.

A process that got no CPU, or whose loop was busy, comes late to everything: its renewals may be
answered and not read yet, or not even sent. So that time counts little (see `Leases.awake`), and a
holder may stop later than others can take over; then the fence alone decides.
"""

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import structlog

from server.clock import Clock
from storage.errors import StorageError
from storage.live import LEASE_MS, LiveStore

RENEW_S = 0.4
RETRY_S = 0.1
"""The pause behind a renewal that failed."""
STOP_S = LEASE_MS / 1000 * 2 / 3
RENEWAL_S = STOP_S - RENEW_S
"""How long a renewal may take: what it renews has lapsed then."""
TICK_S = 0.05
"""How often it is looked what lapsed: by the time a tick behind the look before, as what had come
by that look has been read."""
MOST_S = 2 * TICK_S
"""So much of the time from one look to the next counts at the most."""
THINKING_S = 1.0
"""How long a turn may have no words before its sockets are told that it thinks."""
THINKING_AGAIN_S = 5.0
SUSPENDED_S = LEASE_MS / 1000 * 2
"""A pause of the whole process that long means that others have taken its turns and sockets."""

_log = structlog.get_logger()


class Lease:
    """One turn held under ``fence``, and the task that works on it."""

    __slots__ = (
        "_lost", "_task", "ending", "fence", "handle", "interview_id", "renewed", "silent_since",
        "turn",
    )  # fmt: skip

    def __init__(
        self, interview_id: str, turn: int, fence: str, task: asyncio.Task[Any], at: float
    ) -> None:
        self.interview_id = interview_id
        self.fence = fence
        self.renewed = at
        self.ending = False
        self.silent_since: float | None = None
        self.handle = ""
        self.turn = turn
        self._task = task
        self._lost = False

    @property
    def stoppable(self) -> bool:
        """Whether the work goes on, and is not about to commit its end: then the fence decides."""
        return not self.ending and not self._lost

    def lose(self) -> None:
        """Stop the work, once: what it does about that is not to be cancelled again."""
        if self.stoppable:
            self._lost = True
            self._task.cancel()


class Leases:
    """All leases of this instance."""

    def __init__(self, store: LiveStore, clock: Clock, suspended: Callable[[], None]) -> None:
        self._store = store
        self._clock = clock
        self._suspended = suspended
        self._held: dict[str, Lease] = {}
        self._awake = 0.0
        self._looked = 0.0

    def __len__(self) -> int:
        return len(self._held)

    def awake(self) -> float:
        """Return for how long the process has been awake, in seconds.

        What it stood still for, or was busy at a stretch, counts for `MOST_S` at the most. Ten
        looks are a second then, and each may take some passes of the loop, however long those are.
        """
        return self._awake + min(self._clock.monotonic() - self._looked, MOST_S)

    @contextmanager
    def hold(self, interview_id: str, turn: int, fence: str, since: float) -> Generator[Lease]:
        """Keep the lease alive while the body runs; the body's task is cancelled when it is lost.

        ``since`` is the time by `awake` before the acquisition was sent.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # a coroutine runs in a task
        lease = self._held[interview_id] = Lease(interview_id, turn, fence, task, since)
        try:
            yield lease
        finally:
            if self._held.get(interview_id) is lease:
                del self._held[interview_id]

    async def run(self) -> None:
        """Renew for ever; owned by the instance's task group.

        What lapses is stopped beside the renewals: a lease that was taken late must not cut short
        the call that renews all others.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            group.create_task(self._renew_all(group))
            group.create_task(self._think_aloud())

    async def _watch(self) -> None:
        """Stop what lapses, and notice that the process stood still, whatever was awaited then."""
        self._awake, self._looked = self.awake(), self._clock.monotonic()
        while True:
            lapsed = self._awake + TICK_S - STOP_S
            await asyncio.sleep(TICK_S)
            now, before = self._clock.monotonic(), self._looked
            self._awake += min(now - before, MOST_S)
            self._looked = now
            if now - before > TICK_S + SUSPENDED_S:
                _log.warning("instance was suspended")
                self._suspended()
            for lease in tuple(self._held.values()):
                if lease.renewed <= lapsed and lease.stoppable:
                    _log.warning("lease lapsed", interview=lease.interview_id)
                    lease.lose()

    async def _renew_all(self, group: asyncio.TaskGroup) -> None:
        due = self._clock.monotonic()
        while True:
            await asyncio.sleep(max(0.0, due - self._clock.monotonic()))
            due = self._clock.monotonic() + RENEW_S
            if not self._held:
                continue
            renewal = group.create_task(self._renew(list(self._held.values())))
            if not await self._in_time(renewal):
                due = self._clock.monotonic() + RETRY_S

    async def _in_time(self, renewal: asyncio.Task[bool]) -> bool:
        """Wait for the outcome of a renewal, and end one that takes too long."""
        looked = self.awake()
        due = looked + RENEWAL_S
        while not renewal.done():
            if looked + TICK_S >= due:
                _log.warning("renewal took too long")
                renewal.cancel()
                return False
            looked = self.awake()
            await asyncio.wait((renewal,), timeout=TICK_S)
        return renewal.result()

    async def _renew(self, leases: list[Lease]) -> bool:
        asked = self.awake()
        try:
            renewed = await self._store.renew([(x.interview_id, x.fence) for x in leases])
        except StorageError as error:
            _log.warning("renewal failed", error=type(error).__name__, leases=len(leases))
            return False
        for lease, kept in zip(leases, renewed, strict=True):
            if kept:
                lease.renewed = asked
            elif self._held.get(lease.interview_id) is lease:
                lease.lose()
        return True

    async def _think_aloud(self) -> None:
        """Beside the renewals, which must not wait for it: a thousand turns may fall silent."""
        while True:
            await asyncio.sleep(RENEW_S)
            await self._think()

    async def _think(self) -> None:
        """Tell the sockets of turns that have had no words for a while, in one round trip."""
        due = self._clock.monotonic() - THINKING_S
        notices: list[tuple[str, str]] = []
        for lease in self._held.values():
            if lease.silent_since is not None and lease.silent_since < due:
                lease.silent_since += THINKING_AGAIN_S
                notices.append((lease.interview_id, f"t{lease.turn}"))
        if not notices:
            return
        try:
            async with asyncio.timeout(RENEW_S / 2):
                await self._store.publish_all(notices)
        except (StorageError, TimeoutError):
            return  # renewal logs it
