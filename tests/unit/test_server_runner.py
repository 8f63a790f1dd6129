"""The turn runner with a store and a work of the test's own, in virtual time."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import contextmanager
from typing import Any

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from server.committer import FencedError
from server.meters import Meters
from server.runner import RELEASE_S, TurnRunner
from storage.errors import BackendDownError
from storage.live import Acquired, Held
from tests.support.clocks import LoopClock
from tests.support.interviews import session, state
from tests.support.virtual_time import run_virtual


class FakeStore:
    """Hands out every turn; ``taken`` are held by others, ``slow_s`` is a release's time."""

    def __init__(self) -> None:
        self.taken: set[str] = set()
        self.released: list[str] = []
        self.fenced = False
        self.slow_s = 0.0
        self.state = state(session(), 1, 1)

    async def acquire(self, interview_id: str, nonce: str) -> Acquired | Held:
        if interview_id in self.taken:
            return Held()
        return Acquired(nonce, self.state)

    async def release(self, interview_id: str, fence: str) -> bool:
        assert fence
        await asyncio.sleep(self.slow_s)
        if not self.fenced:
            self.released.append(interview_id)
        return not self.fenced


class FakeLease:
    def __init__(self, interview_id: str, fence: str) -> None:
        self.interview_id = interview_id
        self.fence = fence
        self.handle = ""


class FakeLeases:
    def awake(self) -> float:
        return 1.0

    @contextmanager
    def hold(self, interview_id: str, turn: int, fence: str, since: float) -> Any:
        assert turn
        assert since
        yield FakeLease(interview_id, fence)


class FakeWork:
    """Each turn takes ``seconds``, or raises ``fault`` at its end."""

    def __init__(self) -> None:
        self.seconds = 1.0
        self.fault: Exception | None = None
        self.begun: list[str] = []
        self.handles: list[str] = []
        self.handle = "resp:r:1:0:1"
        self.ended: list[str] = []

    async def run(self, _: Any, lease: FakeLease) -> None:
        self.begun.append(lease.interview_id)
        self.handles.append(lease.handle)
        lease.handle = self.handle
        await asyncio.sleep(self.seconds)
        if self.fault is not None:
            raise self.fault
        self.ended.append(lease.interview_id)


class FakeEraser:
    """Notes whose responses it is to erase, and of which turns it is told that they are over."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.told: list[tuple[str, bool]] = []
        self.done: list[str] = []

    def stores(self, lease: FakeLease) -> bool:
        return lease.handle.startswith("resp:")

    async def erase(self, lease: FakeLease, *, over: bool) -> None:
        self.told.append((lease.interview_id, over))
        await asyncio.sleep(self.seconds)
        self.done.append(lease.interview_id)


class Scene:
    def __init__(self, **settings: int) -> None:
        self.store, self.work, self.eraser = FakeStore(), FakeWork(), FakeEraser()
        self.meters = Meters(CollectorRegistry())
        parts: dict[str, Any] = {
            "store": self.store,
            "leases": FakeLeases(),
            "work": self.work,
            "eraser": self.eraser,
            "clock": LoopClock(),
            "meter": self.meters,
            **settings,
        }
        self.runner = TurnRunner(**parts)

    def measured(self, name: str, **labels: str) -> float | None:
        return self.meters.registry.get_sample_value(name, labels)

    @property
    def running(self) -> float | None:
        return self.measured("viva_turns_running")

    def run(self, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            owner = asyncio.create_task(self.runner.run())
            await asyncio.sleep(0)
            try:
                await story()
            finally:
                owner.cancel()
                await asyncio.gather(owner, return_exceptions=True)

        run_virtual(main())


def test_turns_are_counted_while_they_run() -> None:
    scene = Scene()

    async def story() -> None:
        assert not scene.running
        scene.runner.start("a")
        scene.runner.start("b")
        await asyncio.sleep(0.5)
        assert (scene.running, len(scene.runner)) == (2, 2)
        await asyncio.sleep(1)
        assert (scene.running, len(scene.runner)) == (0, 0)
        assert scene.eraser.told == [("a", True), ("b", True)]

    scene.run(story)


def test_a_turn_that_opens_while_the_last_one_ends_is_begun_behind_it() -> None:
    scene = Scene()

    async def story() -> None:
        scene.runner.start("a")
        await asyncio.sleep(0.5)
        scene.runner.start("a")
        assert scene.work.begun == ["a"]
        await asyncio.sleep(1)
        assert scene.work.begun == ["a", "a"]
        await asyncio.sleep(1)
        assert (scene.work.ended, len(scene.runner)) == (["a", "a"], 0)

    scene.run(story)


def test_a_turn_that_is_stopped_before_its_first_step_leaves_nothing_behind() -> None:
    scene = Scene()

    async def story() -> None:
        scene.runner.start("a")
        scene.runner.stop("a")
        await asyncio.sleep(0.1)
        assert (scene.running, len(scene.runner), scene.work.begun) == (0, 0, [])
        scene.runner.start("a")
        await asyncio.sleep(1.5)
        assert scene.work.ended == ["a"]
        await scene.runner.drain(0)

    scene.run(story)


def test_a_turn_that_ended_otherwise_is_stopped_and_not_released() -> None:
    scene = Scene()

    async def story() -> None:
        scene.runner.start("a")
        await asyncio.sleep(0.5)
        scene.runner.stop("a")
        scene.runner.stop("unknown")
        await asyncio.sleep(0.1)
        assert (scene.store.released, scene.work.ended) == ([], [])
        assert scene.eraser.told == [("a", True)]

    scene.run(story)


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [(BackendDownError(), "failed"), (ValueError("a marker"), "failed"), (FencedError(), "fenced")],
)
def test_one_turns_failure_leaves_the_others_alone(fault: Exception, outcome: str) -> None:
    scene = Scene()

    async def story() -> None:
        scene.work.fault = fault
        scene.runner.start("a")
        await asyncio.sleep(0.5)
        scene.runner.start("b")
        await asyncio.sleep(0.6)
        scene.work.fault = None
        await asyncio.sleep(1)
        assert scene.work.ended == ["b"]
        assert scene.eraser.told == [("a", False), ("b", True)]
        assert scene.measured("viva_turn_attempts_total", outcome=outcome) == 1

    scene.run(story)


def test_what_is_stored_of_a_turn_is_not_looked_after_where_nothing_is() -> None:
    scene = Scene()

    async def story() -> None:
        scene.work.handle = "bank:7"
        scene.runner.start("a")
        await asyncio.sleep(2)
        assert (scene.work.ended, scene.eraser.told) == (["a"], [])

    scene.run(story)


def test_an_erasure_holds_up_no_other_turn() -> None:
    scene = Scene()

    async def story() -> None:
        scene.work.fault, scene.eraser.seconds = FencedError(), 60
        scene.runner.start("a")
        await asyncio.sleep(1.5)  # fenced out by a barge-in
        assert len(scene.runner) == 0
        scene.runner.start("a")
        await asyncio.sleep(0.5)
        assert scene.work.begun == ["a", "a"]
        await asyncio.sleep(65)
        assert scene.eraser.done == ["a", "a"]
        assert scene.store.released == []  # it is not ours

    scene.run(story)


@pytest.mark.parametrize(("seconds", "waits_s"), [(1, 0.5), (60, RELEASE_S)])
def test_who_drains_waits_for_what_is_erased_but_not_for_long(
    seconds: float, waits_s: float
) -> None:
    scene = Scene()

    async def story() -> None:
        scene.eraser.seconds = seconds
        scene.runner.start("a")
        await asyncio.sleep(1.5)
        clock = asyncio.get_running_loop()
        began = clock.time()
        await scene.runner.drain(20)
        assert clock.time() - began == pytest.approx(waits_s)
        assert scene.eraser.done == (["a"] if seconds == 1 else [])

    scene.run(story)


@pytest.mark.parametrize(("fenced", "outcome"), [(False, "released"), (True, "fenced")])
def test_a_turn_that_is_cut_short_is_given_back_and_its_response_looked_after(
    fenced: bool,  # noqa: FBT001
    outcome: str,
) -> None:
    scene = Scene()
    scene.store.fenced = fenced

    async def story() -> None:
        scene.runner.start("a")
        await asyncio.sleep(0.5)
        await scene.runner.drain(0)  # cancels, as a renewal that is refused does
        assert scene.eraser.done == ["a"]
        assert scene.eraser.told == [("a", False)]
        assert scene.measured("viva_turn_attempts_total", outcome=outcome) == 1
        assert not scene.measured("viva_turn_attempts_total", outcome="failed")

    scene.run(story)


@pytest.mark.parametrize(("ordinal", "handle"), [(0, ""), (3, "resp:r:1:0:1")])
def test_who_takes_a_turn_up_knows_what_is_stored_of_it(ordinal: int, handle: str) -> None:
    scene = Scene()
    scene.store.state = replace(scene.store.state, ordinal=ordinal, handle="resp:r:1:0:1")

    async def story() -> None:
        scene.runner.start("a")
        await asyncio.sleep(2)
        assert scene.work.handles == [handle]

    scene.run(story)


def test_what_others_hold_or_is_too_much_is_left() -> None:
    scene = Scene(max_turns=1)

    async def story() -> None:
        scene.store.taken.add("theirs")
        scene.runner.start("theirs")
        await asyncio.sleep(0.1)
        scene.runner.start("a")
        scene.runner.start("b")
        await asyncio.sleep(2)
        assert scene.work.begun == ["a"]

    scene.run(story)


def test_draining_lets_turns_finish_and_begins_none() -> None:
    scene = Scene()

    async def story() -> None:
        scene.runner.start("a")
        await asyncio.sleep(0.5)
        leaving = asyncio.create_task(scene.runner.drain(20))
        await asyncio.sleep(0)
        scene.runner.start("b")
        scene.runner.start("a")
        await leaving
        assert (scene.work.begun, scene.work.ended) == (["a"], ["a"])
        assert scene.store.released == []

    scene.run(story)


@pytest.mark.parametrize("patience_s", [0, 0.2])
def test_what_does_not_finish_in_time_is_released(patience_s: float) -> None:
    scene = Scene()

    async def story() -> None:
        scene.work.seconds, scene.store.slow_s = 60, 1.0
        scene.runner.start("a")
        scene.runner.start("b")
        await asyncio.sleep(0.5)
        began = asyncio.get_running_loop().time()
        await scene.runner.drain(patience_s)
        took = asyncio.get_running_loop().time() - began
        assert sorted(scene.store.released) == ["a", "b"]
        assert took == pytest.approx(patience_s + 1.0)
        assert scene.measured("viva_turn_attempts_total", outcome="released") == 2

    scene.run(story)


def test_a_release_that_hangs_does_not_keep_the_instance() -> None:
    scene = Scene()

    async def story() -> None:
        scene.work.seconds, scene.store.slow_s = 60, 600
        scene.runner.start("a")
        await asyncio.sleep(0.5)
        began = asyncio.get_running_loop().time()
        await scene.runner.drain(0)
        assert asyncio.get_running_loop().time() - began == pytest.approx(RELEASE_S)

    scene.run(story)
