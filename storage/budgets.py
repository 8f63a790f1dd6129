"""The budgets of the model: for an interview, for a user's day, and for the deployment's day.

Before a call its price is held, as far as every cap leaves room; after it what it did cost takes
the hold's place. What is spent and held together never exceeds a cap, whoever asks at the same
time. A hold whose instance died lapses. Days are those of UTC; amounts are millionths of a US
dollar.
"""

from typing import Protocol

from msgspec import Struct

from protocol.ledger import Scope

SCOPES: tuple[Scope, ...] = ("interview", "user_day", "day")


class Caps(Struct, frozen=True, kw_only=True):
    """The hard caps, 0 for none; from the share ``soft`` of one on, a grant says so."""

    interview: int = 0
    user_day: int = 0
    day: int = 0
    soft: float = 1.0


class Payer(Struct, frozen=True, kw_only=True):
    """Whose budgets a call is on. ``day`` is the date of the call's beginning, ``2026-06-01``."""

    interview_id: str
    user_id: str
    day: str


class Granted(Struct, frozen=True):
    """``amount`` is held; ``low`` are the budgets whose soft cap is passed."""

    amount: int
    low: tuple[Scope, ...] = ()


class Refused(Struct, frozen=True):
    """The budget ``scope`` has too little left.

    ``passing``: it would do without what is held for other calls, so that it may do soon.
    """

    scope: Scope
    passing: bool = False


class Spent(Struct, frozen=True):
    """What one budget has spent, and what is held of it."""

    spent: int
    held: int


class Budgets(Protocol):
    """The budgets of one deployment. Every method may raise `StorageError` and be called again."""

    async def reserve(
        self, call: str, payer: Payer, *, least: int, most: int, caps: Caps, hold_ms: int
    ) -> Granted | Refused:
        """Hold ``most`` for ``call``, or what is left of it, but not less than ``least``.

        A repeat holds nothing more, and a call that was settled is held nothing for. The hold
        lapses after ``hold_ms``.
        """
        ...

    async def settle(
        self, call: str, payer: Payer, cost: int, *, response_id: str = "", at: int = 0
    ) -> bool:
        """Let go of what is held for ``call`` and count its cost; False: that was done before.

        It is counted also where nothing is held. Of the calls with the same ``response_id`` only
        the one that began last, by ``at``, is counted.
        """
        ...

    async def spent(self, payer: Payer) -> dict[Scope, Spent]:
        """Return how the budgets stand."""
        ...
