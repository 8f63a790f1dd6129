"""An attempt of the model at a turn: as many calls as patience allows, in one stream of words."""

import asyncio
import math
from collections.abc import Callable, Iterator

from msgspec.structs import replace

from ai.booking import Ledger
from ai.budget import Budget, Busy, Held, Refusal, Till
from ai.call import Call
from ai.chunks import Reader
from ai.failures import CallFailedError
from ai.gate import Gate
from ai.handles import ResponsePosition
from ai.pieces import Progress
from ai.ports import Clock
from ai.provider import Body, Completions, Prompt
from ai.retries import Circuit, delay_before
from ai.settings import AiSettings
from ai.speech import AttemptFailedError, Listener, TurnRequest

BUDGET = "budget"
"""Why the bank speaks where no money is left for the model."""
BUSY = "busy"
"""Why it speaks where there was no place at the gate in time."""
MODEL_ATTEMPTS = 2
"""From the attempt after these on, the bank speaks: a turn must end some time."""
GATE_SHARE = 0.5
"""How much of its patience a turn may spend at the gate."""


class Model:
    """One of the configured models, as attempts use it. ``place`` is its place among them."""

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
        gate: Gate | None = None,
        place: int = 0,
    ) -> None:
        self.place = place
        self.provider = provider
        self.settings = settings
        self.ledger = ledger
        self.till = Till(
            budget,
            ledger.assumed,
            least=settings.least_output_tokens,
            most=settings.max_output_tokens,
            call_s=settings.call_timeout_s,
            gate=gate,
        )
        self.circuit = circuit
        self.clock = clock
        self.abandon = abandon
        """Takes the id of a stored response that nobody will ask for again."""


class ModelAttempt:
    """Gives a turn's words; where none came, ``lost`` tells afterwards why others have to.

    ``numbers`` counts the turn's calls; until ``until`` first words may be waited for.
    """

    def __init__(
        self,
        model: Model,
        request: TurnRequest,
        prompt: Prompt,
        position: ResponsePosition | None,
        *,
        numbers: Iterator[int],
        until: float,
    ) -> None:
        self.lost = ""
        self._model = model
        self._request = request
        self._prompt: Prompt | None = prompt
        self._size = prompt.size
        self._progress = Progress(request.logged, position, model.place)
        self._told = False
        self._numbers = numbers
        self._until = until

    async def run(self, listener: Listener) -> None:
        """Give the attempt's words to ``listener``, those that are not logged yet.

        Raises:
            AttemptFailedError: words are out, and no retry can bring the rest.
            Exception: what ``listener`` raised.
        """
        if self._progress.said >= self._model.settings.max_characters:
            return
        try:
            await self._speak(listener)
        finally:
            if not self._progress.said:
                self._drop()  # no word told anybody of it

    async def _speak(self, listener: Listener) -> None:
        retry = 0
        while True:
            held = await self._held()
            if not isinstance(held, Held):
                self.lost = BUSY if isinstance(held, Busy) else BUDGET
                if self._progress.said:  # nobody else can go on behind them
                    self._drop()
                    raise AttemptFailedError(self.lost)
                return
            # From here to the call's own `try` nothing waits: what is held will be settled.
            low, self._told = held.hold.low and not self._told, self._told or held.hold.low
            try:
                await self._call(held).run(listener.words, listener.low if low else None)
            except CallFailedError as failure:
                delay = self._consider(retry, failure)
            else:
                self._model.circuit.succeeded()
                return
            if delay is None:
                return
            await asyncio.sleep(delay)
            retry += 1

    async def _held(self) -> Held | Refusal | Busy:
        # A stored response costs what it costs, whoever listens.
        sunk = self._progress.position is not None
        if self._progress.said:
            wait_s = self._model.settings.token_timeout_s  # first words are out, whenever that was
        else:
            wait_s = GATE_SHARE * (self._until - self._model.clock.monotonic())
        return await self._model.till.hold(self._request, self._size, sunk=sunk, wait_s=wait_s)

    def _call(self, held: Held) -> Call:
        model, position = self._model, self._progress.position
        provider = model.provider
        stored = provider.stored or position is not None
        return Call(
            self._created(held) if position is None else provider.take_up(position),
            progress=self._progress,
            settings=model.settings,
            clock=model.clock,
            booking=model.ledger.begin(
                self._request,
                next(self._numbers),
                "responses" if stored else model.settings.api,
                hold=held.hold,
                slot=held.slot,
            ),
            estimates=model.ledger.estimates,
            input_size=self._size,
            output_tokens=held.output_tokens or model.settings.max_output_tokens,
            # What is taken up behind words has no first words to be in time with.
            until=math.inf if self._progress.said else self._until,
            stored=stored,
            begun=self._begun,
        )

    def _created(self, held: Held) -> tuple[Body, Reader]:
        prompt = self._prompt
        # It went with the first words; a call that broke after some is not made anew (`_consider`).
        assert prompt is not None  # noqa: S101
        return self._model.provider.create(replace(prompt, output_tokens=held.output_tokens))

    def _begun(self) -> None:
        """See `TurnRequest.let_go`: the prompt tells all of the interview once more."""
        self._prompt = None

    def _consider(self, retry: int, failure: CallFailedError) -> float | None:
        """Return how long to wait before the next call, None where the model gives up quietly."""
        delay = self._delay(retry, failure)
        if failure.gone or failure.code == "first_token_timeout" or delay is None:
            self._drop()
        if self._progress.said and self._progress.position is None:
            # When a provider drops many streams at once, each turn has another attempt.
            last = self._request.attempt >= MODEL_ATTEMPTS
            if failure.code != "response_gone":  # the model was not asked for words
                self._model.circuit.lost(failure, turn=last)
            raise AttemptFailedError(failure.code) from None
        if delay is None:
            self._model.circuit.lost(failure)
            self.lost = failure.code
        return delay

    def _delay(self, retry: int, failure: CallFailedError) -> float | None:
        model = self._model
        if retry >= model.settings.retries:
            return None
        if failure.ours and self._progress.position is None:
            return None  # a connection was waited for already; only a stored response is worth more
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
