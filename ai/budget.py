"""The money for a call is held before it and settled after it; where there is none, none is made.

Before that it takes its place at the gate.

What is held is what the call can cost at most: its prompt, and as many tokens as the model may
give. Where less is left, the model is allowed fewer tokens, down to a least of them; then it is
refused.
"""

from typing import Protocol

from msgspec import Struct

from ai.gate import Gate, Open, Slot
from ai.prices import Price, estimate_tokens
from protocol.ledger import Scope

BYTES_PER_TOKEN = 3
"""A prompt is hardly ever more tokens than its bytes by this; usually it is a quarter fewer."""
FRAME_TOKENS = 16
"""What the API's own frame around a prompt counts for."""
GRACE_S = 30.0
"""How much longer than its call may last a hold lives."""
REPLY_TOKENS = 250
"""What a reply is thought to take before it is known; the gate is told more exactly afterwards."""


class Payer(Protocol):
    """Who a call is made for."""

    @property
    def interview_id(self) -> str:
        """The interview that pays."""
        ...

    @property
    def user_id(self) -> str:
        """Whose interview it is."""
        ...


class Hold(Protocol):
    """Money that is held for one call. ``low``: a soft cap is passed."""

    @property
    def amount(self) -> int:
        """How much, in millionths of a US dollar."""
        ...

    @property
    def low(self) -> bool:
        """Whether a soft cap is passed."""
        ...

    def settle(self, cost: int, *, response_id: str, at: int) -> None:
        """Take what the call cost for what was held; called once, whatever becomes of the call.

        Must neither block nor raise. ``response_id`` names a stored response, empty for others: of
        its calls the one that began last, by ``at``, pays for all.
        """
        ...


class Refusal(Struct, frozen=True):
    """The budget ``scope`` has too little left; ``passing``: only until other calls have ended."""

    scope: Scope
    passing: bool = False


class Budget(Protocol):
    """Who is asked before each call."""

    async def reserve(
        self, payer: Payer, *, least: int, most: int, spare: int, hold_s: float, sunk: bool
    ) -> Hold | Refusal:
        """Hold ``most``, or what is left of it, but not less than ``least``.

        ``spare`` of the interview's budget is left alone, for calls that are more urgent.
        ``sunk``: it is spent already, and is only to be counted. Does not fail: where nobody knows
        the budgets it decides by itself. Cancelled, it holds nothing.
        """
        ...


class _Free(Struct, frozen=True):
    amount: int
    low: bool = False

    def settle(self, cost: int, *, response_id: str, at: int) -> None:
        pass


class Unlimited:
    """No budget at all."""

    async def reserve(
        self, payer: Payer, *, least: int, most: int, spare: int, hold_s: float, sunk: bool
    ) -> Hold | Refusal:
        """See `Budget.reserve`."""
        del payer, least, spare, hold_s, sunk
        return _Free(most)


class Held(Struct, frozen=True):
    """What a call may be made with. ``output_tokens``: None where the model may give all it can."""

    hold: Hold
    output_tokens: int | None
    slot: Slot


class Busy(Struct, frozen=True):
    """There was no place at the gate in time."""


class Till:
    """Turns the tokens of one model's calls into money that is held for them.

    ``least`` and ``most`` are tokens of output. Calls that are ``urgent`` go through the gate
    before the others.
    """

    def __init__(
        self,
        budget: Budget,
        price: Price,
        *,
        least: int,
        most: int,
        call_s: float,
        gate: Gate | None = None,
        urgent: bool = True,
    ) -> None:
        self._gate = gate or Open()
        self._urgent = urgent
        self._budget = budget
        self._price = price
        self._least = min(least, most)
        self._most = most
        self._hold_s = call_s + GRACE_S

    async def hold(
        self,
        payer: Payer,
        size: int,
        *,
        spare: int = 0,
        sunk: bool = False,
        wait_s: float = 0.0,
    ) -> Held | Refusal | Busy:
        """Hold a place and the price of a call with a prompt of ``size`` bytes.

        ``spare``: money of the interview's that is left alone.
        It waits for a place at the gate, at most ``wait_s``. Cancelled, it holds nothing.
        """
        slot = await self._gate.enter(
            payer.interview_id,
            tokens=estimate_tokens(size) + min(REPLY_TOKENS, self._most),
            urgent=self._urgent,
            wait_s=wait_s,
        )
        if slot is None:
            return Busy()
        paid = False
        try:
            held = await self._paid(payer, size, slot, spare=spare, sunk=sunk)
            paid = isinstance(held, Held)
        finally:
            if not paid:
                slot.leave(0)
        return held

    async def _paid(
        self, payer: Payer, size: int, slot: Slot, *, spare: int, sunk: bool
    ) -> Held | Refusal:
        prompt = -(-size // BYTES_PER_TOKEN) + FRAME_TOKENS
        most = self._price.most(prompt, self._most)
        hold = await self._budget.reserve(
            payer,
            least=self._price.most(prompt, self._least),
            most=most,
            spare=spare,
            hold_s=self._hold_s,
            sunk=sunk,
        )
        if isinstance(hold, Refusal):
            return hold
        tokens = None if hold.amount >= most else self._price.pays(hold.amount, prompt)
        return Held(hold, tokens, slot)
