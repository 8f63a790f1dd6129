"""An attempt of the model at a turn: as many calls as patience allows, in one stream of words."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from ai.booking import Ledger
from ai.call import Call
from ai.failures import CallFailedError
from ai.handles import ResponsePosition
from ai.pieces import Progress
from ai.ports import Clock
from ai.provider import Completions, Prompt
from ai.retries import Circuit, delay_before
from ai.settings import AiSettings
from ai.speech import AttemptFailedError, TurnRequest, Words


class Model:
    """The configured model, as attempts use it."""

    def __init__(
        self,
        *,
        provider: Completions,
        settings: AiSettings,
        ledger: Ledger,
        circuit: Circuit,
        clock: Clock,
        abandon: Callable[[str], None],
    ) -> None:
        self.provider = provider
        self.settings = settings
        self.ledger = ledger
        self.circuit = circuit
        self.clock = clock
        self.abandon = abandon
        """Takes the id of a stored response that nobody will ask for again."""


class ModelAttempt:
    """Gives a turn's words; where none came, ``lost`` tells afterwards why the bank has to."""

    def __init__(
        self, model: Model, request: TurnRequest, prompt: Prompt, position: ResponsePosition | None
    ) -> None:
        self.lost = ""
        self._model = model
        self._request = request
        self._prompt = prompt
        self._progress = Progress(request.logged, position)
        self._until = model.clock.monotonic() + model.settings.patience_s

    async def words(self) -> AsyncGenerator[Words]:
        """Give the attempt's words, those that are not logged yet.

        Raises:
            AttemptFailedError: words are out, and no retry can bring the rest.
        """
        if self._progress.said >= self._model.settings.max_characters:
            return
        for retry in itertools.count():
            try:
                async with aclosing(self._call(retry + 1).words()) as pieces:
                    async for piece in pieces:
                        yield piece
            except CallFailedError as failure:
                delay = self._consider(retry, failure)
            else:
                self._model.circuit.succeeded()
                return
            if delay is None:
                return
            await asyncio.sleep(delay)

    def _call(self, number: int) -> Call:
        model, position = self._model, self._progress.position
        provider = model.provider
        stored = provider.stored or position is not None
        return Call(
            provider.create(self._prompt) if position is None else provider.take_up(position),
            progress=self._progress,
            settings=model.settings,
            clock=model.clock,
            booking=model.ledger.begin(
                self._request, number, "responses" if stored else model.settings.api
            ),
            input_size=self._prompt.size,
            until=self._until,
            stored=stored,
        )

    def _consider(self, retry: int, failure: CallFailedError) -> float | None:
        """Return how long to wait before the next call, None where the model gives up quietly."""
        said = self._progress.said > 0
        delay = self._delay(retry, failure)
        if failure.gone or failure.code == "first_token_timeout" or delay is None:
            self._drop()
        if said and self._progress.position is None:
            raise AttemptFailedError(failure.code) from None
        if delay is None:
            self._model.circuit.lost(failure)
            self.lost = failure.code
        return delay

    def _delay(self, retry: int, failure: CallFailedError) -> float | None:
        model = self._model
        if retry >= model.settings.retries:
            return None
        delay = delay_before(retry, failure, model.clock.random())
        if delay is None or self._progress.said:
            return delay
        return delay if model.clock.monotonic() + delay < self._until else None

    def _drop(self) -> None:
        """Let go of the stored response: it will not be taken up again."""
        position = self._progress.position
        if position is not None:
            self._progress.position = None
            self._model.abandon(position.response_id)
