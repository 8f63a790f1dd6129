"""`storage.budgets.Budgets` over Redis Functions."""

from typing import Any

from protocol.ledger import Scope
from storage.budgets import SCOPES, Caps, Granted, Payer, Refused, Spent
from storage.redis.store import RedisStore

_PREFIX = "viva:{budget}:"
_HOLDS = ":holds"


class RedisBudgets:
    """The budgets of one deployment, in the Redis of its sessions. All keys share a slot."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store

    async def reserve(
        self, call: str, payer: Payer, *, least: int, most: int, caps: Caps, hold_ms: int
    ) -> Granted | Refused:
        """See `Budgets.reserve`."""
        limits: list[int] = []
        for hard in (caps.interview, caps.user_day, caps.day):
            limits += (hard, int(hard * caps.soft))
        reply = await self._call("budget_reserve", payer, call, hold_ms, least, most, *limits)
        if reply[0] == b"refused":
            return Refused(SCOPES[int(reply[1]) - 1], reply[2] == 1)
        low: list[Scope] = [scope for place, scope in enumerate(SCOPES) if reply[2 + place]]
        return Granted(int(reply[1]), tuple(low))

    async def settle(
        self, call: str, payer: Payer, cost: int, *, response_id: str = "", at: int = 0
    ) -> bool:
        """See `Budgets.settle`."""
        return bool(await self._call("budget_settle", payer, call, cost, response_id, at))

    async def spent(self, payer: Payer) -> dict[Scope, Spent]:
        """See `Budgets.spent`."""
        named = budget_keys(payer)[:6:2]
        found = await self._store.plain(*(("HMGET", key, "spent", "held") for key in named))
        spent = (Spent(*(int(value or 0) for value in values)) for values in found)
        return dict(zip(SCOPES, spent, strict=True))

    async def _call(self, name: str, payer: Payer, *arguments: Any) -> Any:
        return await self._store.function(name, budget_keys(payer), *arguments)


def budget_keys(payer: Payer) -> tuple[str, ...]:
    """Return the keys in the order the Lua source names them."""
    interview = f"{_PREFIX}interview:{payer.interview_id}"
    user = f"{_PREFIX}user:{payer.day}:{_told_apart(payer.user_id)}"
    day = f"{_PREFIX}day:{payer.day}"
    budgets = (interview, user, day)
    pairs = (key for budget in budgets for key in (budget, budget + _HOLDS))
    return (*pairs, f"{interview}:calls")


def _told_apart(user_id: str) -> str:
    """Return a user's name in a key: the budget of ``bob:holds`` must not be what ``bob`` holds.

    Nearly all are the ids themselves, as ever, so that an update forgets nothing.
    """
    return f"{user_id}:" if user_id.rstrip(":").endswith(_HOLDS) else user_id
