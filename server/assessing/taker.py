"""Looks after a batch that was sent, and takes in what came of it.

For each interview: its ledger rows, what it cost, then the replies. All of it may be repeated by
whoever finds it half done; a call whose reply was taken, or that is gone, changes no more.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby

import msgspec
import structlog

from ai.assessor.depot import Depot, DepotError, State
from ai.assessor.lines import Counter, Outcome, read_lines
from protocol.ledger import LedgerEntry
from server.assessing.groups import Pace
from server.assessing.ports import BatchMeter, BatchStore, LedgerStore, hold_of, payer_of
from server.clock import Clock
from storage.budgets import Budgets
from storage.errors import BadDataError
from storage.postgres.batches import Batch, Request

LOST_S = 50 * 3600.0
"""A batch that is not over after so long is given up; the provider promises a day."""
LOST = "batch_lost"
_CODES = {
    "expired": "batch_expired",
    "cancelled": "batch_cancelled",
    "failed": "batch_failed",
}
"""Why a call has no answer, by how its batch ended."""

_log = structlog.get_logger()


class Taker:
    """Takes batches in; safe for any number of workers."""

    def __init__(
        self,
        *,
        store: BatchStore,
        depot: Depot,
        counter: Counter,
        budgets: Budgets,
        ledger: LedgerStore,
        clock: Clock,
        meter: BatchMeter,
        pace: Pace,
    ) -> None:
        self._store = store
        self._depot = depot
        self._counter = counter
        self._budgets = budgets
        self._ledger = ledger
        self._clock = clock
        self._meter = meter
        self._pace = pace

    async def look(self, batch: Batch, provider_id: str) -> bool:
        """Take a batch in if it is over; whether it was.

        Raises:
            DepotError: the provider did not answer; it is to be tried again.
            StorageError: a backend does not answer; likewise.
        """
        state = await self._state(batch, provider_id)
        if state is not None and not state.over:
            await self._store.put_off(batch, self._pace.next_look_s(batch.age_s))
            return False
        calls = await self._store.requests(batch)
        outcomes = await self._outcomes(state) if calls and state is not None else {}
        missing = Outcome(code=LOST if state is None else _CODES.get(state.status, LOST))
        for interview_id, own in groupby(calls, key=lambda call: call.interview_id):
            await self._take(batch, interview_id, list(own), outcomes, missing)
        _log.info(
            "batch taken in",
            batch=batch.batch_id,
            ended=state.status if state else LOST,
            calls=len(calls),
            answers=sum(outcome.reply is not None for outcome in outcomes.values()),
        )
        if state is not None:
            await self._depot.clear(state)
        return True

    async def _state(self, batch: Batch, provider_id: str) -> State | None:
        """Return where a batch stands; None where it is given up."""
        late = batch.age_s > LOST_S
        try:
            state = await self._depot.look(provider_id)
            if state is not None and late and not state.over:
                await self._depot.cancel(provider_id)
                return None
        except DepotError:
            if late:
                return None
            raise
        return state

    async def _outcomes(self, state: State) -> dict[str, Outcome]:
        found: dict[str, Outcome] = {}
        for file_id in (state.errors, state.output):
            if file_id is None:
                continue
            try:
                found.update(read_lines(await self._depot.fetch(file_id)))
            except DepotError as error:
                if error.passing:
                    raise
                _log.error("file of a batch cannot be read", code=error.code)
        return found

    async def _take(
        self,
        batch: Batch,
        interview_id: str,
        calls: Sequence[Request],
        outcomes: Mapping[str, Outcome],
        missing: Outcome,
    ) -> None:
        now = self._clock.now()
        ends = [(call, outcomes.get(call.request_id, missing)) for call in calls]
        entries = [
            self._counter.entry(
                call, end, api=batch.api, model=batch.model, at=batch.sealed_at, now=now
            )
            for call, end in ends
        ]
        cost = sum(map(self._counter.counted, entries))
        payer = payer_of(batch, interview_id, calls[0].user_id)
        await self._write(entries)
        try:
            await self._budgets.settle(hold_of(batch, interview_id), payer, cost)
        except BadDataError:  # the replies are there, and other interviews are behind this one
            _log.exception("cost not counted", interview=interview_id, micro_usd=cost)
        await self._store.take(batch, interview_id, [_row(call, end) for call, end in ends])
        for entry in entries:
            self._meter.called(entry)

    async def _write(self, entries: Sequence[LedgerEntry]) -> None:
        """Write ledger rows, but for those that PostgreSQL refuses for good."""
        try:
            await self._ledger.write_ledger(entries)
        except BadDataError:
            if len(entries) == 1:
                _log.exception("ledger row lost", row=msgspec.to_builtins(entries[0]))
                return
            for entry in entries:
                await self._write([entry])


def _row(call: Request, end: Outcome) -> dict[str, str | None]:
    reply = None if end.reply is None else end.reply.decode()
    code = None if end.reply is not None else end.code
    return {"request_id": call.request_id, "reply": reply, "code": code}
