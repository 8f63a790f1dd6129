"""The queue's worker: takes orders, has them done, and sees every one of them to an end.

Any number of workers share the queue, in the server's own processes or apart (`viva worker`). One
that dies is missed after `IDLE_MS`, and its orders go to the others. An outage puts an order back,
later each time; what nobody can do goes to the dead letters, and is said to have failed.
"""

import asyncio
import contextlib
from typing import Protocol

import structlog

from ai.assessor import AssessmentFailedError, DeferredError
from server.assessing.desk import Desk
from server.assessing.orders import WORDS, Order, OrderBook, order_of
from server.clock import Clock, seconds_since
from storage.errors import BadDataError, ErasedError, MissingError, StorageError
from storage.jobs import Job, Jobs

AT_ONCE = 4
IDLE_MS = 30_000
"""An order whose worker was silent for so long is given to another."""
EXTEND_S = 8.0
POLL_S = 0.5
PATIENCE_MS = 24 * 3_600_000
"""How long an order is tried in spite of outages."""
TRIES = 5
"""How often an order that fails for no known reason is tried."""
BACKOFF_S = 2.0
BACKOFF_CAP_S = 120.0
LOOK_S = 60.0
"""How often interviews without a report are looked for."""
LOOK_BACK_MS = 8 * 24 * 3_600_000

_log = structlog.get_logger()


class Unreported(Protocol):
    """Who knows the interviews that ended and have no report."""

    async def unreported(self, since: int, limit: int = 100) -> tuple[str, ...]:
        """Return their ids."""
        ...


class JobMeter(Protocol):
    """What is measured of orders."""

    def job_ended(self, kind: str, end: str) -> None:
        """Count one: ``done``, ``gone``, ``deferred``, ``postponed``, ``dead`` or ``lost``."""

    def jobs_waiting(self, waiting: int, dead: int, waited_s: float) -> None:
        """Set how many wait, now or for later, how many are dead, and how long the first waits."""


class Worker:
    """One process's worker. ``consumer`` names it among all."""

    def __init__(
        self,
        *,
        jobs: Jobs,
        book: OrderBook,
        desk: Desk,
        archive: Unreported,
        clock: Clock,
        meter: JobMeter,
        consumer: str,
        at_once: int = AT_ONCE,
    ) -> None:
        self._jobs = jobs
        self._book = book
        self._desk = desk
        self._archive = archive
        self._clock = clock
        self._meter = meter
        self.consumer = consumer
        """Whose jobs these are, as the queue names it."""
        self._slots = asyncio.Semaphore(at_once)
        self._down = False

    async def run(self) -> None:
        """Work for ever; owned by the process's task group. Cancelled, it gives its orders back."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look())
            while True:
                await self._slots.acquire()
                job = await self._next()
                group.create_task(self._hold(job)).add_done_callback(self._free)

    def _free(self, _: "asyncio.Task[None]") -> None:
        self._slots.release()

    async def _next(self) -> Job:
        while True:
            self._book.placed.clear()
            try:
                taken = await self._jobs.take(self.consumer, 1, IDLE_MS)
            except StorageError as error:
                if not self._down:
                    _log.warning("no orders can be taken", error=type(error).__name__)
                self._down = True
                taken = []
            else:
                self._down = False
            if taken:
                return taken[0]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S * (0.75 + self._clock.random() / 2)):
                    await self._book.placed.wait()

    async def _hold(self, job: Job) -> None:
        """Do a job while it is ours; nothing that it meets may end the other jobs."""
        try:
            async with asyncio.TaskGroup() as group:
                keeping = group.create_task(self._keep(job))
                try:
                    await self._end(job)
                finally:
                    keeping.cancel()
        except* _LostError:
            self._meter.job_ended(_kind(job), "lost")
        except* StorageError as errors:
            # Its end cannot be said: it comes again, and finds what was kept.
            _log.warning("order left to its delivery", error=type(errors.exceptions[0]).__name__)

    async def _keep(self, job: Job) -> None:
        while True:
            await asyncio.sleep(EXTEND_S)
            with contextlib.suppress(StorageError):
                if not await self._jobs.extend(self.consumer, job):
                    raise _LostError

    async def _end(self, job: Job) -> None:
        try:
            order = order_of(job)
        except ValueError:
            await self._bury(job, None, "unknown_order")
        else:
            await self._do(job, order)

    async def _do(self, job: Job, order: Order) -> None:
        try:
            await self._desk.do(order, job.queued_at)
        except asyncio.CancelledError:
            with contextlib.suppress(StorageError):
                await self._jobs.postpone(job, self._clock.now(), "released")
            raise
        except (MissingError, ErasedError, DeferredError) as error:
            # What waits is ordered again when its batch is back; PostgreSQL knows what that is.
            await self._jobs.finish(job)
            end = "deferred" if isinstance(error, DeferredError) else "gone"
            self._meter.job_ended(_kind(job), end)
        except AssessmentFailedError as error:
            await self._failed(job, order, error)
        except BadDataError as error:
            await self._bury(job, order, type(error).__name__)
        except StorageError as error:
            await self._postpone(job, type(error).__name__, None)
        except Exception as error:  # noqa: BLE001  # it may be one interview's alone
            _log.exception("order failed", order=job.name)
            if job.faults + 1 < TRIES:
                await self._postpone(job, type(error).__name__, None, fault=True)
            else:
                await self._bury(job, order, type(error).__name__)
        else:
            if await self._jobs.finish(job):
                self._meter.job_ended(_kind(job), "done")

    async def _failed(self, job: Job, order: Order, error: AssessmentFailedError) -> None:
        old = self._clock.now() - job.queued_at > PATIENCE_MS
        if error.retryable and not old:
            await self._postpone(job, error.code, error.after_s)
        else:
            await self._bury(job, order, error.code)

    async def _postpone(
        self, job: Job, code: str, after_s: float | None, *, fault: bool = False
    ) -> None:
        most = min(BACKOFF_CAP_S, BACKOFF_S * 2 ** min(job.tries, 16))
        pause = max(after_s or 0.0, most * (0.5 + self._clock.random() / 2))
        until = self._clock.now() + int(pause * 1000)
        await self._jobs.postpone(job, until, code, fault=fault)
        self._meter.job_ended(_kind(job), "postponed")
        _log.info("order postponed", order=job.name, code=code, tries=job.tries, seconds=pause)

    async def _bury(self, job: Job, order: Order | None, code: str) -> None:
        _log.error("order given up", order=job.name, code=code)
        if order is not None:
            with contextlib.suppress(MissingError, ErasedError, BadDataError):
                await self._desk.give_up(order, code)
        if await self._jobs.bury(job, code):
            self._meter.job_ended(_kind(job), "dead")

    async def _look(self) -> None:
        """Order the reports whose orders were lost; tell how much there is to do."""
        while True:
            await asyncio.sleep(LOOK_S * (0.5 + self._clock.random()))
            try:
                since = self._clock.now() - LOOK_BACK_MS
                for interview_id in await self._archive.unreported(since):
                    if await self._book.write(interview_id):
                        _log.info("report ordered late", interview=interview_id)
                backlog = await self._jobs.backlog()
            except StorageError as error:
                _log.warning("orders not looked after", error=type(error).__name__)
                continue
            self._meter.jobs_waiting(
                sum(backlog.waiting.values()) + backlog.later,
                backlog.dead,
                seconds_since(self._clock, backlog.oldest),
            )


class _LostError(Exception):
    """Another worker has the job by now."""


def _kind(job: Job) -> str:
    part = job.name.rsplit(":", 1)[-1]
    return {"report": "report", WORDS: "word"}.get(part, "rate")
