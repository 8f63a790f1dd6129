"""The work of one interviewer turn, from its lease to its end in the log."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple, Protocol

import structlog
from msgspec.structs import replace

from ai.attempt import BUDGET, MODEL_ATTEMPTS
from ai.speech import AttemptFailedError, Listener, TurnRequest
from protocol.machine import Finished, Input, Lost, Noted
from protocol.scalars import NoticeCode, Source
from protocol.session import OpenTurn
from server.clock import Clock
from server.committer import Committer, FencedError, Relay
from server.leases import Lease
from server.patience import T, patiently
from server.sessions import Sessions
from storage.errors import StorageError
from storage.live import ANY_ORDINAL, Fenced, State

END_PATIENCE_S = 10.0
"""How long the end of a turn is tried to be committed before it is left to a sweeper."""

FALLBACK_NOTICE = "The interview goes on with prepared questions."
LOW_NOTICE = (
    "The budget of the model that asks is nearly used up; prepared questions may take its place."
)
SPENT_NOTICE = "The budget of the model that asks is used up."

_log = structlog.get_logger()


class Interviewer(Protocol):
    """Who speaks the interviewer's turns; see `ai.interviewer`."""

    async def speak(self, request: TurnRequest, listener: Listener) -> Source:
        """Generate a turn into ``listener``; tell who spoke it. Cancelling aborts it."""
        ...

    def resumable(self, handle: str) -> bool:
        """Whether a turn that saved ``handle`` can be gone on with behind its last piece."""
        ...


class TurnMeter(Protocol):
    """What is measured of turns."""

    def turn_ended(self, outcome: str) -> None:
        """Count one that ended as ``completed``, ``failed``, ``fenced`` or ``released``."""

    def turns_running(self, turns: int) -> None:
        """Set how many are generated here."""

    def first_words(self, seconds: float) -> None:
        """Observe the time from the lease to the first words."""


class Taken:
    """A turn as its instance took it up.

    Its state is let go at the first words: see `TurnRequest.let_go`. Who needs it then, as few
    turns do, loads it again.
    """

    __slots__ = ("state",)

    def __init__(self, state: State) -> None:
        self.state: State | None = state


class _Said(NamedTuple):
    turn: int
    attempt: int
    text: str
    source: Source
    ordinal: int


class TurnWork:
    """Generates turns whose lease the caller holds."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        committer: Committer,
        interviewer: Interviewer,
        clock: Clock,
        meter: TurnMeter,
    ) -> None:
        self._sessions = sessions
        self._committer = committer
        self._interviewer = interviewer
        self._clock = clock
        self._meter = meter

    async def run(self, taken: Taken, lease: Lease) -> None:
        """Bring the open turn to its end, over as many attempts as it takes.

        Raises:
            FencedError: the turn is somebody else's now, or over.
            StorageError: the log could not be written; a sweeper goes on with the turn.
        """
        if not self._continues(await self._state(taken, lease)):
            await self._lose(taken, lease, "instance_lost")
        while True:
            try:
                said = await self._attempt(taken, lease)
            except AttemptFailedError as failed:
                await self._lose(taken, lease, failed.reason)
            else:
                break
        lease.ending = True
        await self._apply(
            Finished(
                turn=said.turn,
                attempt=said.attempt,
                text=said.text,
                at=self._clock.now(),
                source=said.source,
            ),
            lease,
            taken.state,
            said.ordinal,
        )
        self._meter.turn_ended("completed")

    def _continues(self, state: State) -> bool:
        """Whether the present attempt can go on: it is untouched, or its source can resume it."""
        if state.open_from == 0:
            return False  # rebuilt from PostgreSQL: what was logged of it is not known
        return state.ordinal == 0 or self._interviewer.resumable(state.handle)

    async def _state(self, taken: Taken, lease: Lease) -> State:
        """Return the state, for an input; what was logged of an attempt is not loaded again."""
        if taken.state is None:
            taken.state = await self._patiently(
                partial(self._sessions.load, lease.interview_id, turns=True)
            )
        return taken.state

    async def _lose(self, taken: Taken, lease: Lease, reason: str) -> None:
        state = await self._state(taken, lease)
        turn = _opened(state)
        lost = Lost(turn=turn.turn, attempt=turn.attempt, reason=reason, at=self._clock.now())
        self._meter.turn_ended("failed")
        applied = await self._apply(lost, lease, state)
        taken.state = replace(applied, turns=state.turns)

    async def _attempt(self, taken: Taken, lease: Lease) -> _Said:
        request, ordinal = _asked(taken)
        relay = Relay(
            self._committer,
            request.interview_id,
            request.turn,
            request.attempt,
            fence=lease.fence,
            ordinal=ordinal,
            offset=len(request.logged),
            handle=request.handle,
        )
        hearing = _Hearing(self, relay, request, taken, lease)
        try:
            source = await self._interviewer.speak(request, hearing)
            await relay.drained()
        except (AttemptFailedError, FencedError, StorageError):
            raise
        except Exception:
            if request.attempt > MODEL_ATTEMPTS:
                raise  # nobody speaks behind the bank; a sweeper has it tried again
            # Left to a sweeper, the same attempt would meet the same fault for ever.
            _log.exception("attempt failed", interview=request.interview_id)
            raise AttemptFailedError("fault") from None
        finally:
            lease.silent_since = None
            self._committer.forget(relay)
        said = "".join(hearing.said)
        return _Said(request.turn, request.attempt, said, source, relay.ordinal)

    def begin(self, lease: Lease) -> float:
        """Note that the interviewer was asked to speak; return the time."""
        lease.silent_since = self._clock.monotonic()
        return lease.silent_since

    def first_words(self, lease: Lease, began: float) -> None:
        """Note that it speaks."""
        lease.silent_since = None
        self._meter.first_words(self._clock.monotonic() - began)

    async def note(self, code: NoticeCode, message: str, taken: Taken, lease: Lease) -> None:
        """Tell the candidate something, once in an interview."""
        state = await self._state(taken, lease)
        if code not in state.session.noticed:
            noted = Noted(code=code, message=message, at=self._clock.now())
            await self._apply(noted, lease, state)

    async def _apply(
        self, happened: Input, lease: Lease, state: State | None, ordinal: int = ANY_ORDINAL
    ) -> State:
        """Apply an input under the lease's fence."""
        applied = await self._patiently(
            partial(
                self._sessions.apply,
                lease.interview_id,
                happened,
                fence=lease.fence,
                ordinal=ordinal,
                state=state,
            )
        )
        if isinstance(applied, Fenced):
            raise FencedError
        return applied

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call in spite of short outages."""
        return await patiently(self._clock, call, END_PATIENCE_S)


class _Hearing:
    """An attempt's listener: what it hears goes into the log."""

    __slots__ = ("_began", "_lease", "_relay", "_request", "_taken", "_work", "said")

    def __init__(
        self, work: TurnWork, relay: Relay, request: TurnRequest, taken: Taken, lease: Lease
    ) -> None:
        self._work, self._relay, self._request = work, relay, request
        self._taken, self._lease = taken, lease
        self.said = [request.logged]
        self._began = work.begin(lease)

    def words(self, text: str, handle: str) -> None:
        """See `Listener.words`."""
        if self._lease.silent_since is not None:
            self._work.first_words(self._lease, self._began)
            self._request.let_go()
            self._taken.state = None
        self.said.append(text)
        self._lease.handle = handle
        self._relay.push(text, handle)

    async def fallback(self, reason: str) -> None:
        """See `Listener.fallback`."""
        if reason == BUDGET:
            await self._work.note("budget_low", SPENT_NOTICE, self._taken, self._lease)
        await self._work.note("fallback_in_use", FALLBACK_NOTICE, self._taken, self._lease)

    async def low(self) -> None:
        """See `Listener.low`."""
        await self._work.note("budget_low", LOW_NOTICE, self._taken, self._lease)


def _opened(state: State) -> OpenTurn:
    turn = state.session.open
    if turn is None or turn.speaker != "interviewer":
        raise FencedError  # it ended while this instance was away
    return turn


def _asked(taken: Taken) -> tuple[TurnRequest, int]:
    """Return what the interviewer is asked for, and the ordinal of the last append of it."""
    state = taken.state
    assert state is not None  # noqa: S101  # an attempt begins with what was taken, or lost
    turn = _opened(state)
    session = state.session
    request = TurnRequest(
        interview_id=session.interview_id,
        user_id=session.user_id,
        turn=turn.turn,
        attempt=turn.attempt,
        kind=turn.kind,
        question_id=turn.question_id,
        intent=turn.intent,
        lacks=session.lacks,
        phase=session.phase,
        plan=session.plan,
        guide=session.guide,
        turns=state.turns,
        handle=state.handle if state.ordinal else "",
        logged=state.logged,
    )
    return request, state.ordinal
