"""`storage.gate.Gate` over Redis Functions."""

from collections.abc import Sequence

from storage.gate import LAPSE_MS, WAITING, Admitted, Full, Limits, Queued, Standing, Ticket
from storage.redis.store import RedisStore

_PREFIX = "viva:{gate}:"
GATE_KEYS = tuple(f"{_PREFIX}{name}" for name in ("running", "lapses", "queue", "state"))
"""In the order the Lua source names them."""


class RedisGate:
    """The gate of one deployment, in the Redis of its sessions."""

    def __init__(
        self, store: RedisStore, *, lapse_ms: int = LAPSE_MS, waiting: int = WAITING
    ) -> None:
        self._store = store
        self._lapse_ms = lapse_ms
        self._waiting = waiting

    async def enter(self, ticket: Ticket, limits: Limits) -> Admitted | Queued | Full:
        """See `Gate.enter`."""
        reply = await self._store.function(
            "gate_enter",
            GATE_KEYS,
            ticket.id,
            ticket.interview_id,
            ticket.tokens,
            int(ticket.urgent),
            limits.calls,
            limits.tokens_per_minute,
            self._lapse_ms,
            self._waiting,
        )
        match reply[0]:
            case b"in":
                return Admitted()
            case b"full":
                return Full()
            case _:
                return Queued(reply[1])

    async def stay(self, tickets: Sequence[Ticket]) -> None:
        """See `Gate.stay`."""
        pairs = (text for ticket in tickets for text in (ticket.id, ticket.interview_id))
        await self._store.function("gate_stay", GATE_KEYS, self._lapse_ms, *pairs)

    async def leave(self, ticket: Ticket, limits: Limits, used: int) -> None:
        """See `Gate.leave`."""
        told = (ticket.id, ticket.tokens, limits.tokens_per_minute, used)
        await self._store.function("gate_leave", GATE_KEYS, *told)

    async def standing(self) -> Standing:
        """See `Gate.standing`."""
        running, _, queue, _ = GATE_KEYS
        found = await self._store.plain(("ZCARD", running), ("ZCARD", queue))
        return Standing(*found)
