"""Leases over the twin, in virtual time: renewed together, and given up before others may come."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from protocol import commands as c
from protocol.ids import ORIGIN
from protocol.machine import Received, transition
from server.leases import (
    RENEW_S,
    STOP_S,
    SUSPENDED_S,
    THINKING_AGAIN_S,
    THINKING_S,
    Lease,
    Leases,
)
from storage.errors import BackendDownError
from storage.live import LEASE_MS, Acquired, Restore
from storage.twin import Twin, TwinNotifier, TwinServer
from tests.support.clocks import LoopClock
from tests.support.interviews import NOW, session
from tests.support.virtual_time import run_virtual

START = c.InterviewStart(id="c-1", consent=c.Consent(version="1", at=NOW))


def _stand_still(seconds: float) -> None:
    """Set the loop's clock on, which jumps by itself to the next timer: what SIGCONT looks like."""
    loop: Any = asyncio.get_running_loop()
    loop._jumping.now += seconds


class SlowWire:
    """Lets single operations hang, or answer late."""

    def __init__(self) -> None:
        self.hangs: set[str] = set()
        self.slow: dict[str, float] = {}
        self.stops: set[str] = set()
        """Operations during which the process is stopped, once."""
        self.passes = 0
        """How many passes of the loop each call takes."""
        self.unread: dict[str, float] = {}
        """Operations whose reply came long before it is read, once: by so many seconds."""

    async def request(self, client: str, operation: str) -> None:
        assert client in ("", "notifier")
        await asyncio.sleep(self.slow.get(operation, 0))
        for _ in range(self.passes):
            await asyncio.sleep(0)
        if operation in self.stops:
            self.stops.discard(operation)
            _stand_still(10)
        if operation in self.hangs:
            await asyncio.sleep(1e6)

    async def reply(self, client: str, operation: str) -> None:
        """At once, but where the loop is too busy to read: its timers come first then."""
        assert client in ("", "notifier")
        if operation in self.unread:
            _stand_still(self.unread.pop(operation))
            for _ in range(8):
                await asyncio.sleep(0)


class Scene:
    def __init__(self) -> None:
        self.clock = LoopClock()
        self.wire = SlowWire()
        self.server = TwinServer(self.clock.now, wire=self.wire)
        self.store = Twin(self.server)
        self.suspensions = 0
        self.leases = Leases(self.store, self.clock, self._suspended)

    def _suspended(self) -> None:
        self.suspensions += 1

    async def interview(self) -> str:
        """One whose interviewer's turn waits to be generated."""
        live = transition(session(), Received(command=START, at=NOW)).session
        await self.store.create(Restore(session=live, version=0, head=ORIGIN, tick=0))
        return live.interview_id

    async def hold(
        self,
        name: str,
        held: list[float],
        *,
        ending: bool = False,
        silent: bool = False,
        late: float = 0.0,
        cleanup: float = 0.0,
    ) -> None:
        """Hold the interview's turn; note when it began and when it was lost and cleaned up.

        ``late``: how long the acquisition took to come back, in seconds.
        """
        since = self.leases.awake() - late
        acquired = await self.store.acquire(name, self.clock.nonce())
        assert isinstance(acquired, Acquired)
        with self.leases.hold(name, 1, acquired.fence, since) as lease:
            lease.ending = ending
            lease.silent_since = self.clock.monotonic() if silent else None
            held.append(self.clock.monotonic() - late)
            try:
                await asyncio.sleep(1e6)
            finally:
                held.append(self.clock.monotonic())
                if cleanup:
                    await asyncio.sleep(cleanup)
                    held.append(self.clock.monotonic())

    def run(self, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            running = asyncio.create_task(self.leases.run())
            try:
                await story()
                assert not running.done()
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

        run_virtual(main())


async def _ended(working: list[asyncio.Task[None]]) -> None:
    for task in working:
        task.cancel()
    await asyncio.gather(*working, return_exceptions=True)


def test_leases_are_renewed_together_for_as_long_as_the_work_takes() -> None:
    scene = Scene()

    async def story() -> None:
        names = [await scene.interview() for _ in range(3)]
        tasks = [asyncio.create_task(scene.hold(name, [])) for name in names]
        await asyncio.sleep(60)
        assert len(scene.leases) == 3
        assert not any(task.done() for task in tasks)
        assert 140 <= scene.server.calls["renew"] <= 150
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert len(scene.leases) == 0

    scene.run(story)


@pytest.mark.parametrize("fault", ["down", "hangs"])
def test_a_holder_that_cannot_renew_stops_at_two_thirds(fault: str) -> None:
    scene = Scene()

    async def story() -> None:
        held: list[float] = []
        working = asyncio.create_task(scene.hold(await scene.interview(), held))
        await asyncio.sleep(RENEW_S / 2)
        scene.server.down = fault == "down"
        scene.wire.hangs = {"renew"} if fault == "hangs" else set()
        await asyncio.gather(working, return_exceptions=True)
        began, lost = held
        assert working.cancelled()
        assert STOP_S <= lost - began <= STOP_S + 0.05
        assert lost - began < LEASE_MS / 1000

    scene.run(story)


@pytest.mark.parametrize("fault", ["down", "hangs"])
def test_a_holder_that_cannot_renew_any_more_stops_two_thirds_behind_its_last(fault: str) -> None:
    scene = Scene()

    async def story() -> None:
        held: list[float] = []
        working = asyncio.create_task(scene.hold(await scene.interview(), held))
        for _ in range(3):
            await asyncio.sleep(2)
            _stand_still(0.7)
        await asyncio.sleep(2)
        scene.server.down = fault == "down"
        scene.wire.hangs = {"renew"} if fault == "hangs" else set()
        began = scene.clock.monotonic()
        await asyncio.gather(working, return_exceptions=True)
        assert STOP_S - RENEW_S <= held[1] - began <= STOP_S + 0.05
        scene.server.down = False
        scene.wire.hangs = set()
        later = asyncio.create_task(scene.hold(await scene.interview(), []))
        await asyncio.sleep(5)
        assert not later.done()
        await _ended([later])

    scene.run(story)


@pytest.mark.parametrize("answered_s", [0.0, 0.53, 0.57])
@pytest.mark.parametrize("busy_s", [0.65, 0.9, 1.4])
def test_a_renewal_whose_answer_was_read_late_is_one(busy_s: float, answered_s: float) -> None:
    scene = Scene()

    async def story() -> None:
        working = [asyncio.create_task(scene.hold(await scene.interview(), [])) for _ in range(3)]
        await asyncio.sleep(4.5)
        scene.wire.unread["renew"] = busy_s
        scene.wire.slow["renew"] = answered_s
        await asyncio.sleep(0.4)
        del scene.wire.slow["renew"]
        await asyncio.sleep(5)
        assert not scene.wire.unread
        assert not any(task.done() for task in working)
        await _ended(working)

    scene.run(story)


@pytest.mark.parametrize("stood_s", [0.4, 0.6, 0.68, 0.8, 0.9])
@pytest.mark.parametrize("call_s", [0.0, 0.06, 0.15, 0.25])
def test_a_process_that_stood_still_renews_before_it_judges(stood_s: float, call_s: float) -> None:
    """It stood still between two renewals, so that the next one went out late."""
    scene = Scene()

    async def story() -> None:
        working = [asyncio.create_task(scene.hold(await scene.interview(), [])) for _ in range(3)]
        await asyncio.sleep(5.1)
        scene.wire.slow["renew"] = call_s
        _stand_still(stood_s)
        await asyncio.sleep(5)
        assert not any(task.done() for task in working)
        await _ended(working)

    scene.run(story)


def test_however_often_the_time_is_asked_for_a_busy_stretch_counts_little() -> None:
    scene = Scene()

    async def story() -> None:
        working = [asyncio.create_task(scene.hold(await scene.interview(), [])) for _ in range(3)]
        await asyncio.sleep(5.1)
        scene.wire.slow["renew"] = 0.06
        for _ in range(40):  # many turns begin in one pass of the loop
            scene.leases.awake()
            _stand_still(0.02)
        await asyncio.sleep(5)
        assert not any(task.done() for task in working)
        await _ended(working)

    scene.run(story)


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize(("busy_s", "passes"), [(0.08, 3), (0.12, 2), (0.2, 1)])
def test_a_process_that_is_busy_all_the_time_keeps_what_it_renews(
    busy_s: float, passes: int, *, silent: bool
) -> None:
    """A call takes some passes of the loop, each of which is long."""
    scene = Scene()

    async def story() -> None:
        name = await scene.interview()
        working = asyncio.create_task(scene.hold(name, [], silent=silent))
        await asyncio.sleep(1)
        scene.wire.passes = passes
        for _ in range(200):
            await asyncio.sleep(0)
            _stand_still(busy_s)
        assert scene.server.calls["renew"] > 10
        assert not working.done()
        await _ended([working])

    scene.run(story)


@pytest.mark.parametrize("call_s", [0.48, 0.495])
def test_a_lease_that_lapses_costs_no_other_its_unread_renewal(call_s: float) -> None:
    scene = Scene()

    async def story() -> None:
        scene.wire.slow["renew"] = call_s
        scene.wire.unread["renew"] = 0.13
        names = [await scene.interview() for _ in range(2)]
        sound = asyncio.create_task(scene.hold(names[0], []))
        late = asyncio.create_task(scene.hold(names[1], [], late=0.11))
        await asyncio.sleep(0.5)
        del scene.wire.slow["renew"]
        await asyncio.sleep(5)
        assert not scene.wire.unread
        assert not sound.done()
        await _ended([sound, late])

    scene.run(story)


def test_a_busy_process_that_cannot_renew_stops_soon() -> None:
    """It comes late to each look, and Redis does not answer: it does not look for ever."""
    scene = Scene()

    async def story() -> None:
        held: list[float] = []
        working = asyncio.create_task(scene.hold(await scene.interview(), held))
        await asyncio.sleep(RENEW_S / 2)
        scene.wire.hangs = {"renew"}
        while not working.done():
            _stand_still(0.1)
            await asyncio.sleep(0.05)
        await asyncio.gather(working, return_exceptions=True)
        began, lost = held
        assert lost - began <= 2 * STOP_S

    scene.run(story)


def test_a_short_outage_costs_nothing() -> None:
    scene = Scene()

    async def story() -> None:
        working = asyncio.create_task(scene.hold(await scene.interview(), []))
        for _ in range(20):
            await asyncio.sleep(1.3)
            scene.server.down = True
            await asyncio.sleep(0.5)
            scene.server.down = False
        assert not working.done()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)

    scene.run(story)


def test_leases_that_were_taken_late_do_not_cut_the_renewal_of_others_short() -> None:
    scene = Scene()

    async def story() -> None:
        scene.wire.slow["renew"] = 0.1
        working = [asyncio.create_task(scene.hold(await scene.interview(), [])) for _ in range(3)]
        late: list[asyncio.Task[None]] = []
        for _ in range(100):
            name = await scene.interview()
            late.append(asyncio.create_task(scene.hold(name, [], late=STOP_S - 0.05)))
            await asyncio.sleep(0.04)
        assert not any(task.done() for task in working)
        assert any(task.cancelled() for task in late)
        for task in (*working, *late):
            task.cancel()
        await asyncio.gather(*working, *late, return_exceptions=True)

    scene.run(story)


def test_work_that_was_stopped_cleans_up_undisturbed() -> None:
    scene = Scene()

    async def story() -> None:
        held: list[float] = []
        working = asyncio.create_task(scene.hold(await scene.interview(), held, cleanup=3.0))
        await asyncio.sleep(0.1)
        scene.server.down = True
        await asyncio.gather(working, return_exceptions=True)
        _, lost, clean = held
        assert clean - lost == pytest.approx(3.0)

    scene.run(story)


def test_a_turn_that_ended_in_redis_is_stopped_with_the_next_renewal() -> None:
    scene = Scene()

    async def story() -> None:
        name, held = await scene.interview(), list[float]()
        other = asyncio.create_task(scene.hold(await scene.interview(), []))
        working = asyncio.create_task(scene.hold(name, held))
        await asyncio.sleep(5)
        scene.server.interviews[name].lease_until = 0
        at = scene.clock.monotonic()
        await asyncio.gather(working, return_exceptions=True)
        assert held[1] - at <= RENEW_S + 0.01
        assert not other.done()
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)

    scene.run(story)


def test_who_commits_the_end_is_left_to_the_fence() -> None:
    scene = Scene()

    async def story() -> None:
        working = asyncio.create_task(scene.hold(await scene.interview(), [], ending=True))
        await asyncio.sleep(0.1)
        scene.server.down = True
        await asyncio.sleep(30)
        assert not working.done()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)

    scene.run(story)


def test_a_process_that_was_stopped_gives_up_at_once_and_says_so() -> None:
    scene = Scene()

    async def story() -> None:
        held: list[float] = []
        working = asyncio.create_task(scene.hold(await scene.interview(), held))
        await asyncio.sleep(10)
        assert scene.suspensions == 0
        _stand_still(RENEW_S + SUSPENDED_S + 0.1)
        await asyncio.gather(working, return_exceptions=True)
        assert scene.suspensions == 1
        assert scene.clock.monotonic() - held[0] < 10 + 2 * RENEW_S + SUSPENDED_S + 0.2

    scene.run(story)


@pytest.mark.parametrize(("stood_s", "told"), [(SUSPENDED_S - 0.1, 0), (SUSPENDED_S + 0.1, 1)])
def test_a_process_that_was_stopped_while_it_looked_says_so(
    stood_s: float, told: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, stops = Scene(), [stood_s]

    def stoppable(_: Lease) -> bool:
        if stops:
            _stand_still(stops.pop())
        return True

    async def story() -> None:
        monkeypatch.setattr(Lease, "stoppable", property(stoppable))
        working = asyncio.create_task(scene.hold(await scene.interview(), []))
        await asyncio.sleep(RENEW_S / 2)
        scene.server.down = True
        await asyncio.gather(working, return_exceptions=True)
        await asyncio.sleep(1)
        assert not stops
        assert scene.suspensions == told

    scene.run(story)


def test_silence_is_told_after_a_second_and_then_now_and_again() -> None:
    scene = Scene()
    told: list[tuple[float, str]] = []

    def hear(_: str, payload: str) -> None:
        told.append((scene.clock.monotonic(), payload))

    async def story() -> None:
        name = await scene.interview()
        notifier = TwinNotifier(scene.server)
        await notifier.watch(name)
        notifier.attach(hear)
        working = asyncio.create_task(scene.hold(name, [], silent=True))
        began = scene.clock.monotonic()
        await asyncio.sleep(12)
        waited = [at - began for at, _ in told]
        assert [payload for _, payload in told] == ["t1"] * len(told)
        expected = [THINKING_S, THINKING_S + THINKING_AGAIN_S, THINKING_S + 2 * THINKING_AGAIN_S]
        assert len(waited) == len(expected)
        for actual, wanted in zip(waited, expected, strict=True):
            assert wanted <= actual <= wanted + RENEW_S + 0.05
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)

    scene.run(story)


def test_a_notice_that_hangs_costs_no_lease() -> None:
    scene = Scene()

    async def story() -> None:
        name = await scene.interview()
        working = asyncio.create_task(scene.hold(name, [], silent=True))
        scene.wire.hangs = {"publish"}
        await asyncio.sleep(30)
        assert not working.done()
        assert scene.server.interviews[name].lease_until > scene.clock.now()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)

    scene.run(story)


@pytest.mark.parametrize(("turns", "call_s"), [(300, 0.001), (6, 0.15), (4, 0.35), (1, 0.35)])
def test_turns_that_fall_silent_together_keep_their_leases(turns: int, call_s: float) -> None:
    scene = Scene()

    async def story() -> None:
        names = [await scene.interview() for _ in range(turns)]
        working = [asyncio.create_task(scene.hold(name, [], silent=True)) for name in names]
        await asyncio.sleep(0.1)
        scene.wire.slow["publish"] = call_s
        await asyncio.sleep(30)
        assert scene.server.calls["publish"]
        assert not any(task.done() for task in working)
        # The notices go beside the renewals, which keep their beat.
        assert scene.server.calls["renew"] >= 30 / RENEW_S - 3
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)

    scene.run(story)


def test_a_renewal_that_is_due_waits_for_no_notice() -> None:
    scene = Scene()

    async def story() -> None:
        scene.wire.slow = {"renew": 0.35, "publish": 0.19}
        working: list[asyncio.Task[None]] = []
        for _ in range(12):  # so that somebody falls silent between any two renewals
            name = await scene.interview()
            working.append(asyncio.create_task(scene.hold(name, [], silent=True)))
            await asyncio.sleep(RENEW_S)
        scene.server.calls.clear()
        await asyncio.sleep(20 * RENEW_S)
        assert scene.server.calls["publish"] >= 12
        assert scene.server.calls["renew"] >= 19
        await _ended(working)

    scene.run(story)


@pytest.mark.parametrize("operation", ["renew", "publish"])
def test_a_process_that_was_stopped_during_a_call_says_so(operation: str) -> None:
    scene = Scene()

    async def story() -> None:
        working = asyncio.create_task(scene.hold(await scene.interview(), [], silent=True))
        await asyncio.sleep(RENEW_S / 2)
        scene.wire.stops.add(operation)
        await asyncio.sleep(15)
        assert not scene.wire.stops
        assert scene.suspensions == 1
        assert working.done()
        await asyncio.gather(working, return_exceptions=True)

    scene.run(story)


def test_the_twin_fails_as_the_leases_expect() -> None:
    scene = Scene()

    async def story() -> None:
        scene.server.down = True
        with pytest.raises(BackendDownError):
            await scene.store.renew([("a", "b")])

    scene.run(story)
