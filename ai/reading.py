"""Listening to a model's stream: bytes in, clean words out, each where and when they arrive.

Nothing is awaited between the socket and the log, so no task wakes for a word. One timer stands
under a whole stream; when it rings, it looks whether anything is due by then.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Protocol

from ai.chunks import Reader
from ai.failures import BROKEN, CallFailedError, translate
from ai.http.body import Chunks
from ai.pieces import Pieces
from ai.ports import Clock
from ai.sse import EventSplitter

USAGE_GRACE_S = 2.0
"""How long a finished text waits for its usage."""
DRAIN_S = 0.1
"""How long a finished stream may take to end, so that its connection can be used again."""


class Hear(Protocol):
    """Takes words. What it raises ends the call."""

    def __call__(self, text: str, handle: str) -> None:
        """Take the next piece and its handle; see `ai.speech.Words`."""
        ...


class Limits(NamedTuple):
    """When, on the loop's clock, words are due at the latest: the first, each further one, all."""

    first: float
    between_s: float
    last: float


class Reading:
    """One stream's way to ``hear``; ``begun`` is told of the first words. It is a `Sink`."""

    __slots__ = (
        "_begun", "_clock", "_finished", "_hear", "_heard", "_limits", "_loop", "_over", "_pieces",
        "_reader", "_splitter", "_stored", "_timer",
    )  # fmt: skip

    def __init__(
        self,
        reader: Reader,
        pieces: Pieces,
        hear: Hear,
        *,
        begun: Callable[[], None],
        limits: Limits,
        clock: Clock,
        stored: bool,
    ) -> None:
        self._reader, self._pieces, self._hear, self._begun = reader, pieces, hear, begun
        self._limits, self._clock, self._stored = limits, clock, stored
        self._splitter = EventSplitter()
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._heard: float | None = None
        self._finished: float | None = None

    async def all_of(self, stream: Chunks) -> None:
        """Hand out everything that ``stream`` has, until its text is whole.

        Raises:
            CallFailedError: it broke off, or is late.
            Exception: what ``hear`` raised.
        """
        try:
            self._watch()
            stream.listen(self)
            await self._over
        finally:
            self._stop()

    # --- Sink ---

    def data(self, chunk: bytes) -> None:
        """See `Sink.data`."""
        if self._over.done():
            return
        try:
            for data in self._splitter.feed(chunk):
                self._take(data)
                if self._pieces.full:
                    self._over.set_result(None)
                    return
        except Exception as error:  # noqa: BLE001  # whoever waits for the stream gets it
            self._over.set_exception(error)
            return
        if self._reader.ended:
            self._watch()

    def end(self, error: Exception | None) -> None:
        """See `Sink.end`."""
        if self._over.done():
            return
        if error is None or (self._reader.ended and isinstance(error, BROKEN)):
            self._over.set_result(None)  # what is missing is its usage or the stream's end
        elif isinstance(error, BROKEN):
            self._over.set_exception(translate(error, self._clock.now(), stored=False))
        else:
            self._over.set_exception(error)

    def _take(self, data: bytes) -> None:
        reader, pieces = self._reader, self._pieces
        text = reader.read(data)
        if self._stored and reader.response_id:
            pieces.begin(reader.response_id, reader.sequence)
        if not text:
            return
        handle = ""
        if not pieces.plain(text):
            piece = pieces.take(text, reader.sequence)
            if piece is None:
                return
            text, handle = piece.text, piece.handle
        first, self._heard = self._heard is None, self._loop.time()
        if first:
            self._begun()
            self._watch()  # the next words may be due before the first ones were
        self._hear(text, handle)

    # --- time ---

    def _due(self) -> tuple[float, str]:
        """Return when the next words are due at the latest, and what their absence is called."""
        reader, limits = self._reader, self._limits
        if reader.ended:
            if self._finished is None:
                self._finished = self._loop.time()
            return self._finished + (DRAIN_S if reader.done else USAGE_GRACE_S), ""
        if self._heard is None:
            due, code = limits.first, "first_token_timeout"
        else:
            due, code = self._heard + limits.between_s, "token_timeout"
        return (limits.last, "call_timeout") if limits.last < due else (due, code)

    def _watch(self) -> None:
        """Let the timer ring no later than what is due now; one that rings early does no harm."""
        due, _ = self._due()
        if self._timer is None or self._timer.when() > due:
            self._stop_timer()
            self._timer = self._loop.call_at(due, self._ring)

    def _ring(self) -> None:
        self._timer = None
        due, code = self._due()
        if self._over.done():
            return
        if self._loop.time() < due:
            self._timer = self._loop.call_at(due, self._ring)
        elif self._reader.ended:
            self._over.set_result(None)
        else:
            self._over.set_exception(CallFailedError(code))

    def _stop(self) -> None:
        """Take nothing more."""
        self._stop_timer()
        if not self._over.cancel() and not self._over.cancelled():
            self._over.exception()  # a cancellation came first: nobody else will look at it

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
