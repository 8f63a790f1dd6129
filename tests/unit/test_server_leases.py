"""Leases over the twin: renewed together, and given up before others may come."""

import asyncio

import pytest

from server.leases import (
    RENEW_S,
    STOP_S,
    THINKING_AGAIN_S,
    THINKING_S,
)
from storage.errors import BackendDownError
from storage.live import LEASE_MS
from storage.twin import TwinNotifier
from tests.support.leasing import Scene, ended
from tests.support.virtual_time import stand_still


def test_leases_are_renewed_together_for_as_long_as_the_work_takes() -> None:
    scene = Scene()

    async def story() -> None:
        names = [await scene.interview() for _ in range(3)]
        tasks = [asyncio.create_task(scene.hold(name, [])) for name in names]
        await asyncio.sleep(60)
        assert len(scene.leases) == 3
        assert not any(task.done() for task in tasks)
        assert 140 <= scene.server.calls["renew"] <= 150
        await ended(tasks)
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
            stand_still(0.7)
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
        await ended([later])

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
        await ended([working])

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
        await ended([*working, *late])

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
        await ended([other])

    scene.run(story)


def test_who_commits_the_end_is_left_to_the_fence() -> None:
    scene = Scene()

    async def story() -> None:
        working = asyncio.create_task(scene.hold(await scene.interview(), [], ending=True))
        await asyncio.sleep(0.1)
        scene.server.down = True
        await asyncio.sleep(30)
        assert not working.done()
        await ended([working])

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
        await ended([working])

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
        await ended([working])

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
        await ended(working)

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
        await ended(working)

    scene.run(story)


def test_the_twin_fails_as_the_leases_expect() -> None:
    scene = Scene()

    async def story() -> None:
        scene.server.down = True
        with pytest.raises(BackendDownError):
            await scene.store.renew([("a", "b")])

    scene.run(story)
