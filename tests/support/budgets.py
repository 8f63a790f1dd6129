"""A budget in memory, which keeps account of every hold."""

import asyncio
from collections.abc import Sequence

from ai.budget import Hold, Payer, Refusal
from protocol.ledger import Scope


class CountedHold:
    """A hold that knows how often it was settled."""

    def __init__(self, amount: int, *, low: bool) -> None:
        self.amount = amount
        self.low = low
        self.costs: list[int] = []
        self.responses: list[str] = []

    def settle(self, cost: int, *, response_id: str, at: int) -> None:
        assert at > 0
        self.costs.append(cost)
        self.responses.append(response_id)


class Purse:
    """Holds up to ``cap``, answering after ``delay_s``."""

    def __init__(
        self,
        cap: int = 10**9,
        *,
        soft: int = 10**9,
        scope: Scope = "interview",
        passing: bool = False,
        delay_s: float = 0.0,
    ) -> None:
        self.holds: list[CountedHold] = []
        self.asked: list[tuple[int, int, bool]] = []
        self._cap = cap
        self._soft = soft
        self._refusal = Refusal(scope, passing)
        self._delay_s = delay_s

    @property
    def spent(self) -> int:
        return sum(sum(hold.costs) for hold in self.holds)

    @property
    def settled(self) -> Sequence[int]:
        """How often each hold was settled."""
        return [len(hold.costs) for hold in self.holds]

    async def reserve(
        self, payer: Payer, *, least: int, most: int, spare: int, hold_s: float, sunk: bool
    ) -> Hold | Refusal:
        assert payer.interview_id
        assert hold_s > 30
        self.asked.append((least, most, sunk))
        await asyncio.sleep(self._delay_s)
        held = sum(hold.amount for hold in self.holds if not hold.costs)
        left = most if sunk else self._cap - self.spent - held - spare
        if left < least:
            return self._refusal
        hold = CountedHold(min(most, left), low=self.spent >= self._soft)
        self.holds.append(hold)
        return hold
