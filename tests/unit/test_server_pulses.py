"""The pulses of presence: told in parts, late, refused, or through an outage."""

import asyncio
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs

from server.presence import LAPSE_S, LATE_PARTS, PARTS, PULSE_S, SPREAD_S
from storage.live import PARTITIONS
from tests.support.attending import GRACE_MS, LAPSES, Far, Scene, Socket


@pytest.mark.parametrize(("latency_s", "calls"), [(0.0, PARTS), (0.1, 12), (0.5, 5), (0.75, 5)])
def test_a_pulse_is_told_in_parts_and_of_those_that_are_late_some_together(
    latency_s: float, calls: int
) -> None:
    scene = Scene(latency_s)

    async def story() -> None:
        await asyncio.sleep(30)
        asked = scene.stores[0].asked
        starts = [at for at, (_, part) in enumerate(asked) if part[0] == 0]
        assert len(starts) >= 5
        for start, following in pairwise(starts):
            pulse = asked[start:following]
            assert len(pulse) <= calls
            assert [number for _, part in pulse for number in part] == list(range(PARTITIONS))
            assert all(len(part) <= LATE_PARTS * PARTITIONS // PARTS for _, part in pulse)
            assert pulse[-1][0] - pulse[0][0] >= SPREAD_S * (1 - 1 / PARTS) - 0.001
            assert asked[following][0] - pulse[0][0] <= 1.25 * PULSE_S + latency_s

    scene.play(story)


@pytest.mark.parametrize("latency_s", [0.0, 0.5])
@pytest.mark.parametrize("partition", [0, PARTITIONS // 2, PARTITIONS - 1])
def test_a_slow_redis_and_a_call_now_and_then_that_fails_make_nobody_absent(
    partition: int, latency_s: float
) -> None:
    scene = Scene(latency_s)

    async def story() -> None:
        name = await scene.interview(partition)
        socket, store = Socket(scene.clock), scene.stores[0]
        scene.instances[0].enter(name, socket)
        for _ in range(30):
            store.fails = partition
            failing = len(store.asked)
            while not any(partition in part for _, part in store.asked[failing:]):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            await asyncio.sleep(latency_s)
            store.fails = None
            await asyncio.sleep(LAPSE_S)
            assert (await scene.found(name)).absences == 0
        scene.instances[0].leave(name, socket)
        await asyncio.sleep(LAPSES + 3 * PULSE_S)
        assert (await scene.found(name)).absences == 1

    scene.play(story)


def test_a_part_that_always_fails_at_one_instance_silences_no_other() -> None:
    scene = Scene()

    async def story() -> None:
        numbers = range(0, PARTITIONS, PARTITIONS // PARTS + 1)
        names = [await scene.interview(number) for number in numbers]
        for name in names:
            scene.instances[0].enter(name, Socket(scene.clock))
        scene.stores[0].fails = numbers[3]
        await asyncio.sleep(120)
        missed = [
            number
            for number, name in zip(numbers, names, strict=True)
            if (await scene.found(name)).absences
        ]
        assert missed == [numbers[3]]
        scene.instances[1].enter(names[3], Socket(scene.clock))
        await asyncio.sleep(2 * PULSE_S)
        assert (await scene.found(names[3])).status == "live"

    scene.play(story)


@pytest.mark.parametrize("sound", [0, PARTITIONS - 2])
def test_a_partition_that_is_refused_keeps_nobody_else_from_being_missed(sound: int) -> None:
    scene = Scene()

    async def story() -> None:
        name, refused = await scene.interview(sound), await scene.interview(PARTITIONS - 1)
        socket = Socket(scene.clock)
        scene.instances[0].enter(name, socket)
        for store in scene.stores:
            store.refuses = PARTITIONS - 1
        await asyncio.sleep(30)
        scene.instances[0].leave(name, socket)
        await asyncio.sleep(LAPSES)
        assert (await scene.found(name)).status == "disconnected"
        assert (await scene.found(refused)).status == "live"  # nobody can know

    scene.play(story)


def test_a_partition_that_was_refused_for_a_while_makes_nobody_absent() -> None:
    """What one told just before it, the other did not: its last telling is 21 s old for the one."""
    scene = Scene()
    scene.clock.chance, period = 0.75, 4.5

    async def story() -> None:
        name = await scene.interview(6)  # it is not its turn in the other's last pulse before
        scene.running.pop().cancel()
        await asyncio.sleep(1.5)
        scene.running.append(asyncio.create_task(scene.instances[1].run()))
        scene.instances[1].enter(name, Socket(scene.clock))
        await asyncio.sleep(6 * period - 1.5 + 0.05)
        for store in scene.stores:
            store.refuses = 6
        await asyncio.sleep(3 * period - 0.1)
        for store in scene.stores:
            store.refuses = None
        await asyncio.sleep(30)
        assert (await scene.found(name)).absences == 0

    scene.play(story)


def test_what_a_pulse_found_before_a_part_of_it_failed_waits_for_a_better_one() -> None:
    scene = Scene()
    scene.instances.pop()

    async def story() -> None:
        name = await scene.interview(0)
        socket, store = Socket(scene.clock), scene.stores[0]
        scene.instances[0].enter(name, socket)
        await asyncio.sleep(30)
        scene.instances[0].leave(name, socket)
        while name not in store.lapsed:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        store.fails = PARTITIONS - 1  # which comes at the end of this very pulse
        await asyncio.sleep(2 * SPREAD_S)
        assert (await scene.found(name)).absences == 0
        store.fails = None
        await asyncio.sleep(LAPSES)
        assert (await scene.found(name)).absences == 1

    scene.play(story)


def test_an_outage_that_each_call_notices_late_makes_nobody_absent() -> None:
    """Two instances whose pulses lie apart: what one told just before it, the other did not."""
    scene = Scene()

    async def story() -> None:
        names = [await scene.interview(number) for number in range(0, PARTITIONS, 7)]
        scene.running.pop().cancel()
        await asyncio.sleep(1.5)
        scene.running.append(asyncio.create_task(scene.instances[1].run()))
        for name in names:
            scene.instances[1].enter(name, Socket(scene.clock))
        await asyncio.sleep(28.51)
        for store in scene.stores:
            store.hangs_until = scene.clock.monotonic() + 12
        for _ in range(50):
            await asyncio.sleep(1)
            assert not any([(await scene.found(name)).absences for name in names])

    with capture_logs() as logs:
        scene.play(story)
    assert [line["event"] for line in logs] == ["presence not told"] * 2  # one of each instance


@pytest.mark.parametrize(("how", "other"), [("fails", 0), ("refuses", PARTITIONS - 2)])
def test_those_who_left_are_told_again_where_that_failed_and_only_there(
    how: str, other: int
) -> None:
    scene = Scene(0.5)
    scene.instances.pop()

    async def story() -> None:
        sound, refused = await scene.interview(other), await scene.interview(PARTITIONS - 1)
        store, presence = scene.stores[0], scene.instances[0]
        early, late = Socket(scene.clock), Socket(scene.clock)
        for name in (sound, refused):
            presence.enter(name, early)
            presence.enter(name, late)
        await asyncio.sleep(30)
        early.silent_since = scene.clock.monotonic() - 5
        late.silent_since = scene.clock.monotonic()
        for name in (sound, refused):
            presence.leave(name, late)
        setattr(store, how, PARTITIONS - 1)
        store.asked.clear()
        while not store.asked or store.asked[-1][1][-1] != PARTITIONS - 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for name in (sound, refused):
            presence.leave(name, early)
        await asyncio.sleep(3 * PULSE_S)
        store.told.clear()
        await asyncio.sleep(3 * PULSE_S)
        assert {each.interview_id for each in store.told} == {refused}
        setattr(store, how, None)
        await asyncio.sleep(2 * PULSE_S)
        last = store.told[-1]
        assert (last.interview_id, last.present) == (refused, False)
        store.told.clear()
        await asyncio.sleep(2 * PULSE_S)
        assert store.told == []
        ago_ms = (scene.clock.monotonic() - late.silent_since) * 1000
        assert scene.server.interviews[refused].heard >= scene.clock.now() - ago_ms - 2

    scene.play(story)


def test_who_left_long_ago_is_not_told_for_ever_where_that_fails() -> None:
    scene = Scene()
    scene.instances.pop()

    async def story() -> None:
        name, store, socket = await scene.interview(7), scene.stores[0], Socket(scene.clock)
        store.refuses = 7
        scene.instances[0].enter(name, socket)
        socket.silent_since = scene.clock.monotonic()
        scene.instances[0].leave(name, socket)
        await asyncio.sleep(GRACE_MS / 1000 - 2 * PULSE_S)
        store.told.clear()
        await asyncio.sleep(2 * PULSE_S)
        assert store.told
        await asyncio.sleep(2 * PULSE_S)
        store.told.clear()
        await asyncio.sleep(60)
        assert store.told == []

    scene.play(story)


@pytest.mark.parametrize("how", ["fails", "hangs"])
def test_nobody_is_missed_any_more_by_what_was_found_before_a_pulse_failed(how: str) -> None:
    scene = Scene()
    scene.instances.pop()

    async def story() -> None:
        for _ in range(3_000):
            await scene.interview()
        scene.server.wire = Far()
        await asyncio.sleep(LAPSES)  # from here on it works at those
        if how == "hangs":
            scene.stores[0].hangs_until = scene.clock.monotonic() + 60
        else:
            scene.stores[0].fails = 0
        await asyncio.sleep(1.25 * PULSE_S + 5)
        loaded = scene.server.calls["load"]
        assert 100 < loaded < 3_000
        await asyncio.sleep(40)
        assert scene.server.calls["load"] == loaded

    scene.play(story)


def test_those_who_are_there_again_are_seen_to_at_once_and_before_the_missing() -> None:
    scene = Scene()
    scene.instances.pop()

    async def story() -> None:
        names = [await scene.interview() for _ in range(64)]
        await asyncio.sleep(LAPSES)
        missing = [await scene.interview() for _ in range(3_000)]
        scene.server.wire = Far()
        await asyncio.sleep(LAPSE_S + PULSE_S)  # from here on it works at those
        for name in names:
            assert (await scene.found(name)).status == "disconnected"
            scene.instances[0].enter(name, Socket(scene.clock))
        await asyncio.sleep(1.25 * PULSE_S + SPREAD_S + 5)
        for name in names:
            assert (await scene.found(name)).status == "live"
        left = [(await scene.found(name)).status == "live" for name in missing]
        assert any(left)  # which are not through yet

    scene.play(story)


def test_who_is_there_again_is_seen_to_once_though_all_behind_them_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene()
    scene.instances.pop()
    applied: Counter[str] = Counter()
    apply = scene.sessions[0].apply

    async def counted(interview_id: str, *given: Any, **named: Any) -> Any:
        applied[interview_id] += 1
        return await apply(interview_id, *given, **named)

    async def story() -> None:
        names = [await scene.interview(0) for _ in range(64)]
        await asyncio.sleep(LAPSES)
        monkeypatch.setattr(scene.sessions[0], "apply", counted)
        scene.server.wire = Far()
        scene.stores[0].fails_from = PARTITIONS // PARTS
        for name in names:
            scene.instances[0].enter(name, Socket(scene.clock))
        scene.stores[0].asked.clear()
        while len(scene.stores[0].asked) < PARTS:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert applied.total() > 16
        assert set(applied.values()) == {1}

    scene.play(story)


def test_who_is_there_again_is_seen_to_on_either_side_of_a_part_that_fails() -> None:
    scene = Scene()
    scene.instances.pop()

    async def story() -> None:
        names = [await scene.interview(number) for number in (0, PARTITIONS - 1)]
        await asyncio.sleep(LAPSES)
        scene.stores[0].fails = PARTITIONS // 2
        for name in names:
            assert (await scene.found(name)).status == "disconnected"
            scene.instances[0].enter(name, Socket(scene.clock))
        await asyncio.sleep(1.25 * PULSE_S + 2 * SPREAD_S)
        for name in names:
            assert (await scene.found(name)).status == "live"

    scene.play(story)


def test_who_comes_back_while_a_pulse_still_goes_on_was_not_away() -> None:
    scene = Scene()

    async def story() -> None:
        name = await scene.interview(0)
        socket, store = Socket(scene.clock), scene.stores[0]
        scene.running.pop().cancel()
        scene.instances[0].enter(name, socket)
        await asyncio.sleep(30)
        scene.instances[0].leave(name, socket)
        while name not in store.lapsed:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert store.asked[-1][1][0] == 0
        scene.instances[0].enter(name, socket)
        await asyncio.sleep(LAPSES)
        assert (await scene.found(name)).absences == 0

    scene.play(story)
