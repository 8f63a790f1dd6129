"""`storage.budgets.Budgets` in memory, as far as a simulation needs it: the interviews' own."""

from collections.abc import Callable

from protocol.ledger import Scope
from storage.budgets import Caps, Granted, Payer, Refused, Spent


class TwinBudgets:
    """Budgets that any number of instances share."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now = now_ms
        self._held: dict[str, dict[str, tuple[int, int]]] = {}
        self._spent: dict[str, int] = {}
        self._settled: set[str] = set()

    async def reserve(
        self, call: str, payer: Payer, *, least: int, most: int, caps: Caps, hold_ms: int
    ) -> Granted | Refused:
        """See `Budgets.reserve`."""
        holds = self._held.setdefault(payer.interview_id, {})
        now = self._now()
        for name in [name for name, (_, due) in holds.items() if due <= now]:
            del holds[name]
        spent = self._spent.get(payer.interview_id, 0)
        left = caps.interview - spent - sum(amount for amount, _ in holds.values())
        if caps.interview and left < least:
            return Refused("interview", passing=caps.interview - spent >= least)
        amount = min(most, left) if caps.interview else most
        holds[call] = (amount, now + hold_ms)
        low: tuple[Scope, ...] = ("interview",) if spent >= caps.interview * caps.soft else ()
        return Granted(amount, low)

    async def settle(
        self, call: str, payer: Payer, cost: int, *, response_id: str = "", at: int = 0
    ) -> bool:
        """See `Budgets.settle`."""
        del at
        assert not response_id
        if call in self._settled:
            return False
        self._settled.add(call)
        self._held.get(payer.interview_id, {}).pop(call, None)
        self._spent[payer.interview_id] = self._spent.get(payer.interview_id, 0) + cost
        return True

    async def spent(self, payer: Payer) -> dict[Scope, Spent]:
        """See `Budgets.spent`."""
        held = sum(amount for amount, _ in self._held.get(payer.interview_id, {}).values())
        return {"interview": Spent(self._spent.get(payer.interview_id, 0), held)}
