"""The gate before the model: how many calls run at once, and how many tokens a minute they take.

One gate for the whole deployment. Whoever finds no room waits in a queue: those that speak before
those that may come later, then who came first; an interview that has calls under way, or waits for
others already, stands a whole queue's length further back for each. Nobody is woken: whoever waits
asks again, and whoever does not ask any more, or dies with a call, loses the place.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

LAPSE_MS = 4_000
"""A call, or a place in the queue, that nobody spoke for so long is given up."""
WAITING = 2_000
"""So many may wait; more are refused."""


class Limits(Struct, frozen=True, kw_only=True):
    """How much goes through; 0: any number."""

    calls: int = 0
    tokens_per_minute: int = 0


class Ticket(Struct, frozen=True, kw_only=True):
    """A call that wants in. ``tokens`` is how many it is thought to take, prompt included."""

    id: str
    interview_id: str
    tokens: int
    urgent: bool = True


class Admitted(Struct, frozen=True):
    """The call may be made; say that it runs, and when it is over."""


class Queued(Struct, frozen=True):
    """There is no room yet; ``ahead`` others are before this one."""

    ahead: int


class Full(Struct, frozen=True):
    """So many wait that there is no place in the queue."""


class Standing(Struct, frozen=True):
    """How many calls run, and how many wait."""

    running: int
    waiting: int


class Gate(Protocol):
    """One deployment's gate. Every method may raise `StorageError` and be called again."""

    async def enter(self, ticket: Ticket, limits: Limits) -> Admitted | Queued | Full:
        """Ask for admission; to be repeated while it is `Queued`. Once admitted it stays so."""
        ...

    async def stay(self, tickets: Sequence[Ticket]) -> None:
        """Say that admitted calls still run."""
        ...

    async def leave(self, ticket: Ticket, limits: Limits, used: int) -> None:
        """Say that a call is over, or given up, and took ``used`` tokens. Works without memory."""
        ...

    async def standing(self) -> Standing:
        """Return how much is going on."""
        ...
