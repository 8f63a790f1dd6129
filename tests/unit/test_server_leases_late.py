"""Leases of a process that stood still, or was busy: what it reads or sends late is no loss."""

import asyncio

import pytest

from server.leases import (
    RENEW_S,
    STOP_S,
    SUSPENDED_S,
    Lease,
)
from tests.support.leasing import Scene, ended
from tests.support.virtual_time import stand_still


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
        await ended(working)

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
        stand_still(stood_s)
        await asyncio.sleep(5)
        assert not any(task.done() for task in working)
        await ended(working)

    scene.run(story)


def test_however_often_the_time_is_asked_for_a_busy_stretch_counts_little() -> None:
    scene = Scene()

    async def story() -> None:
        working = [asyncio.create_task(scene.hold(await scene.interview(), [])) for _ in range(3)]
        await asyncio.sleep(5.1)
        scene.wire.slow["renew"] = 0.06
        for _ in range(40):  # many turns begin in one pass of the loop
            scene.leases.awake()
            stand_still(0.02)
        await asyncio.sleep(5)
        assert not any(task.done() for task in working)
        await ended(working)

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
            stand_still(busy_s)
        assert scene.server.calls["renew"] > 10
        assert not working.done()
        await ended([working])

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
        await ended([sound, late])

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
            stand_still(0.1)
            await asyncio.sleep(0.05)
        await asyncio.gather(working, return_exceptions=True)
        began, lost = held
        assert lost - began <= 2 * STOP_S

    scene.run(story)


def test_a_process_that_was_stopped_gives_up_at_once_and_says_so() -> None:
    scene = Scene()

    async def story() -> None:
        held: list[float] = []
        working = asyncio.create_task(scene.hold(await scene.interview(), held))
        await asyncio.sleep(10)
        assert scene.suspensions == 0
        stand_still(RENEW_S + SUSPENDED_S + 0.1)
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
            stand_still(stops.pop())
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
