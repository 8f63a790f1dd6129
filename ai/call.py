"""One call to the model: its stream, its time limits, its clean text, its ledger row."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, closing

from ai.booking import Booking
from ai.chunks import Reader, Usage
from ai.failures import BROKEN, CallFailedError, Remedy, translate
from ai.patience import Patience
from ai.pieces import Pieces, Progress
from ai.ports import Clock
from ai.prices import estimate_tokens
from ai.provider import Body
from ai.settings import AiSettings
from ai.speech import Words
from ai.sse import EventSplitter
from protocol.ledger import CallOutcome

USAGE_GRACE_S = 2.0
"""How long a finished text waits for its usage."""
DRAIN_S = 0.1
"""How long a finished stream may take to end, so that its connection can be used again."""

_NOTHING = Usage(0, 0, 0)


class Call:
    """One call; `words` may be iterated once, and closing it aborts the call."""

    def __init__(
        self,
        stream: tuple[Body, Reader],
        *,
        progress: Progress,
        settings: AiSettings,
        clock: Clock,
        booking: Booking,
        input_size: int,
        output_tokens: int,
        until: float,
        stored: bool,
    ) -> None:
        self._body, self._reader = stream
        self._progress = progress
        self._settings = settings
        self._clock = clock
        self._booking = booking
        self._input_tokens = estimate_tokens(input_size)
        self._output_tokens = output_tokens
        self._stored = stored
        self._pieces = Pieces(progress, settings.max_characters)
        self._taken_up = progress.position is not None
        self._began = clock.monotonic()
        self._first_due = min(self._began + settings.first_token_timeout_s, until)
        self._heard: float | None = None
        self._finished: float | None = None
        self._accepted = False

    async def words(self) -> AsyncGenerator[Words]:
        """Give the text piece by piece.

        Raises:
            CallFailedError: the call broke, at any place.
        """
        outcome: CallOutcome = "aborted"
        code = ""
        try:
            async with AsyncExitStack() as stack:
                pieces = self._read(await self._open(stack))
                async with aclosing(pieces):
                    async for piece in pieces:
                        yield piece
                        self._heard = self._clock.monotonic()
            outcome, code = "completed", self._remark()
        except (CallFailedError, *BROKEN) as error:
            failure = translate(error, self._clock.now(), stored=self._taken_up)
            outcome, code = "refused" if failure.code == "refused" else "failed", failure.code
            raise failure from None  # the provider's own words stay here
        finally:
            self._book(outcome, code)

    async def _open(self, stack: AsyncExitStack) -> AsyncIterator[bytes]:
        try:
            async with asyncio.timeout_at(self._first_due):
                response = await stack.enter_async_context(self._body)
        except TimeoutError:
            self._accepted = True  # as far as anybody knows
            raise CallFailedError("first_token_timeout") from None
        except asyncio.CancelledError:
            self._accepted = True
            raise
        self._accepted = True
        return response.iter_bytes()

    async def _read(self, body: AsyncIterator[bytes]) -> AsyncGenerator[Words]:
        splitter = EventSplitter()
        reader, pieces = self._reader, self._pieces
        with closing(Patience()) as patience:
            while (chunk := await self._next(body, patience)) is not None:
                for data in splitter.feed(chunk):
                    text = reader.read(data)
                    if self._stored and reader.response_id:
                        pieces.begin(reader.response_id, reader.sequence)
                    piece = pieces.take(text, reader.sequence) if text else None
                    if piece is not None:
                        yield piece
                    if pieces.full:
                        return
        piece = pieces.close()
        if piece is not None:
            yield piece
        self._must_be_whole()

    async def _next(self, body: AsyncIterator[bytes], patience: Patience) -> bytes | None:
        due, code = self._due()
        try:
            return await patience.wait(anext(body, None), due)
        except TimeoutError:
            failure = CallFailedError(code)
        except BROKEN as error:
            failure = translate(error, self._clock.now(), stored=False)
        if self._reader.ended:
            return None  # the text is whole; what was missing was its usage or the stream's end
        raise failure from None

    def _due(self) -> tuple[float, str]:
        """Return when the next bytes are due at the latest, and what their absence is called."""
        if self._reader.ended:
            if self._finished is None:
                self._finished = self._clock.monotonic()
            return self._finished + (DRAIN_S if self._reader.done else USAGE_GRACE_S), ""
        if self._heard is None:
            due, code = self._first_due, "first_token_timeout"
        else:
            due, code = self._heard + self._settings.token_timeout_s, "token_timeout"
        last = self._began + self._settings.call_timeout_s
        return (last, "call_timeout") if last < due else (due, code)

    def _must_be_whole(self) -> None:
        if not self._reader.ended:
            raise CallFailedError("no_end")
        if not self._progress.said:
            tired = self._reader.ended == "length"
            raise CallFailedError("empty", Remedy.BANK if tired else Remedy.RETRY)

    def _remark(self) -> str:
        if self._pieces.full:
            return "too_long"
        return "" if self._reader.ended == "stop" else self._reader.ended[:64]

    def _book(self, outcome: CallOutcome, code: str) -> None:
        usage = self._reader.usage
        if usage is None and self._accepted:
            said = min(estimate_tokens(self._progress.size), self._output_tokens)
            estimate = Usage(self._input_tokens, 0, said)
        else:
            estimate = _NOTHING
        self._booking.close(
            outcome,
            code,
            usage=usage or estimate,
            exact=usage is not None or not self._accepted,
            response_id=self._reader.response_id if self._stored else "",
        )
