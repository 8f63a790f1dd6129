"""The writer: takes what finished from the outbox to PostgreSQL, on any instance.

A delivery only names an interview; what is written is its state at that moment, so one write serves
all deliveries that wait, and a repeat finds nothing left to do. An outage is retried for ever. Bad
data, or a fault of the program, goes to the dead letters after five deliveries. Neither keeps
others from being written: what could not be is kept in hand, and what came since goes first.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import msgspec
import structlog

from protocol.ids import EventId
from protocol.ledger import LedgerEntry
from server.assessing.orders import Orders
from server.clock import Clock, backoff
from server.lineage import leads_on, raised
from storage.commits import timer_of
from storage.errors import BadDataError, ErasedError, StorageError
from storage.live import LiveStore, OutboxEntry, Unstored

AT_ONCE = 4
"""How many partitions one instance drains at the same time."""
BATCH = 64
IDLE_MS = 5_000
"""A delivery that its taker left for so long is given to another; one with bad data, again."""
ROUNDS = 8
"""How often a state is read anew because PostgreSQL holds another one than Redis believed."""
RETRY_S = 0.1
RETRY_CAP_S = 2.0

_log = structlog.get_logger()
_row = msgspec.json.Decoder(LedgerEntry)

_Group = list[OutboxEntry]
"""Deliveries of one interview, or ledger rows: what one transaction writes."""


class Archive(Protocol):
    """What is asked of PostgreSQL here; see `storage.postgres.archive.Archive`."""

    async def write(self, unstored: Unstored) -> EventId | None:
        """Bring the archive up to a live state; else return the head of what it holds."""
        ...

    async def write_ledger(self, rows: Sequence[LedgerEntry]) -> None:
        """Put ledger rows in, each once by its id."""
        ...


class OutboxMeter(Protocol):
    """What is measured of the outbox."""

    def outbox_ended(self, end: str, entries: int = 1) -> None:
        """Count entries that were ``written``, ``failed``, ``dead`` or ``gone``."""


class Writer:
    """One instance's writer. ``consumer`` names it among all instances."""

    def __init__(
        self,
        store: LiveStore,
        archive: Archive,
        orders: Orders,
        *,
        consumer: str,
        clock: Clock,
        meter: OutboxMeter,
        at_once: int = AT_ONCE,
    ) -> None:
        self._store = store
        self._archive = archive
        self._orders = orders
        self._consumer = consumer
        self._clock = clock
        self._meter = meter
        self._at_once = at_once
        self._wanted: dict[int, None] = {}
        self._busy: set[int] = set()
        self._kept: dict[int, list[OutboxEntry]] = {}
        self._wake = asyncio.Event()
        self._down = False

    def notice(self, partition: int) -> None:
        """Drain the partition soon. Never blocks; a notice during a drain leads to another one."""
        self._wanted[partition] = None
        self._wake.set()

    async def run(self) -> None:
        """Drain what is noticed, for ever; owned by the instance's task group."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._at_once):
                group.create_task(self._work())

    async def drain(self, partition: int) -> int:
        """Write what the partition's outbox has to give now; return how many entries that were.

        Raises:
            StorageError: what is left is kept in hand, for the next drain.
        """
        written = 0
        while True:
            taken = await self._store.take(partition, self._consumer, BATCH, IDLE_MS)
            entries = _in_order(taken, self._kept.pop(partition, []))
            await self._write(partition, entries)
            written += len(entries)
            if len(taken) < BATCH:
                return written  # of what came meanwhile there was a notice, or the sweep finds it

    async def _work(self) -> None:
        failures = 0
        while True:
            partition = await self._next()
            try:
                written = await self.drain(partition)
            except Exception as error:  # noqa: BLE001  # each instance would meet it
                if isinstance(error, StorageError):
                    self._outage(error)
                else:
                    _log.exception("outbox not read", partition=partition)
                # Meanwhile the partition counts as busy, so that no notice cuts the pause short.
                await backoff(self._clock, failures, base_s=RETRY_S, cap_s=RETRY_CAP_S)
                failures += 1
                self._wanted[partition] = None
            else:
                if written:
                    self._recovered()
                    failures = 0
            self._busy.discard(partition)
            self._wake.set()

    async def _next(self) -> int:
        while True:
            for partition in self._wanted:
                if partition not in self._busy:
                    del self._wanted[partition]
                    self._busy.add(partition)
                    return partition
            self._wake.clear()
            await self._wake.wait()

    async def _write(self, partition: int, entries: Sequence[OutboxEntry]) -> None:
        """Bring each entry to its end, or to its next delivery where its data is bad."""
        groups = _grouped(entries)
        while groups:
            try:
                groups.extend(await self._write_group(partition, groups[0]))
            except StorageError:
                # The others go first next time: what fails may be this one interview's rows.
                groups.rotate(-1)
                left = [entry for group in groups for entry in group]
                self._kept[partition] = left[:BATCH]  # Redis delivers the rest again
                raise
            groups.popleft()

    async def _write_group(self, partition: int, group: _Group) -> list[_Group]:
        """Write a group; return the parts it must be written in instead."""
        try:
            end = await self._store_group(group)
        except Exception as error:  # each instance would meet it
            if isinstance(error, StorageError) and not isinstance(error, BadDataError):
                raise
            if group[0].ledger and len(group) > 1:
                return [[entry] for entry in group]
            if not isinstance(error, BadDataError):
                _log.exception("outbox entry not written", interview=group[0].interview_id)
            await self._bury(partition, group, error)
        else:
            await self._store.settle(partition, [entry.id for entry in group])
            self._meter.outbox_ended(end, len(group))
        return []

    async def _store_group(self, group: _Group) -> str:
        if not group[0].ledger:
            return await self._write_interview(group[0].interview_id)
        await self._archive.write_ledger([_row.decode(entry.ledger) for entry in group])
        return "written"

    async def _write_interview(self, interview_id: str) -> str:
        for _ in range(ROUNDS):
            unstored = await self._store.unstored(interview_id)
            if not isinstance(unstored, Unstored):
                return "gone"  # erased, or parked: everything of it is in PostgreSQL
            try:
                held = await self._archive.write(unstored)
            except ErasedError:
                await self._store.erase(interview_id)  # whoever erased it got no further
                return "gone"
            state, commands = unstored.state, [name for name, _ in unstored.commands]
            if held == state.head:
                await raised(self._store, state, timer_of(state.session, self._clock.now()))
            elif held is not None:
                await leads_on(self._store, state, held)
            elif await self._store.mark_stored(interview_id, state.head, commands):
                await self._orders.consider(state.session)
                return "written"
        raise BadDataError("PostgreSQL and Redis do not come together")

    async def _bury(self, partition: int, group: _Group, error: Exception) -> None:
        code = type(error).__name__
        for entry in group:
            dead = await self._store.bury(partition, entry, code)
            self._meter.outbox_ended("dead" if dead else "failed")
            _log.error("outbox entry refused", interview=entry.interview_id, code=code, dead=dead)

    def _outage(self, error: StorageError) -> None:
        if not self._down:
            _log.warning("writing is held up", error=type(error).__name__)
        self._down = True

    def _recovered(self) -> None:
        if self._down:
            _log.info("writing goes on")
        self._down = False


def _in_order(taken: Sequence[OutboxEntry], kept: Sequence[OutboxEntry]) -> list[OutboxEntry]:
    """Put what is new first: of what was kept, some may fail again. Each entry comes once."""
    waiting = {_subject(entry) for entry in kept}
    new = [entry for entry in taken if _subject(entry) not in waiting]
    return list({entry.id: entry for entry in (*new, *kept, *taken)}.values())


def _grouped(entries: Sequence[OutboxEntry]) -> deque[_Group]:
    """Gather deliveries by interview, and all ledger rows together, in their order."""
    groups: dict[str, _Group] = {}
    for entry in entries:
        groups.setdefault(_subject(entry), []).append(entry)
    return deque(groups.values())


def _subject(entry: OutboxEntry) -> str:
    return "" if entry.ledger else entry.interview_id
