"""What a run may spend on a real model: held before an interview begins, settled after it."""

import asyncio


class Purse:
    """Money for interviews, each of which costs ``most_usd`` at the most."""

    def __init__(self, budget_usd: float, most_usd: float) -> None:
        self.spent_usd = 0.0
        self._budget_usd = budget_usd
        self._most_usd = most_usd
        self._held = 0
        self._settled = asyncio.Condition()

    async def hold(self) -> bool:
        """Hold an interview's money; False where there will never be enough for one more."""
        async with self._settled:
            await self._settled.wait_for(lambda: self._enough or not self._held)
            if not self._enough:
                return False
            self._held += 1
            return True

    async def settle(self, cost_usd: float) -> None:
        """Pay what an interview cost, and give back the rest of what was held."""
        async with self._settled:
            self._held -= 1
            self.spent_usd += cost_usd
            self._settled.notify_all()

    @property
    def _enough(self) -> bool:
        return self.spent_usd + (self._held + 1) * self._most_usd <= self._budget_usd + 1e-9
