"""How prepared words are spoken: at a pace, in pieces of a word, resumable at each of them."""

import asyncio
import re
from collections.abc import Callable
from typing import Literal

from ai.booking import Ledger
from ai.chunks import Usage
from ai.handles import BankPosition, CachePosition
from ai.reading import Hear
from ai.speech import AttemptFailedError, TurnRequest
from ai.wording.voice import Wordings, shared_text
from protocol.ledger import CallOutcome

_PIECE = re.compile(r"\s*\S+")


class Pace:
    """Speaks a text; each turn has its ledger row, which costs nothing."""

    def __init__(self, ledger: Ledger, words_per_second: float) -> None:
        self._ledger = ledger
        self._pause_s = 1 / words_per_second if words_per_second > 0 else 0.0

    async def speak(
        self,
        request: TurnRequest,
        text: str,
        start: int,
        source: Literal["bank", "cache"],
        hear: Hear,
    ) -> None:
        """Give ``text`` to ``hear`` from ``start`` on."""
        position = BankPosition if source == "bank" else CachePosition
        booking = self._ledger.begin(request, 1, source)
        outcome: CallOutcome = "aborted"
        try:
            for place, match in enumerate(_PIECE.finditer(text, start)):
                if place and self._pause_s:
                    await asyncio.sleep(self._pause_s)
                booking.first_words()
                hear(match[0], str(position(match.end())))
            outcome = "completed"
        finally:
            booking.close(outcome, usage=Usage(0, 0, 0), exact=True)


class BankVoice:
    """Speaks what ``compose`` returns, which must be the same for the same turn everywhere."""

    def __init__(self, compose: Callable[[TurnRequest], str], pace: Pace) -> None:
        self._compose = compose
        self._pace = pace

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
        await self._pace.speak(request, text, start, "bank", hear)


class SharedVoice:
    """Speaks turns of shared wordings, where there are some."""

    def __init__(self, wordings: Wordings, pace: Pace) -> None:
        self._wordings = wordings
        self._pace = pace

    async def speak(self, request: TurnRequest, position: CachePosition | None, hear: Hear) -> bool:
        """Give the turn's words to ``hear``, from behind ``position`` on; False: there are none.

        Raises:
            AttemptFailedError: words are out, and the cache does not hold the rest any more.
        """
        text = await shared_text(self._wordings, request)
        start = position.length if position else 0
        if request.logged != text[:start]:
            raise AttemptFailedError("cache_changed")
        if not text:
            return False
        await self._pace.speak(request, text, start, "cache", hear)
        return True
