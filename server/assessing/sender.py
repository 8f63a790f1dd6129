"""Sends a sealed batch, once, whoever dies over it.

What belongs to the batch stands in PostgreSQL before anything is sent, and the batch carries its
name at the provider. Whoever finds one sealed that another had begun with looks for it there first.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby

import structlog

from ai.assessor.depot import Depot, DepotError
from ai.assessor.lines import Counter
from server.assessing.groups import Hours, Pace
from server.assessing.ports import BatchMeter, BatchStore, hold_of, payer_of
from server.clock import Clock
from storage.budgets import Budgets, Caps, Granted
from storage.errors import BadDataError
from storage.postgres.batches import Batch, Request

UNSENT_S = 48 * 3600.0
"""Calls that could not be sent for so long are made live."""
HOLD_MS = 26 * 3_600_000
"""How long money is held for a batch: a day, and the time to take it in."""
LATER_S = 3600.0
"""How long calls wait for which there is no money today."""
RETRY_S = 60.0

_log = structlog.get_logger()


class Sender:
    """Sends batches; safe for any number of workers."""

    def __init__(
        self,
        *,
        store: BatchStore,
        depot: Depot,
        counter: Counter,
        budgets: Budgets,
        caps: Caps,
        clock: Clock,
        meter: BatchMeter,
        pace: Pace,
        hours: Hours | None,
    ) -> None:
        """Without ``hours`` nothing is sent: what is sealed is made live."""
        self._store = store
        self._depot = depot
        self._counter = counter
        self._budgets = budgets
        self._caps = caps
        self._clock = clock
        self._meter = meter
        self._pace = pace
        self._hours = hours
        self.absent = False
        """Whether the provider is known to have no Batch API."""

    async def send(self, batch: Batch) -> None:
        """Send a batch that is claimed, or see to it that its calls are not lost.

        Raises:
            DepotError: the provider did not answer; it is to be tried again.
            StorageError: a backend does not answer; likewise.
        """
        if batch.tries > 1 and await self._begun(batch):
            return
        calls = await self._store.requests(batch)
        if self._hours is None or self.absent:
            await self._give_up(batch, calls, "live")
        elif batch.age_s > UNSENT_S:
            await self._give_up(batch, calls, "batch_unsent")
        elif not self._hours.open(self._clock.now()):
            await self._give_up(batch, calls, None)  # until the next night
        else:
            await self._send(batch, calls)

    async def _begun(self, batch: Batch) -> bool:
        """Whether somebody sent it and died, or never heard of it; else nothing is left there."""
        found = await self._depot.find(batch.batch_id, batch.sealed_at // 1000)
        if found is None:
            await self._depot.discard(batch.batch_id)
            return False
        _log.info("batch found again", batch=batch.batch_id)
        await self._sent(batch, found)
        return True

    async def _send(self, batch: Batch, calls: Sequence[Request]) -> None:
        lines = await self._paid(batch, calls)
        if not lines:
            await self._store.end(batch, "empty")
            return
        try:
            sent = await self._depot.send(batch.batch_id, batch.api, b"".join(lines))
        except DepotError as error:
            if error.passing:
                raise
            if error.absent:
                self.absent = True
                _log.warning("the provider has no Batch API: ratings are made live")
            else:
                _log.warning("batch refused", batch=batch.batch_id, code=error.code)
            await self._give_up(batch, calls, error.code)
            return
        if await self._sent(batch, sent):
            self._meter.batch_ended("sent")
            _log.info("batch sent", batch=batch.batch_id, calls=len(lines))

    async def _sent(self, batch: Batch, provider_id: str) -> bool:
        if await self._store.sent(batch, provider_id):
            await self._store.put_off(batch, self._pace.next_look_s(0))
            return True
        # It took too long, and another has sent it since: ours is not waited for.
        await self._depot.cancel(provider_id)
        return False

    async def _give_up(self, batch: Batch, calls: Sequence[Request], code: str | None) -> None:
        await self._store.unseal(batch, _ids(calls), code=code)
        for interview_id, own in _by_interview(calls):
            payer = payer_of(batch, interview_id, own[0].user_id)
            try:
                await self._budgets.settle(hold_of(batch, interview_id), payer, 0)
            except BadDataError:  # which must not keep the others in the batch
                _log.exception("hold not let go of", interview=interview_id)
        await self._store.end(batch, code or "postponed")
        self._meter.batch_ended(code or "postponed")

    # --- money ------------------------------------------------------------------------------------

    async def _paid(self, batch: Batch, calls: Sequence[Request]) -> list[bytes]:
        """Return the lines of those calls that there is money for; it is held."""
        lines: list[bytes] = []
        for interview_id, own in _by_interview(calls):
            try:
                kept, tokens = await self._held(batch, interview_id, own)
            except BadDataError:  # the live way says what becomes of them
                _log.exception("budget not read", interview=interview_id)
                await self._store.unseal(batch, _ids(own), code="budget")
                continue
            lines += [self._counter.line(call, batch.api, batch.model, tokens) for call in kept]
        return lines

    async def _held(
        self, batch: Batch, interview_id: str, calls: Sequence[Request]
    ) -> tuple[Sequence[Request], int]:
        """Hold money for an interview's calls together, so that each gets its share of it.

        Where the interview's own budget has too little for all, the last ones are left to the live
        way, which says what becomes of them; where a day's has, all of them wait.
        """
        payer = payer_of(batch, interview_id, calls[0].user_id)
        for many in range(len(calls), 0, -1):
            kept = calls[:many]
            quote = self._counter.quote(kept, batch.model)
            answer = await self._budgets.reserve(
                hold_of(batch, interview_id),
                payer,
                least=quote.least,
                most=quote.most,
                caps=self._caps,
                hold_ms=HOLD_MS,
            )
            if isinstance(answer, Granted):
                return kept, self._counter.allowed(kept, batch.model, answer.amount)
            self._meter.budget_refused(answer.scope)
            if answer.passing or answer.scope != "interview":
                await self._store.unseal(batch, _ids(kept), seconds=LATER_S)
                return (), 0
            await self._store.unseal(batch, _ids(kept[-1:]), code="budget")
        return (), 0


def _ids(calls: Iterable[Request]) -> list[str]:
    return [call.request_id for call in calls]


def _by_interview(calls: Sequence[Request]) -> list[tuple[str, list[Request]]]:
    grouped = groupby(calls, key=lambda call: call.interview_id)
    return [(interview_id, list(own)) for interview_id, own in grouped]
