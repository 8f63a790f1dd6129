"""Ratings in groups, off-peak: seals what waits, sends it, takes it in, orders what waited for it.

Every process that makes ratings runs one. They share the work by short claims in PostgreSQL: one
that dies leaves its batch to the others, and what it did of it is found.
"""

import asyncio
from collections.abc import Iterable

import structlog

from ai.assessor.depot import Depot, DepotError, OpenAIDepot
from ai.assessor.lines import Counter
from ai.settings import AiSettings
from server.assessing.groups import Hours, Pace
from server.assessing.orders import OrderBook
from server.assessing.ports import BatchMeter, BatchStore, LedgerStore
from server.assessing.sender import RETRY_S, UNSENT_S, Sender
from server.assessing.taker import Taker
from server.clock import Clock
from server.ids import uuid7
from storage.budgets import Budgets, Caps
from storage.cancelling import cancellable
from storage.errors import StorageError
from storage.postgres.batches import Batch

LEASE_S = 30.0
"""How long a batch is a worker's that says no more of it; it is renewed at a third of the time."""
WORK_S = 180.0
"""How long one visit to a batch may take."""
RETRY_CAP_S = 900.0
TIDY_S = 3600.0

_log = structlog.get_logger()


class Batcher:
    """One process's part in batches. Without a ``depot`` there is nobody to send them to."""

    def __init__(
        self,
        *,
        store: BatchStore,
        depot: Depot | None,
        sender: Sender | None,
        taker: Taker | None,
        book: OrderBook,
        clock: Clock,
        meter: BatchMeter,
        pace: Pace,
        hours: Hours | None,
        lease_s: float = LEASE_S,
    ) -> None:
        """Without ``hours`` no batch is sent; those that were sent before are still taken in."""
        self._store = store
        self._depot = depot
        self._sender = sender
        self._taker = taker
        self._book = book
        self._clock = clock
        self._meter = meter
        self._pace = pace
        self._hours = hours
        self._lease_s = lease_s
        self._down = False
        self._tidy_at = 0.0

    async def run(self) -> None:
        """Work for ever; owned by the process's task group."""
        while True:
            try:
                await self.round()
            except StorageError as error:
                if not self._down:
                    _log.warning("batches not looked after", error=type(error).__name__)
                self._down = True
            except Exception:  # noqa: BLE001  # it may be one batch's alone
                _log.exception("batches not looked after")
            else:
                self._down = False
            await asyncio.sleep(self._pace.look_s * (0.75 + self._clock.random() / 2))

    async def aclose(self) -> None:
        """Close all connections."""
        if self._depot is not None:
            await self._depot.aclose()

    async def round(self) -> None:
        """Do all that is to be done now.

        Raises:
            StorageError: a backend does not answer.
        """
        await self._seal()
        await self._order(await self._store.release("batch_unsent", UNSENT_S))
        while batch := await self._store.claim(self._clock.nonce(), self._lease_s):
            await self._work(batch)
        self._meter.parked(*await self._store.backlog())
        if self._clock.monotonic() >= self._tidy_at:
            await self._store.tidy()
            self._tidy_at = self._clock.monotonic() + TIDY_S

    async def _seal(self) -> None:
        if self._sender is None:
            await self._order(await self._store.release("no_model"))
            await self._order(await self._store.abandon("no_model"))
        elif self._hours is None or self._sender.absent:
            await self._order(await self._store.release("live"))
        elif self._hours.open(self._clock.now()):
            while await self._store.seal(self._name(), self._pace.calls, self._pace.group):
                pass

    async def _work(self, batch: Batch) -> None:
        """Do what is to be done about a batch while it is ours, and not for ever."""
        with cancellable():
            try:
                async with asyncio.timeout(WORK_S), asyncio.TaskGroup() as group:
                    keeping = group.create_task(self._keep(batch))
                    try:
                        await self._do(batch)
                    finally:
                        keeping.cancel()
                        # Where it has failed, it is to do so in this body: see `cancellable`.
                        await asyncio.wait((keeping,))
            except* (TimeoutError, StorageError, _LostError) as errors:
                (error, *_) = errors.exceptions
                name = type(error).__name__
                _log.warning("batch left to its next worker", batch=batch.batch_id, error=name)

    async def _keep(self, batch: Batch) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 3)
            if not await self._store.keep(batch, self._lease_s):
                raise _LostError

    async def _do(self, batch: Batch) -> None:
        """Do it; an outage of the provider puts it off."""
        assert self._sender is not None and self._taker is not None  # noqa: S101, PT018 - or no batch
        try:
            if batch.provider_id is None:
                await self._sender.send(batch)
            elif not await self._taker.look(batch, batch.provider_id):
                return
            await self._order(await self._store.ready(batch))
            if batch.provider_id is not None and await self._store.end(batch, "taken"):
                self._meter.batch_ended("taken")
        except DepotError as error:
            pause = min(RETRY_CAP_S, RETRY_S * 2 ** min(batch.tries - 1, 8))
            pause = min(pause, 4 * self._pace.next_look_s(batch.age_s))
            _log.warning("batch put off", batch=batch.batch_id, code=error.code, seconds=pause)
            await self._store.put_off(batch, pause)

    async def _order(self, interviews: Iterable[str]) -> None:
        for interview_id in interviews:
            await self._book.resume(interview_id)

    def _name(self) -> str:
        return uuid7(self._clock.now())


class _LostError(Exception):
    """Another worker has the batch by now."""


def build_batcher(
    settings: AiSettings,
    *,
    store: BatchStore,
    ledger: LedgerStore,
    budgets: Budgets,
    caps: Caps,
    book: OrderBook,
    clock: Clock,
    meter: BatchMeter,
    pace: Pace,
    hours: Hours | None,
    lease_s: float = LEASE_S,
) -> Batcher:
    """Put a batcher together; without a key it only sees to it that nothing waits."""
    depot = OpenAIDepot(settings) if settings.api_key is not None else None
    sender = taker = None
    if depot is not None:
        counter = Counter(settings)
        sender = Sender(
            store=store,
            depot=depot,
            counter=counter,
            budgets=budgets,
            caps=caps,
            clock=clock,
            meter=meter,
            pace=pace,
            hours=hours,
        )
        taker = Taker(
            store=store,
            depot=depot,
            counter=counter,
            budgets=budgets,
            ledger=ledger,
            clock=clock,
            meter=meter,
            pace=pace,
        )
    return Batcher(
        store=store,
        depot=depot,
        sender=sender,
        taker=taker,
        book=book,
        clock=clock,
        meter=meter,
        pace=pace,
        hours=hours,
        lease_s=lease_s,
    )
