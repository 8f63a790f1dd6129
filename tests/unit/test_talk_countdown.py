"""What a talk shows of the time that is left."""

import pytest

from protocol import events as e
from protocol.limits import LIMITS
from server.talk.countdown import Countdown
from tests.support.messages import SNAPSHOT


class _Scene:
    def __init__(self) -> None:
        self.now_s = 5_000.0
        self.countdown = Countdown(lambda: self.now_s)

    def pass_by(self, seconds: float) -> int:
        self.now_s += seconds
        return self.countdown.left_ms

    def join(self, remaining_ms: int, *, running: bool, recovered: bool = False) -> None:
        clock = e.ClockView(elapsed_ms=1, remaining_ms=remaining_ms, running=running)
        snapshot = e.Snapshot(
            status="live", mode="practice", phase="core", clock=clock, plan=SNAPSHOT.plan, turns=()
        )
        welcome = e.Welcome(
            interview_id="i",
            role="candidate",
            recovered=recovered,
            head="0-0",
            resume_token="t",
            heartbeat_ms=15_000,
            limits=LIMITS,
            snapshot=None if recovered else snapshot,
            clock=clock if recovered else None,
        )
        self.countdown.take(welcome)


def test_it_runs_from_the_start_to_the_end_but_for_pauses() -> None:
    scene = _Scene()
    scene.join(900_000, running=False)
    assert scene.pass_by(30) == 900_000  # the notice is read
    scene.countdown.take(e.InterviewStarted(at=1))
    assert scene.pass_by(60) == 840_000
    scene.countdown.take(e.InterviewPaused(at=1))
    assert scene.pass_by(600) == 840_000
    scene.countdown.take(e.InterviewResumed(at=1))
    assert scene.pass_by(841) == -1_000
    scene.countdown.take(e.InterviewEnded(reason="completed"))
    assert scene.pass_by(10) == -1_000


@pytest.mark.parametrize("recovered", [False, True])
def test_whoever_comes_back_goes_by_what_the_server_tells(*, recovered: bool) -> None:
    scene = _Scene()
    scene.join(900_000, running=True)
    scene.pass_by(300)
    scene.join(890_000, running=True, recovered=recovered)
    assert scene.pass_by(1) == 889_000


def test_an_older_server_tells_nothing_to_who_goes_on() -> None:
    scene = _Scene()
    scene.join(900_000, running=True)
    scene.pass_by(300)
    scene.countdown.take(
        e.Welcome(
            interview_id="i",
            role="candidate",
            recovered=True,
            head="0-0",
            resume_token="t",
            heartbeat_ms=15_000,
            limits=LIMITS,
        )
    )
    assert scene.pass_by(1) == 599_000
