"""An interviewer whose words are drawn, with every way in which an attempt can go wrong."""

import asyncio
import random

from ai.speech import AttemptFailedError, Listener, TurnRequest
from protocol.scalars import Source

WORDS = ("why ", "how ", "naïve ", "日本 ", "🦁 ", "then ", "and ", "“so” ", "e\u0301 ")


class Speaker:
    """Speaks turns of some words. Where it is ``stored``, any instance can go on behind a word."""

    def __init__(self, draw: random.Random, *, stored: bool, faults: bool) -> None:
        self._draw = draw
        self._stored = stored
        self._faults = faults

    async def speak(self, request: TurnRequest, listener: Listener) -> Source:
        draw = self._draw
        text, place = self._text(request), len(request.logged)
        if not text.startswith(request.logged):
            raise AttemptFailedError("not_resumable")
        if self._faults and not place and draw.random() < 0.05:
            await listener.fallback("status_500")
        breaks_at = draw.randrange(1, 400) if self._faults and draw.random() < 0.1 else None
        await asyncio.sleep(draw.expovariate(5))
        while place < len(text):
            step = draw.randrange(1, 12)
            handle = f"{request.attempt}" if self._stored else ""
            listener.words(text[place : place + step], handle)
            place = min(len(text), place + step)
            if breaks_at is not None and place > breaks_at:
                raise AttemptFailedError("stalled")
            await asyncio.sleep(draw.expovariate(30))
        return "model"

    def resumable(self, handle: str) -> bool:
        return bool(handle)

    def stores(self, handle: str) -> bool:
        return bool(handle)

    def needs(self, logged: str, handle: str) -> bool:
        return logged == handle

    def source(self, handle: str | None, attempt: int) -> Source:
        return "model" if handle or attempt == 1 else "bank"

    async def forget(self, handle: str) -> bool:
        return bool(handle)

    def _text(self, request: TurnRequest) -> str:
        """The same for one attempt everywhere where it is stored; else never the same."""
        key = f"{request.interview_id} {request.turn} {request.attempt}"
        draw = random.Random(key if self._stored else self._draw.random())
        return "".join(draw.choice(WORDS) for _ in range(draw.randrange(1, 90)))
