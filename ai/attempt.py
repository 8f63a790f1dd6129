"""An attempt of the model at a turn: as many calls as patience allows, in one stream of words."""

import asyncio
import itertools
from collections.abc import Callable

from msgspec.structs import replace

from ai.booking import Ledger
from ai.budget import Budget, Held, Refusal, Till
from ai.call import Call
from ai.failures import CallFailedError
from ai.handles import ResponsePosition
from ai.pieces import Progress
from ai.ports import Clock
from ai.provider import Completions, Prompt
from ai.retries import Circuit, delay_before
from ai.settings import AiSettings
from ai.speech import AttemptFailedError, Listener, TurnRequest

BUDGET = "budget"
"""Why the bank speaks where no money is left for the model."""


class Model:
    """The configured model, as attempts use it."""

    def __init__(
        self,
        *,
        provider: Completions,
        settings: AiSettings,
        ledger: Ledger,
        budget: Budget,
        circuit: Circuit,
        clock: Clock,
        abandon: Callable[[str], None],
    ) -> None:
        self.provider = provider
        self.settings = settings
        self.ledger = ledger
        self.till = Till(
            budget,
            ledger.assumed,
            least=settings.least_output_tokens,
            most=settings.max_output_tokens,
            call_s=settings.call_timeout_s,
        )
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
        self._told = False
        self._until = model.clock.monotonic() + model.settings.patience_s

    async def run(self, listener: Listener) -> None:
        """Give the attempt's words to ``listener``, those that are not logged yet.

        Raises:
            AttemptFailedError: words are out, and no retry can bring the rest.
            Exception: what ``listener`` raised.
        """
        if self._progress.said >= self._model.settings.max_characters:
            return
        for retry in itertools.count():
            held = await self._held()
            if isinstance(held, Refusal):
                self.lost = BUDGET
                return
            # From here to the call's own `try` nothing waits: what is held will be settled.
            low, self._told = held.hold.low and not self._told, self._told or held.hold.low
            try:
                await self._call(retry + 1, held).run(listener.words, listener.low if low else None)
            except CallFailedError as failure:
                delay = self._consider(retry, failure)
            else:
                self._model.circuit.succeeded()
                return
            if delay is None:
                return
            await asyncio.sleep(delay)

    async def _held(self) -> Held | Refusal:
        # A stored response costs what it costs, whoever listens.
        sunk = self._progress.position is not None
        return await self._model.till.hold(self._request, self._prompt.size, sunk=sunk)

    def _call(self, number: int, held: Held) -> Call:
        model, position = self._model, self._progress.position
        provider = model.provider
        stored = provider.stored or position is not None
        prompt = replace(self._prompt, output_tokens=held.output_tokens)
        return Call(
            provider.create(prompt) if position is None else provider.take_up(position),
            progress=self._progress,
            settings=model.settings,
            clock=model.clock,
            booking=model.ledger.begin(
                self._request,
                number,
                "responses" if stored else model.settings.api,
                hold=held.hold,
            ),
            input_size=prompt.size,
            output_tokens=held.output_tokens or model.settings.max_output_tokens,
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
