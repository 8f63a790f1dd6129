"""Makes the ledger row of a call, whichever way the call ends."""

from collections.abc import Mapping
from typing import Protocol

from ai.budget import Hold
from ai.chunks import Usage
from ai.estimates import Estimates
from ai.gate import Slot
from ai.ports import Clock, LedgerSink
from ai.prices import Price, dearest, price_of
from protocol.ledger import Api, CallOutcome, LedgerEntry, Task


class Subject(Protocol):
    """What a call is made for, as its row names it."""

    @property
    def interview_id(self) -> str:
        """The interview that pays."""
        ...

    @property
    def user_id(self) -> str:
        """Whose interview it is."""
        ...

    @property
    def turn(self) -> int:
        """The turn that is spoken, or the last that is read."""
        ...

    @property
    def attempt(self) -> int:
        """The attempt at the turn, or the sample."""
        ...


class Booking:
    """One call's row in the making: begun before the call, closed exactly once after it.

    What was held for the call is settled with the row, and its place at the gate given back.
    """

    def __init__(
        self,
        ledger: "Ledger",
        subject: Subject,
        call: int,
        api: Api,
        task: Task,
        *,
        hold: Hold | None,
        slot: Slot | None,
    ) -> None:
        self._ledger = ledger
        self._subject = subject
        self._call = call
        self._api: Api = api
        self._task: Task = task
        self._hold = hold
        self._slot = slot
        self._at = ledger.clock.now()
        self._began = ledger.clock.monotonic()
        self._first: int | None = None

    def first_words(self) -> None:
        """Note the time of the first text; later calls change nothing."""
        if self._first is None:
            self._first = self._elapsed()

    def close(
        self,
        outcome: CallOutcome,
        code: str = "",
        *,
        usage: Usage,
        exact: bool,
        response_id: str = "",
    ) -> None:
        """Hand the row to the sink."""
        ledger, subject = self._ledger, self._subject
        free = self._api in ("bank", "cache")
        model = self._api if free else ledger.model
        price = Price(0, 0, 0) if free else ledger.price
        entry = LedgerEntry(
            id=ledger.clock.nonce(),
            interview_id=subject.interview_id,
            user_id=subject.user_id,
            turn=subject.turn,
            attempt=subject.attempt,
            call=self._call,
            task=self._task,
            at=self._at,
            model=model,
            api=self._api,
            outcome=outcome,
            code=code,
            response_id=response_id,
            input_tokens=usage.input_tokens,
            cached_tokens=usage.cached_tokens,
            output_tokens=usage.output_tokens,
            exact=exact,
            cost_micro_usd=price.cost(usage) if price else 0,
            priced=price is not None,
            first_token_ms=self._first,
            total_ms=self._elapsed(),
        )
        try:
            ledger.sink.record(entry)
        finally:  # whatever it meets: what is held would be held for as long as the process lives
            if self._hold is not None:
                cost = ledger.assumed.cost(usage)
                self._hold.settle(cost, response_id=response_id, at=self._at)
            if self._slot is not None:
                self._slot.leave(usage.input_tokens + usage.output_tokens)

    def _elapsed(self) -> int:
        return round((self._ledger.clock.monotonic() - self._began) * 1000)


class Ledger:
    """What all bookings of an interviewer, or of an assessor, share."""

    def __init__(
        self, sink: LedgerSink, clock: Clock, model: str, prices: Mapping[str, Price]
    ) -> None:
        self.sink = sink
        self.clock = clock
        self.model = model
        self.price = price_of(model, prices)
        self.assumed = self.price or dearest(prices)
        """What budgets go by: a model without a price counts like the dearest."""
        self.estimates = Estimates()
        """What calls come to whose usage is not told."""

    def begin(
        self,
        subject: Subject,
        call: int,
        api: Api,
        task: Task = "speak",
        *,
        hold: Hold | None = None,
        slot: Slot | None = None,
    ) -> Booking:
        """Begin the row of a call that starts now, for which ``hold`` and ``slot`` are held."""
        return Booking(self, subject, call, api, task, hold=hold, slot=slot)
