"""`storage.gate.Gate` in memory, for simulations; the suite compares it with the functions."""

from collections.abc import Callable, Sequence

from storage.gate import LAPSE_MS, WAITING, Admitted, Full, Limits, Queued, Standing, Ticket

LOOKED_AT = 16
"""So many of those ahead may be waited for at once."""
_Place = tuple[bool, int, int]
"""Not urgent, then the order, then the number it came as."""


class TwinGate:
    """A gate that any number of instances share. ``now_ms`` tells the time."""

    def __init__(
        self, now_ms: Callable[[], int], *, lapse_ms: int = LAPSE_MS, waiting: int = WAITING
    ) -> None:
        self._now = now_ms
        self._lapse_ms = lapse_ms
        self._waiting = waiting
        self._running: dict[str, int] = {}
        self._lapses: dict[str, int] = {}
        self._queue: dict[str, _Place] = {}
        self._interviews: dict[str, str] = {}
        self._tokens: dict[str, int] = {}
        self._seq = 0
        self._level: float | None = None
        self._at = 0

    async def enter(self, ticket: Ticket, limits: Limits) -> Admitted | Queued | Full:
        """See `Gate.enter`."""
        now = self._now()
        self._reap(now)
        if ticket.id in self._running:
            self._running[ticket.id] = now + self._lapse_ms
            return Admitted()
        if ticket.id not in self._queue:
            if len(self._queue) >= self._waiting:
                return Full()
            self._line_up(ticket)
        self._lapses[ticket.id] = now + self._lapse_ms
        order = sorted(self._queue, key=lambda name: self._queue[name])
        ahead = order.index(ticket.id)
        if limits.calls and len(self._running) + ahead >= limits.calls:
            return Queued(ahead)
        rate = limits.tokens_per_minute
        if rate:
            need, level = min(ticket.tokens, rate), self._level_now(now, rate)
            before = sum(min(self._tokens[name], rate) for name in order[:ahead])
            if ahead > LOOKED_AT or level < before + need:
                return Queued(ahead)
            self._level, self._at = level - need, now
        del self._queue[ticket.id], self._lapses[ticket.id]
        self._running[ticket.id] = now + self._lapse_ms
        return Admitted()

    async def stay(self, tickets: Sequence[Ticket]) -> None:
        """See `Gate.stay`."""
        for ticket in tickets:
            self._running[ticket.id] = self._now() + self._lapse_ms
            self._interviews.setdefault(ticket.id, ticket.interview_id)

    async def leave(self, ticket: Ticket, limits: Limits, used: int) -> None:
        """See `Gate.leave`."""
        rate, now = limits.tokens_per_minute, self._now()
        if rate and ticket.id in self._running:
            spare = min(ticket.tokens, rate) - used
            level = min(rate, self._level_now(now, rate) + spare)
            self._level, self._at = max(-rate, level), now
        self._forget(ticket.id)

    async def standing(self) -> Standing:
        """See `Gate.standing`."""
        return Standing(len(self._running), len(self._queue))

    def _line_up(self, ticket: Ticket) -> None:
        self._seq += 1
        others = sum(name == ticket.interview_id for name in self._interviews.values())
        order = self._seq + others * len(self._queue)
        self._queue[ticket.id] = (not ticket.urgent, order, self._seq)
        self._interviews[ticket.id] = ticket.interview_id
        self._tokens[ticket.id] = ticket.tokens

    def _level_now(self, now: int, rate: int) -> float:
        if self._level is None:
            return rate
        return min(rate, self._level + max(0, now - self._at) * rate / 60_000)

    def _reap(self, now: int) -> None:
        for dues in (self._running, self._lapses):
            for name in [name for name, due in dues.items() if due <= now]:
                self._forget(name)

    def _forget(self, name: str) -> None:
        for known in (self._running, self._lapses, self._queue, self._interviews, self._tokens):
            known.pop(name, None)
