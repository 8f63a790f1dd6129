"""The work of a turn with sessions and an interviewer of the test's own, in virtual time."""

from collections.abc import Callable
from typing import Any, cast

import pytest
from msgspec.structs import replace

from ai.speech import Listener, TurnRequest
from protocol import commands as c
from protocol.machine import Finished, Input, Lost, Received, transition
from protocol.scalars import Source
from server.committer import FencedError
from server.turn import Taken, TurnWork
from storage.errors import BackendDownError
from storage.live import State
from tests.support.clocks import LoopClock
from tests.support.interviews import NOW, session, state
from tests.support.virtual_time import run_virtual

START = c.InterviewStart(id="c-1", consent=c.Consent(version="1", at=NOW))


class Sessions:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Input] = []

    async def apply(self, _: str, happened: Input, *, state: State, **_named: Any) -> State:
        self.told.append(happened)
        return replace(state, session=transition(state.session, happened).session)


class Speaker:
    """Meets these faults, an attempt each, and says nothing in others."""

    def __init__(self, *faults: Exception) -> None:
        self.faults = list(faults)
        self.attempts: list[int] = []

    async def speak(self, request: TurnRequest, listener: Listener) -> Source:
        assert listener
        self.attempts.append(request.attempt)
        if self.faults:
            raise self.faults.pop(0)
        return "bank"

    def resumable(self, handle: str) -> bool:
        return not handle


class Lease:
    interview_id, fence, handle = "i", "1:x", ""
    silent_since: float | None = None
    ending = False


class Unused:
    """A meter that counts nothing, a committer with nothing to append."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        assert name
        return lambda *_: None


def worked(speaker: Speaker) -> list[Input]:
    """Return what the session was told while the interview's first turn was worked on."""
    sessions, unused = Sessions(), cast("Any", Unused())
    work = TurnWork(
        sessions=cast("Any", sessions),
        committer=unused,
        interviewer=speaker,
        clock=LoopClock(),
        meter=unused,
    )
    begun = transition(session(), Received(command=START, at=NOW)).session
    taken = Taken(replace(state(session(), 1, 1), session=begun, open_from=1))
    run_virtual(work.run(taken, cast("Any", Lease())))
    return sessions.told


def test_a_fault_costs_an_attempt_and_not_the_turn() -> None:
    speaker = Speaker(OverflowError("odd"), KeyError("odd"))
    first, second, end = worked(speaker)
    assert isinstance(first, Lost)
    assert isinstance(second, Lost)
    assert (first.reason, first.attempt, second.attempt) == ("fault", 1, 2)
    assert isinstance(end, Finished)
    assert speaker.attempts == [1, 2, 3]


def test_a_fault_of_the_bank_is_left_to_a_sweeper() -> None:
    speaker = Speaker(*[OverflowError("odd")] * 9)
    with pytest.raises(OverflowError):
        worked(speaker)
    assert speaker.attempts == [1, 2, 3]


@pytest.mark.parametrize("error", [FencedError(), BackendDownError()])
def test_what_is_no_fault_of_the_interviewers_costs_no_attempt(error: Exception) -> None:
    speaker = Speaker(error)
    with pytest.raises(type(error)):
        worked(speaker)
    assert speaker.attempts == [1]
