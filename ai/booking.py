"""Makes the ledger row of a call, whichever way the call ends."""

from collections.abc import Mapping

from ai.chunks import Usage
from ai.ports import Clock, LedgerSink
from ai.prices import Price, price_of
from ai.speech import TurnRequest
from protocol.ledger import Api, CallOutcome, LedgerEntry


class Booking:
    """One call's row in the making: begun before the call, closed exactly once after it."""

    def __init__(self, ledger: "Ledger", request: TurnRequest, call: int, api: Api) -> None:
        self._ledger = ledger
        self._request = request
        self._call = call
        self._api: Api = api
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
        ledger, request = self._ledger, self._request
        model = "bank" if self._api == "bank" else ledger.model
        price = Price(0, 0, 0) if self._api == "bank" else price_of(model, ledger.prices)
        entry = LedgerEntry(
            id=ledger.clock.nonce(),
            interview_id=request.interview_id,
            user_id=request.user_id,
            turn=request.turn,
            attempt=request.attempt,
            call=self._call,
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
        ledger.sink.record(entry)

    def _elapsed(self) -> int:
        return round((self._ledger.clock.monotonic() - self._began) * 1000)


class Ledger:
    """What all bookings of an interviewer share."""

    def __init__(
        self, sink: LedgerSink, clock: Clock, model: str, prices: Mapping[str, Price]
    ) -> None:
        self.sink = sink
        self.clock = clock
        self.model = model
        self.prices = prices

    def begin(self, request: TurnRequest, call: int, api: Api) -> Booking:
        """Begin the row of a call that starts now."""
        return Booking(self, request, call, api)
