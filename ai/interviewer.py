"""The interviewer: shared wordings where they do, else the models while they can, else the bank."""

import itertools
from collections.abc import Sequence
from contextlib import AsyncExitStack

from ai.attempt import BUSY, MODEL_ATTEMPTS, Model, ModelAttempt
from ai.errands import Errands
from ai.failures import IN_USE
from ai.handles import (
    BankPosition,
    CachePosition,
    Position,
    ResponsePosition,
    needs_response,
    parse_handle,
    stored_response,
)
from ai.prompts import build_prompt
from ai.speech import AttemptFailedError, Listener, TurnRequest
from ai.voice import BankVoice, SharedVoice
from protocol.scalars import Source

_SOURCES: dict[type[Position], Source] = {
    BankPosition: "bank",
    CachePosition: "cache",
    ResponsePosition: "model",
}


class Interviewer:
    """Speaks the interviewer's turns; safe for any number of them at once.

    Made by `ai.build.build_interviewer`. The ``models`` are tried in their order. Without any it is
    the offline interviewer: every turn begins with the fallback ``offline``.
    """

    def __init__(
        self,
        *,
        models: Sequence[Model],
        shared: SharedVoice | None,
        voice: BankVoice,
        errands: Errands,
    ) -> None:
        self._models = tuple(models)
        self._shared = shared
        self._voice = voice
        self._errands = errands

    @property
    def offline(self) -> bool:
        """Whether no model is configured."""
        return not self._models

    async def speak(self, request: TurnRequest, listener: Listener) -> Source:
        """Generate a turn, or the rest of it, and tell who spoke it.

        Cancelling it, or an exception of ``listener``'s, aborts the provider's call and writes its
        ledger row. A stored response runs on then, for whoever has its handle; call `forget` when
        nobody will.

        Raises:
            AttemptFailedError: words of this attempt are out and the rest cannot be had.
        """
        position = _position(request)
        if position is None or isinstance(position, CachePosition):
            if await self._speaks_shared(request, position, listener):
                return "cache"
            position = None
        if not isinstance(position, BankPosition):
            lost = await self._models_lost(request, position, listener)
            if not lost:
                return "model"
            await listener.fallback(lost)
            position = None
        await self._voice.speak(request, position, listener.words)
        return "bank"

    def resumable(self, handle: str) -> bool:
        """Whether this instance can go on behind the piece that came with ``handle``."""
        match parse_handle(handle):
            case BankPosition():
                return True
            case CachePosition():
                return self._shared is not None
            case ResponsePosition(model=place):
                return place < len(self._models)
            case None:
                return False

    def source(self, handle: str | None, attempt: int) -> Source:
        """Return who speaks an attempt whose last piece was saved with ``handle``.

        None: it has no piece yet. Then it is told who would have spoken.
        """
        if handle is None:
            return "bank" if self.offline or attempt > MODEL_ATTEMPTS else "model"
        position = parse_handle(handle)
        return "model" if position is None else _SOURCES[type(position)]

    def stores(self, handle: str) -> bool:
        """Whether the provider stores something under ``handle``."""
        return bool(stored_response(handle))

    def needs(self, logged: str, handle: str) -> bool:
        """Whether who goes on from ``logged`` needs what is stored under ``handle``."""
        return needs_response(logged, stored_response(handle))

    async def forget(self, handle: str) -> bool:
        """Stop and erase what the provider stores under ``handle``; call it when nobody needs it.

        Takes 5 s at most and does not raise. Returns whether the provider surely keeps nothing.
        """
        position = parse_handle(handle)
        if not isinstance(position, ResponsePosition):
            return True
        place = position.model
        if place >= len(self._models):
            return False
        return await self._models[place].provider.forget(position.response_id)

    async def aclose(self) -> None:
        """Finish what is being erased and close all connections."""
        await self._errands.aclose()
        async with AsyncExitStack() as stack:  # one that cannot be closed keeps no other open
            for model in self._models:
                stack.push_async_callback(model.provider.aclose)

    async def _speaks_shared(
        self, request: TurnRequest, position: CachePosition | None, listener: Listener
    ) -> bool:
        if self._shared is None or request.attempt > MODEL_ATTEMPTS:
            if position is not None:
                raise AttemptFailedError("not_resumable")
            return False
        return await self._shared.speak(request, position, listener.words)

    async def _models_lost(
        self, request: TurnRequest, position: ResponsePosition | None, listener: Listener
    ) -> str:
        """Have the turn spoken by one model after the other; return why none could, if so."""
        if position is not None and position.model >= len(self._models):
            raise AttemptFailedError("not_resumable")
        if position is None and request.attempt > MODEL_ATTEMPTS:
            return "attempts" if self._models else "offline"
        lost, numbers, until = "offline", itertools.count(1), None
        for model in self._models[position.model if position else 0 :]:
            if until is None:
                until = model.clock.monotonic() + model.settings.patience_s
            elif model.clock.monotonic() >= until:
                break  # a call without time would cost, and be held against a model that is well
            shut = "" if position else model.circuit.open()
            if shut:
                lost = shut
                continue
            attempt = ModelAttempt(
                model, request, build_prompt(request), position, numbers=numbers, until=until
            )
            await attempt.run(listener)
            lost, position = attempt.lost, None
            if not lost or lost in (BUSY, IN_USE):  # all models have one gate, and one pool
                break
        return lost


def _position(request: TurnRequest) -> Position | None:
    position = parse_handle(request.handle)
    if (position.length if position else 0) != len(request.logged):
        raise AttemptFailedError("not_resumable")
    return position
