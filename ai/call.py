"""One call to the model: its stream, its time limits, its clean text, its ledger row."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from msgspec.structs import replace

from ai.booking import Booking
from ai.chunks import Reader, Usage
from ai.estimates import Estimates
from ai.failures import BROKEN, CallFailedError, Remedy, is_free, translate
from ai.http.body import Chunks
from ai.pieces import Pieces, Progress
from ai.ports import Clock
from ai.provider import Body
from ai.reading import Hear, Limits, Reading
from ai.settings import AiSettings
from protocol.ledger import CallOutcome

_NOTHING = Usage(0, 0, 0)


class Call:
    """One call; `run` it once. Cancelling that aborts the call."""

    def __init__(
        self,
        stream: tuple[Body, Reader],
        *,
        progress: Progress,
        settings: AiSettings,
        clock: Clock,
        booking: Booking,
        estimates: Estimates,
        input_size: int,
        output_tokens: int,
        until: float,
        stored: bool,
        begun: Callable[[], None],
    ) -> None:
        """``begun`` is told of the first words, ``until`` is when they are due at the latest."""
        self._body, self._reader = stream
        self._progress = progress
        self._clock = clock
        self._booking = booking
        self._estimates = estimates
        self._input_size = input_size
        self._output_tokens = output_tokens
        self._stored = stored
        self._begun = begun
        self._pieces = Pieces(progress, settings.max_characters)
        self._taken_up = progress.position is not None
        began = clock.monotonic()
        self._limits = Limits(
            first=min(began + settings.first_token_timeout_s, until),
            between_s=settings.token_timeout_s,
            last=began + settings.call_timeout_s,
        )
        self._free = True

    async def run(self, hear: Hear, before: Callable[[], Awaitable[None]] | None = None) -> None:
        """Hand out the text piece by piece, in calls of ``hear``; ``before`` is awaited first.

        Raises:
            CallFailedError: the call broke, at any place.
            Exception: what ``hear`` or ``before`` raised; the call is aborted.
        """
        outcome: CallOutcome = "aborted"
        code = ""
        try:
            if before is not None:
                await before()
            async with AsyncExitStack() as stack:
                await self._read(await self._open(stack), hear)
            outcome, code = "completed", self._remark()
        except (CallFailedError, *BROKEN) as error:
            failure = translate(error, self._clock.now(), stored=self._taken_up)
            outcome, code = "refused" if failure.code == "refused" else "failed", failure.code
            raise failure from None  # the provider's own words stay here
        finally:
            self._book(outcome, code)

    async def _open(self, stack: AsyncExitStack) -> Chunks:
        if self._clock.monotonic() >= self._limits.first:
            raise CallFailedError("first_token_timeout", ours=True)
        self._free = False  # as far as anybody knows
        try:
            async with asyncio.timeout_at(self._limits.first):
                return await stack.enter_async_context(self._body)
        except TimeoutError:
            raise CallFailedError("first_token_timeout") from None
        except BROKEN as error:
            self._free = is_free(error)
            raise

    async def _read(self, stream: Chunks, hear: Hear) -> None:
        reading = Reading(
            self._reader,
            self._pieces,
            hear,
            begun=self._first_words,
            limits=self._limits,
            clock=self._clock,
            stored=self._stored,
        )
        await reading.all_of(stream)
        if self._pieces.full:
            return
        piece = self._pieces.close()
        if piece is not None:
            self._first_words()
            hear(piece.text, piece.handle)
        self._must_be_whole()

    def _first_words(self) -> None:
        self._booking.first_words()
        self._begun()

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
        usage, asked, said = self._reader.usage, self._input_size, self._progress.size
        estimate = _NOTHING
        if usage is not None:
            if outcome == "completed":
                self._estimates.learn(asked, said, usage)
        elif not self._free:
            estimate = self._estimates.usage(asked, said)
            output = min(estimate.output_tokens, self._output_tokens)
            estimate = replace(estimate, output_tokens=output)
        self._booking.close(
            outcome,
            code,
            usage=usage or estimate,
            exact=usage is not None or self._free,
            response_id=self._reader.response_id if self._stored else "",
        )
