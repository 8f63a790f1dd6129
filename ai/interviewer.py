"""The interviewer: the model while it can, the question bank when it cannot, in one form."""

from ai.attempt import Model, ModelAttempt
from ai.errands import Errands
from ai.handles import BankPosition, ResponsePosition, parse_handle
from ai.prompts import build_prompt
from ai.speech import AttemptFailedError, Listener, TurnRequest
from ai.voice import BankVoice
from protocol.scalars import Source

MODEL_ATTEMPTS = 2
"""From the attempt after these on, the bank speaks: a turn must end some time."""


class Interviewer:
    """Speaks the interviewer's turns; safe for any number of them at once.

    Made by `ai.build.build_interviewer`. Without a ``model`` it is the offline interviewer: every
    turn begins with the fallback ``offline``.
    """

    def __init__(self, *, model: Model | None, voice: BankVoice, errands: Errands) -> None:
        self._model = model
        self._voice = voice
        self._errands = errands

    @property
    def offline(self) -> bool:
        """Whether no model is configured."""
        return self._model is None

    async def speak(self, request: TurnRequest, listener: Listener) -> Source:
        """Generate a turn, or the rest of it, and tell who spoke it.

        Cancelling it, or an exception of ``listener``'s, aborts the provider's call and writes its
        ledger row. A stored response runs on then, for whoever has its handle; call `forget` when
        nobody will.

        Raises:
            AttemptFailedError: words of this attempt are out and the rest cannot be had.
        """
        position = _position(request)
        if not isinstance(position, BankPosition):
            attempt = self._attempt(request, position)
            if isinstance(attempt, ModelAttempt):
                await attempt.run(listener)
                if not attempt.lost:
                    return "model"
            await listener.fallback(attempt.lost if isinstance(attempt, ModelAttempt) else attempt)
            position = None
        await self._voice.speak(request, position, listener.words)
        return "bank"

    def resumable(self, handle: str) -> bool:
        """Whether this instance can go on behind the piece that came with ``handle``."""
        match parse_handle(handle):
            case BankPosition():
                return True
            case ResponsePosition():
                return self._model is not None
            case None:
                return False

    def source(self, handle: str | None, attempt: int) -> Source:
        """Return who speaks an attempt whose last piece was saved with ``handle``.

        None: it has no piece yet. Then it is told who would have spoken.
        """
        if handle is None:
            return "bank" if self._model is None or attempt > MODEL_ATTEMPTS else "model"
        return "bank" if isinstance(parse_handle(handle), BankPosition) else "model"

    async def forget(self, handle: str) -> bool:
        """Stop and erase what the provider stores under ``handle``; call it when a turn is over.

        Takes 5 s at most and does not raise. Returns whether the provider surely keeps nothing.
        """
        position = parse_handle(handle)
        if not isinstance(position, ResponsePosition):
            return True
        return self._model is not None and await self._model.provider.forget(position.response_id)

    async def aclose(self) -> None:
        """Finish what is being erased and close all connections."""
        await self._errands.aclose()
        if self._model is not None:
            await self._model.provider.aclose()

    def _attempt(
        self, request: TurnRequest, position: ResponsePosition | None
    ) -> ModelAttempt | str:
        """Return the model's attempt, or why the bank has to speak instead."""
        model = self._model
        if position is not None:
            if model is None:
                raise AttemptFailedError("not_resumable")
            return ModelAttempt(model, request, build_prompt(request), position)
        if model is None:
            return "offline"
        if request.attempt > MODEL_ATTEMPTS:
            return "attempts"
        return model.circuit.open() or ModelAttempt(model, request, build_prompt(request), None)


def _position(request: TurnRequest) -> BankPosition | ResponsePosition | None:
    position = parse_handle(request.handle)
    if (position.length if position else 0) != len(request.logged):
        raise AttemptFailedError("not_resumable")
    return position
