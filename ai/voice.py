"""How the question bank speaks: at a pace, in pieces of a word, resumable at each of them."""

import asyncio
import re
from collections.abc import Callable

from ai.booking import Ledger
from ai.chunks import Usage
from ai.handles import BankPosition
from ai.reading import Hear
from ai.speech import AttemptFailedError, TurnRequest
from protocol.ledger import CallOutcome

_PIECE = re.compile(r"\s*\S+")


class BankVoice:
    """Speaks what ``compose`` returns, which must be the same for the same turn everywhere."""

    def __init__(
        self, compose: Callable[[TurnRequest], str], ledger: Ledger, words_per_second: float
    ) -> None:
        self._compose = compose
        self._ledger = ledger
        self._pause_s = 1 / words_per_second if words_per_second > 0 else 0.0

    async def speak(self, request: TurnRequest, position: BankPosition | None, hear: Hear) -> None:
        """Give the turn's words to ``hear``, from behind ``position`` on.

        Raises:
            AttemptFailedError: what is logged is not the beginning of this text; another version of
                the bank spoke.
        """
        text = self._compose(request).strip()
        start = position.length if position else 0
        if request.logged != text[:start]:
            raise AttemptFailedError("bank_changed")
        booking = self._ledger.begin(request, 1, "bank")
        outcome: CallOutcome = "aborted"
        try:
            for place, match in enumerate(_PIECE.finditer(text, start)):
                if place and self._pause_s:
                    await asyncio.sleep(self._pause_s)
                booking.first_words()
                hear(match[0], str(BankPosition(match.end())))
            outcome = "completed"
        finally:
            booking.close(outcome, usage=Usage(0, 0, 0), exact=True)
