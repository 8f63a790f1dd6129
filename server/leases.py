"""The leases this instance holds, renewed together.

A holder that could not renew stops itself at two thirds of the lease, on the monotonic clock,
before anyone else can take over. The fence in Redis makes that safe; stopping makes it quiet.
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
THINKING_S = 1.0
"""How long a turn may have no words before its sockets are told that it thinks."""
THINKING_AGAIN_S = 5.0
SUSPENDED_S = LEASE_MS / 1000 * 2
"""A pause of the whole process that long means that others have taken its turns and sockets."""

_log = structlog.get_logger()


class Lease:
    """One turn held under ``fence``, and the task that works on it."""

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

    def lose(self) -> None:
        """Stop the work, unless it is committing its end: then the fence decides."""
        if not self.ending:
            self._task.cancel()


class Leases:
    """All leases of this instance."""

    def __init__(self, store: LiveStore, clock: Clock, suspended: Callable[[], None]) -> None:
        self._store = store
        self._clock = clock
        self._suspended = suspended
        self._held: dict[str, Lease] = {}
        self._failed = False
        self._seen = 0.0

    def __len__(self) -> int:
        return len(self._held)

    @contextmanager
    def hold(self, interview_id: str, turn: int, fence: str, since: float) -> Generator[Lease]:
        """Keep the lease alive while the body runs; the body's task is cancelled when it is lost.

        ``since`` is the monotonic time before the acquisition was sent.
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
        """Renew for ever; owned by the instance's task group."""
        due = self._seen = self._clock.monotonic()
        while True:
            await asyncio.sleep(min(max(0.0, due - self._clock.monotonic()), self._left()))
            self._look_around()
            due = self._clock.monotonic() + RENEW_S
            self._stop_lapsed()
            if self._held:
                await self._renew(list(self._held.values()))
                self._look_around()
                await self._think()
                self._look_around()
            if self._failed:
                due = self._clock.monotonic() + RETRY_S

    def _look_around(self) -> None:
        """Notice that the process stood still since the last look, whatever was awaited then."""
        seen, self._seen = self._seen, self._clock.monotonic()
        if self._seen - seen > RENEW_S + SUSPENDED_S:  # nothing is awaited for more than the first
            _log.warning("instance was suspended")
            self._suspended()

    async def _renew(self, leases: list[Lease]) -> None:
        asked = self._clock.monotonic()
        self._failed = True
        try:
            async with asyncio.timeout(self._left()):
                renewed = await self._store.renew([(x.interview_id, x.fence) for x in leases])
        except (StorageError, TimeoutError) as error:
            _log.warning("renewal failed", error=type(error).__name__, leases=len(leases))
            self._stop_lapsed()
            return
        self._failed = False
        for lease, kept in zip(leases, renewed, strict=True):
            if kept:
                lease.renewed = asked
            elif self._held.get(lease.interview_id) is lease:
                lease.lose()

    async def _think(self) -> None:
        """Tell the sockets of turns that have had no words for a while.

        All in one round trip, and within half of the time to the next renewal: a thousand turns
        fall silent together where the model does, and their leases must not wait for that.
        """
        due = self._clock.monotonic() - THINKING_S
        notices: list[tuple[str, str]] = []
        for lease in self._held.values():
            if lease.silent_since is not None and lease.silent_since < due:
                lease.silent_since += THINKING_AGAIN_S
                notices.append((lease.interview_id, f"t{lease.turn}"))
        if not notices:
            return
        try:
            async with asyncio.timeout(min(RENEW_S / 2, self._left())):
                await self._store.publish_all(notices)
        except (StorageError, TimeoutError):
            return  # renewal logs it

    def _left(self) -> float:
        """Return how long to wait for anything: `RENEW_S`, or until the next lease lapses."""
        now = self._clock.monotonic()
        left = (lease.renewed + STOP_S - now for lease in self._held.values())
        return min((RENEW_S, *(seconds for seconds in left if seconds > 0)))

    def _stop_lapsed(self) -> None:
        now = self._clock.monotonic()
        for lease in tuple(self._held.values()):
            if now >= lease.renewed + STOP_S:
                _log.warning("lease lapsed", interview=lease.interview_id)
                lease.lose()
