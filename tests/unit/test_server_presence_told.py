"""Whom a pulse of presence tells of: who came or left, and in turn those who stay."""

import asyncio
from collections import Counter

import pytest

from server.presence import PARTS, PULSE_S, SPREAD_S, TURNS
from storage.live import PARTITIONS
from tests.support.attending import Scene, Socket
from tests.support.virtual_time import stand_still


def test_who_stays_is_told_in_every_second_pulse_and_who_came_or_left_in_the_next() -> None:
    scene = Scene()
    scene.instances.pop()

    async def pulse() -> Counter[tuple[str, bool]]:
        store = scene.stores[0]
        store.asked.clear()
        store.told.clear()
        while len(store.asked) < PARTS:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)
        return Counter((each.interview_id, each.present) for each in store.told)

    async def story() -> None:
        names = [await scene.interview(number) for number in range(PARTITIONS)]
        presence = scene.instances[0]
        first, second = Socket(scene.clock), Socket(scene.clock)
        for name in names:
            presence.enter(name, first)
        assert await pulse() == dict.fromkeys([(name, True) for name in names], 1)
        turns = [await pulse() for _ in range(4)]
        assert turns[0] == turns[2]
        assert turns[1] == turns[3]
        assert turns[0] + turns[1] == dict.fromkeys([(name, True) for name in names], 1)
        assert len(turns[0]) == len(turns[1])
        for name in names:
            presence.enter(name, second)
        assert await pulse() == dict.fromkeys([(name, True) for name in names], 1)
        for name in names:
            presence.leave(name, first)
        assert await pulse() == dict.fromkeys([(name, True) for name in names], 1)
        for name in names:
            presence.leave(name, second)
        assert await pulse() == dict.fromkeys([(name, False) for name in names], 1)
        assert await pulse() == {}

    scene.play(story)


@pytest.mark.parametrize("how", ["fails", "refuses"])
@pytest.mark.parametrize("partition", [PARTITIONS - 2, PARTITIONS - 1])
def test_a_telling_that_failed_comes_again_with_the_next_pulse(how: str, partition: int) -> None:
    scene = Scene()
    scene.instances.pop()

    async def story() -> None:
        name, store = await scene.interview(partition), scene.stores[0]
        scene.instances[0].enter(name, Socket(scene.clock))
        setattr(store, how, partition)
        for _ in range(4):
            store.told.clear()
            while not store.told:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            began = scene.clock.monotonic()
            await asyncio.sleep(0.01)
            store.told.clear()
            while not store.told:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert scene.clock.monotonic() - began <= 1.25 * PULSE_S + SPREAD_S
        setattr(store, how, None)
        await asyncio.sleep(2 * PULSE_S)
        store.told.clear()
        store.asked.clear()
        await asyncio.sleep(10 * PULSE_S)
        pulses = sum(partition in part for _, part in store.asked)
        assert abs(len(store.told) - pulses / TURNS) < 1

    scene.play(story)


def test_a_pulse_that_comes_late_tells_of_all() -> None:
    scene = Scene()
    scene.instances.pop()

    async def story() -> None:
        names = [await scene.interview(number) for number in range(PARTITIONS)]
        for name in names:
            scene.instances[0].enter(name, Socket(scene.clock))
        await asyncio.sleep(30)
        store = scene.stores[0]
        while len(store.asked) % PARTS:  # noqa: ASYNC110  # until a pulse is over
            await asyncio.sleep(0.01)
        stand_still(1.25 * PULSE_S + SPREAD_S)
        store.told.clear()
        await asyncio.sleep(SPREAD_S + 0.1)
        assert {each.interview_id for each in store.told} == set(names)

    scene.play(story)
