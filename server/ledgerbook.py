"""Ledger rows on their way from the interviewer to the outbox."""

import asyncio
from collections import deque

import msgspec
import structlog

from protocol.ledger import LedgerEntry
from server.clock import Clock, backoff
from server.meters import Meters
from storage.errors import BadDataError, StorageError
from storage.live import LiveStore

ROWS_WAITING = 10_000
"""Rows kept while Redis is away; beyond it the oldest are logged as lost."""

_log = structlog.get_logger()


class LedgerBook:
    """The interviewer's `LedgerSink`: takes rows without blocking and queues them in Redis."""

    def __init__(self, store: LiveStore, clock: Clock, meters: Meters) -> None:
        self._store = store
        self._clock = clock
        self._meters = meters
        self._rows: deque[LedgerEntry] = deque()
        self._queued: LedgerEntry | None = None
        """The row that is on its way, which is no more among `_rows`."""
        self._wanted = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def record(self, entry: LedgerEntry) -> None:
        """See `ai.ports.LedgerSink`."""
        self._meters.called(entry)
        if len(self._rows) >= ROWS_WAITING:
            _tell_lost(self._rows.popleft())
        self._rows.append(entry)
        self._empty.clear()
        self._wanted.set()

    async def run(self) -> None:
        """Queue rows for ever; owned by the instance's task group."""
        while True:
            self._wanted.clear()
            while self._rows:
                self._queued = self._rows.popleft()
                await self._queue(self._queued)
                self._queued = None
            self._empty.set()
            await self._wanted.wait()

    async def drained(self, patience_s: float) -> None:
        """Wait until Redis has every row, at most ``patience_s``."""
        try:
            async with asyncio.timeout(patience_s):
                await self._empty.wait()
        except TimeoutError:
            rows = len(self._rows) + (self._queued is not None)
            _log.error("ledger rows lost", rows=rows)

    async def _queue(self, entry: LedgerEntry) -> None:
        # A repeat after a lost reply queues the row twice; PostgreSQL keeps it once, by its id.
        try:
            row = msgspec.json.encode(entry)
        except UnicodeEncodeError:  # half a surrogate pair, in words of the provider's
            _log.exception("ledger row lost", row=entry.id)
            return
        attempt = 0
        while True:
            try:
                await self._store.enqueue_ledger(entry.interview_id, row)
            except BadDataError:
                _tell_lost(entry)
                return
            except StorageError:
                await backoff(self._clock, attempt)
                attempt += 1
            else:
                return


def _tell_lost(entry: LedgerEntry) -> None:
    _log.error("ledger row lost", row=msgspec.to_builtins(entry))
