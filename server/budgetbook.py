"""The budgets as the model's callers see them: asked before each call, told after it what it cost.

While Redis does not answer nobody knows what is spent. Calls go on then, so that no interview
stops: each interview has an allowance of its own on each instance, and what it spends of it is
counted when Redis is back.
"""

import asyncio
import contextlib
from collections import Counter, deque
from datetime import UTC, datetime
from typing import Protocol

import structlog
from msgspec import Struct
from msgspec.structs import replace

from ai.budget import Hold, Payer, Refusal
from server.clock import Clock, backoff
from storage import budgets
from storage.budgets import Budgets, Caps, Granted, Refused
from storage.errors import BadDataError, StorageError

SETTLEMENTS_WAITING = 10_000
"""Settlements kept while Redis is away; beyond it the oldest are logged as lost."""
ALONE_SHARE = 4
"""An interview may spend its cap divided by this on one instance before Redis counts it."""
ALONE_MICRO_USD = 25_000
"""The same where interviews have no cap, but users or the deployment have."""
CATCH_UP_S = 0.25
"""How long a call waits until the interview's earlier ones are counted: what they held too much
would be missing."""

_log = structlog.get_logger()


class BudgetMeter(Protocol):
    """What is measured of budgets."""

    def budget_refused(self, scope: str) -> None:
        """Count a call that was not made: ``interview``, ``user_day``, ``day``, or ``alone``."""


class Settlement(Struct, frozen=True, kw_only=True):
    """What is to be counted. ``alone``: it is on the interview's allowance until then."""

    call: str
    payer: budgets.Payer
    cost: int
    response_id: str = ""
    at: int = 0
    alone: bool = False


class BudgetBook:
    """One instance's `ai.budget.Budget`."""

    def __init__(self, kept: Budgets, caps: Caps, clock: Clock, meter: BudgetMeter) -> None:
        self._kept = kept
        self._caps = caps
        self._clock = clock
        self._meter = meter
        self._alone = Counter[str]()
        """By interview, what it has spent or holds without Redis knowing of it."""
        self._waiting: deque[Settlement] = deque()
        self._pending = Counter[str]()
        """By interview, how many settlements Redis does not have yet."""
        self._down = False
        self._moved = asyncio.Event()
        """Set, and replaced, with each settlement that is done."""
        self._wanted = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    async def reserve(
        self, payer: Payer, *, least: int, most: int, spare: int, hold_s: float, sunk: bool
    ) -> Hold | Refusal:
        """See `ai.budget.Budget`."""
        await self._caught_up(payer.interview_id)
        call, now = self._clock.nonce(), self._clock.now()
        who = budgets.Payer(
            interview_id=payer.interview_id, user_id=payer.user_id, day=_day_of(now)
        )
        caps = Caps() if sunk else self._but(spare)
        try:
            answer = await self._kept.reserve(
                call, who, least=least, most=most, caps=caps, hold_ms=int(hold_s * 1000)
            )
        except asyncio.CancelledError:
            self.put(Settlement(call=call, payer=who, cost=0))  # it may be held all the same
            raise
        except StorageError as error:
            if not self._down:
                _log.warning("budgets cannot be asked", error=type(error).__name__)
            self._down = True
            allowance = 0 if sunk else self._allowance(spare)
            return self._decide(call, who, least, allowance, most)
        self._down = False
        return self._granted(call, who, answer)

    @property
    def uncounted(self) -> int:
        """How many interviews are on their allowance, more or less spent."""
        return len(self._alone)

    def put(self, settlement: Settlement) -> None:
        """Queue a settlement; neither blocks nor raises."""
        if len(self._waiting) >= SETTLEMENTS_WAITING:
            self._done(lost := self._waiting.popleft())
            _log.error("settlement lost", call=lost.call, cost=lost.cost)
        self._waiting.append(settlement)
        self._pending[settlement.payer.interview_id] += 1
        self._empty.clear()
        self._wanted.set()

    def spend_alone(self, interview_id: str, change: int) -> None:
        """Note what an interview spends, or spends less than it held, without Redis knowing."""
        self._alone[interview_id] += change

    async def run(self) -> None:
        """Settle for ever; owned by the instance's task group."""
        while True:
            self._wanted.clear()
            while self._waiting:
                settlement = self._waiting.popleft()
                await self._settle(settlement)
                self._done(settlement)
            self._empty.set()
            await self._wanted.wait()

    async def drained(self, patience_s: float) -> None:
        """Wait until Redis has counted everything, at most ``patience_s``."""
        try:
            async with asyncio.timeout(patience_s):
                await self._empty.wait()
        except TimeoutError:
            _log.error("settlements lost", settlements=len(self._waiting) + 1)

    async def _caught_up(self, interview_id: str) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CATCH_UP_S):
                while self._pending[interview_id] and not self._down:
                    await self._moved.wait()

    def _granted(self, call: str, who: budgets.Payer, answer: Granted | Refused) -> Hold | Refusal:
        if isinstance(answer, Refused):
            self._meter.budget_refused(answer.scope)
            return Refusal(answer.scope, answer.passing)
        return _Hold(self, call, who, answer.amount, low=bool(answer.low), alone=False)

    def _but(self, spare: int) -> Caps:
        caps = self._caps
        if not spare or not caps.interview:
            return caps
        return replace(caps, interview=max(1, caps.interview - spare))

    def _allowance(self, spare: int) -> int:
        caps = self._caps
        if caps.interview:
            return max(1, caps.interview // ALONE_SHARE - spare)
        return ALONE_MICRO_USD if caps.user_day or caps.day else 0

    def _decide(
        self, call: str, who: budgets.Payer, least: int, allowance: int, most: int
    ) -> Hold | Refusal:
        """Decide alone. The call may be held in Redis as well: its settlement ends that."""
        left = allowance - self._alone[who.interview_id] if allowance else most
        if left < least:
            self._meter.budget_refused("alone")
            self.put(Settlement(call=call, payer=who, cost=0))
            return Refusal("interview", passing=True)
        amount = min(most, left)
        self.spend_alone(who.interview_id, amount)
        return _Hold(self, call, who, amount, low=False, alone=True)

    async def _settle(self, settlement: Settlement) -> None:
        attempt = 0
        while True:
            try:
                await self._kept.settle(
                    settlement.call,
                    settlement.payer,
                    settlement.cost,
                    response_id=settlement.response_id,
                    at=settlement.at,
                )
            except BadDataError:
                _log.error("settlement refused", call=settlement.call, cost=settlement.cost)
                return
            except StorageError:
                await backoff(self._clock, attempt)
                attempt += 1
            else:
                return

    def _done(self, settlement: Settlement) -> None:
        interview_id = settlement.payer.interview_id
        if settlement.alone:
            self._alone[interview_id] -= settlement.cost
        if self._alone[interview_id] <= 0:
            del self._alone[interview_id]
        self._pending[interview_id] -= 1
        if self._pending[interview_id] <= 0:
            del self._pending[interview_id]
        self._moved.set()
        self._moved = asyncio.Event()


class _Hold:
    """See `ai.budget.Hold`."""

    def __init__(
        self,
        book: BudgetBook,
        call: str,
        payer: budgets.Payer,
        amount: int,
        *,
        low: bool,
        alone: bool,
    ) -> None:
        self.amount = amount
        self.low = low
        self._book = book
        self._call = call
        self._payer = payer
        self._alone = alone

    def settle(self, cost: int, *, response_id: str, at: int) -> None:
        if self._alone:
            self._book.spend_alone(self._payer.interview_id, cost - self.amount)
        self._book.put(
            Settlement(
                call=self._call,
                payer=self._payer,
                cost=cost,
                response_id=response_id,
                at=at,
                alone=self._alone,
            )
        )


def _day_of(now_ms: int) -> str:
    return datetime.fromtimestamp(now_ms / 1000, UTC).date().isoformat()
