"""The turn runner: all turns that this instance generates.

Turns run wherever their lease was taken, not where the socket is. A turn that another instance lost
is gone on with exactly where its source can resume, else its next attempt begins after a
``turn.reset``.
"""

import asyncio

import structlog

from server.clock import Clock
from server.committer import FencedError
from server.erasing import Eraser
from server.leases import Lease, Leases
from server.turn import Taken, TurnMeter, TurnWork
from storage.errors import StorageError
from storage.live import Acquired, LiveStore

RELEASE_S = 5.0
"""How long turns that were cancelled may take to give back their leases, and what is stored of them
to be erased."""

_log = structlog.get_logger()


class TurnRunner:
    """All turns of this instance."""

    def __init__(
        self,
        *,
        store: LiveStore,
        leases: Leases,
        work: TurnWork,
        eraser: Eraser,
        clock: Clock,
        meter: TurnMeter,
        max_turns: int = 2000,
    ) -> None:
        self._store = store
        self._leases = leases
        self._work = work
        self._eraser = eraser
        self._clock = clock
        self._meter = meter
        self._max_turns = max_turns
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        self._stopped: set[str] = set()
        self._erasures: set[asyncio.Task[None]] = set()
        self._group: asyncio.TaskGroup | None = None
        self._accepting = True
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._tasks)

    async def run(self) -> None:
        """Own the turns' tasks for ever."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                await asyncio.Event().wait()
            finally:
                self._group = None  # a group that ends takes no more tasks

    def start(self, interview_id: str) -> None:
        """Generate the interview's open turn, if nobody does. Does not block."""
        if interview_id in self._tasks:
            self._again.add(interview_id)
            return
        if self._group is None or not self._accepting or len(self._tasks) >= self._max_turns:
            return  # its lease lapses, and a sweeper gives it to an instance that can
        task = self._group.create_task(self._guarded(interview_id))
        # A callback, because a task that is cancelled before its first step runs no `finally`.
        task.add_done_callback(lambda _: self._ended(interview_id))
        self._tasks[interview_id] = task
        self._meter.turns_running(len(self._tasks))
        self._empty.clear()

    def stop(self, interview_id: str) -> None:
        """Abort the turn that runs here: it ended otherwise."""
        task = self._tasks.get(interview_id)
        if task is not None:
            self._stopped.add(interview_id)
            task.cancel()

    async def drain(self, patience_s: float) -> None:
        """Begin no more turns; let those that run finish, and release those that do not in time."""
        self._accepting = False
        try:
            async with asyncio.timeout(patience_s):
                await self._empty.wait()
        except TimeoutError:
            for task in tuple(self._tasks.values()):
                task.cancel()
        await self._released()

    async def _released(self) -> None:
        """Wait for what was cancelled, and for what is being erased."""
        try:
            async with asyncio.timeout(RELEASE_S):
                await self._empty.wait()
                while self._erasures:
                    await asyncio.wait(self._erasures)
        except TimeoutError:
            if self._tasks:
                _log.warning("turns left to their leases", turns=len(self._tasks))

    async def _guarded(self, interview_id: str) -> None:
        """Keep one turn's failure from the others: a sweeper retries what is left undone."""
        try:
            await self._turn(interview_id)
        except StorageError as error:
            self._meter.turn_ended("failed")
            _log.warning("turn left to a sweeper", reason=type(error).__name__)
        except Exception:  # noqa: BLE001  # nothing one turn meets may end the other turns
            self._meter.turn_ended("failed")
            _log.exception("turn failed", interview=interview_id)

    def _ended(self, interview_id: str) -> None:
        del self._tasks[interview_id]
        self._meter.turns_running(len(self._tasks))
        self._stopped.discard(interview_id)
        if interview_id in self._again:
            self._again.discard(interview_id)
            self.start(interview_id)
        if not self._tasks:
            self._empty.set()

    async def _turn(self, interview_id: str) -> None:
        asked = self._leases.awake()
        acquired = await self._store.acquire(interview_id, self._clock.nonce())
        if not isinstance(acquired, Acquired):
            return
        state, fence, taken = acquired.state, acquired.fence, Taken(acquired.state)
        over = False
        with self._leases.hold(interview_id, state.session.turn, fence, asked) as lease:
            lease.handle = state.handle if state.ordinal else ""
            del acquired, state  # what was taken is let go at the first words
            try:
                over = await self._ended_here(taken, lease)
            finally:
                self._let_go(lease, over=over)

    async def _ended_here(self, taken: Taken, lease: Lease) -> bool:
        """Work on the turn; tell whether it is over, and not lost."""
        try:
            await self._work.run(taken, lease)
        except FencedError:
            self._meter.turn_ended("fenced")
            return False
        except asyncio.CancelledError:
            if lease.interview_id in self._stopped:
                return True
            lease.ending = True  # what it does now is not to be cancelled for the lease
            await self._give_back(lease)
            raise
        return True

    def _let_go(self, lease: Lease, *, over: bool) -> None:
        """Have erased what the provider stores of a turn; nobody waits for that but `drain`."""
        if self._group is not None and self._eraser.stores(lease):
            erasure = self._group.create_task(self._eraser.erase(lease, over=over))
            erasure.add_done_callback(self._erasures.discard)
            self._erasures.add(erasure)

    async def _give_back(self, lease: Lease) -> None:
        try:
            held = await self._store.release(lease.interview_id, lease.fence)
        except StorageError as error:
            _log.warning("release failed", error=type(error).__name__)
        else:
            self._meter.turn_ended("released" if held else "fenced")
