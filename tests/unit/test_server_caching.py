"""The cache on an instance: it speeds things up, and neither fails nor misleads anybody."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec import Struct
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from server import caching
from server.caching import Caching, Kept, lists_of, profile_of, progress_of
from server.meters import Meters
from storage.cache import Found
from storage.errors import BackendDownError, BadDataError, OutOfMemoryError, StorageError
from storage.twin.cache import TwinCache
from tests.support.clocks import LoopClock
from tests.support.virtual_time import run_virtual


class Thing(Struct, frozen=True):
    n: int


KEPT = Kept("thing", 60.0, Thing)


class Faulty(TwinCache):
    """A cache that fails with ``fault``, or answers after ``delay_s``."""

    def __init__(self) -> None:
        super().__init__(lambda: int(asyncio.get_running_loop().time() * 1e6), 1_000_000)
        self.fault: StorageError | None = None
        self.delay_s = 0.0
        self.asked = 0

    async def _answer(self) -> None:
        self.asked += 1
        await asyncio.sleep(self.delay_s)
        if self.fault is not None:
            raise self.fault

    async def find(self, group: str, names: Sequence[str]) -> Found:
        await self._answer()
        return await super().find(group, names)

    async def keep(self, *arguments: Any, **named: Any) -> bool:
        await self._answer()
        return await super().keep(*arguments, **named)

    async def write(self, *arguments: Any, **named: Any) -> bool:
        await self._answer()
        return await super().write(*arguments, **named)

    async def drop(self, groups: Sequence[str]) -> None:
        await self._answer()
        await super().drop(groups)


class Desk:
    """A cache, two instances on it, and the backend behind them."""

    def __init__(self) -> None:
        self.cache = Faulty()
        self.registry = CollectorRegistry()
        meters = Meters(self.registry)
        self.mine, self.other = (Caching(self.cache, LoopClock(), meters) for _ in range(2))
        self.stored = 1
        self.loads = 0

    async def load(self) -> Thing:
        self.loads += 1
        return Thing(self.stored)

    async def read(self, by: Caching | None = None) -> int:
        return (await (by or self.mine).read(KEPT, "g", "n", self.load)).n

    def counted(self) -> Counter[str]:
        samples = next(m for m in self.registry.collect() if m.name == "viva_cache").samples
        things = (s for s in samples if s.labels["cache"] == "thing")
        return Counter({s.labels["answer"]: int(s.value) for s in things})


def run(test: Any) -> Any:
    async def main() -> None:
        desk = Desk()
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(each.run()) for each in (desk.mine, desk.other)]
            await test(desk)
            for task in running:
                task.cancel()

    return run_virtual(main())


def in_virtual_time(test: "Any") -> Any:
    def wrapped() -> None:
        run(test)

    wrapped.__name__ = test.__name__
    return wrapped


@in_virtual_time
async def test_what_was_loaded_is_cached_for_everybody_until_it_lapses(desk: Desk) -> None:
    assert [await desk.read() for _ in range(3)] == [1, 1, 1]
    assert await desk.read(desk.other) == 1
    assert desk.loads == 1
    await asyncio.sleep(61)
    assert await desk.read() == 1
    assert desk.loads == 2
    assert desk.counted() == Counter(hit=3, miss=2)


@in_virtual_time
async def test_a_drop_is_seen_at_once_everywhere(desk: Desk) -> None:
    await desk.read()
    desk.stored = 2
    await desk.other.dropped("g", "h")
    assert await desk.read() == 2


@in_virtual_time
async def test_a_loading_that_a_write_overtook_is_not_kept(desk: Desk) -> None:
    async def slowly() -> Thing:
        thing = await desk.load()
        await asyncio.sleep(0.05)
        return thing

    reading = asyncio.create_task(desk.mine.read(KEPT, "g", "n", slowly))
    await asyncio.sleep(0.01)
    desk.stored = 2
    await desk.other.dropped("g")
    assert (await reading).n == 1, "it began before the write"
    assert await desk.read() == 2


@in_virtual_time
async def test_a_write_goes_through(desk: Desk) -> None:
    await desk.read()
    await desk.other.written(KEPT, "g", "n", Thing(7), 2)
    assert await desk.read() == 7
    await desk.mine.written(KEPT, "g", "n", Thing(6), 1)
    assert await desk.read() == 7, "the older one came late"
    assert desk.loads == 1


@in_virtual_time
async def test_a_dead_cache_is_asked_once_a_second_and_fails_nobody(desk: Desk) -> None:
    desk.cache.fault = BackendDownError("down")
    with capture_logs() as logs:
        assert [await desk.read() for _ in range(50)] == [1] * 50
    assert (desk.cache.asked, desk.loads) == (1, 50)
    assert [log["event"] for log in logs] == ["the cache does not answer"]
    desk.cache.fault = None
    await asyncio.sleep(caching.PAUSE_S)
    assert [await desk.read() for _ in range(2)] == [1, 1]
    assert desk.loads == 51
    assert desk.counted() == Counter(error=50, miss=1, hit=1)


@in_virtual_time
async def test_it_is_known_whether_the_cache_answered_last(desk: Desk) -> None:
    assert not desk.mine.answers
    await asyncio.sleep(2 * caching.LOOK_S)
    assert desk.mine.answers, "it is looked at, though nobody reads"
    for fault, delay_s in ((BackendDownError("down"), 0.0), (None, 30.0)):
        desk.cache.fault, desk.cache.delay_s = fault, delay_s
        await desk.read()
        assert not desk.mine.answers
        desk.cache.fault, desk.cache.delay_s = None, 0.0
        await asyncio.sleep(caching.PAUSE_S)
        await desk.read()
        assert desk.mine.answers


@in_virtual_time
async def test_a_cache_that_hangs_costs_a_moment(desk: Desk) -> None:
    desk.cache.delay_s = 30.0
    began = asyncio.get_running_loop().time()
    assert [await desk.read() for _ in range(20)] == [1] * 20
    assert asyncio.get_running_loop().time() - began == pytest.approx(caching.LIMIT_S)


@in_virtual_time
async def test_a_full_cache_keeps_nothing_and_fails_nobody(desk: Desk) -> None:
    desk.cache.fault = OutOfMemoryError("full")
    assert await desk.read() == 1
    await desk.mine.written(KEPT, "g", "n", Thing(1), 1)


@in_virtual_time
async def test_what_could_not_be_dropped_is_not_read_and_dropped_later(desk: Desk) -> None:
    await desk.read()
    desk.stored = 2
    desk.cache.fault = BackendDownError("down")
    await desk.mine.dropped("g")
    desk.cache.fault = None
    assert await desk.read() == 2, "the cache still holds the old one"
    await asyncio.sleep(3)
    assert await desk.read(desk.other) == 2
    assert await desk.read() == 2
    assert desk.loads == 3, "the last one came from the cache"


@in_virtual_time
async def test_a_write_that_could_not_go_through_is_not_read_either(desk: Desk) -> None:
    await desk.read()
    desk.stored = 2
    desk.cache.fault = BackendDownError("down")
    await desk.mine.written(KEPT, "g", "n", Thing(2), 2)
    desk.cache.fault = None
    await asyncio.sleep(3)
    assert await desk.read(desk.other) == 2


@in_virtual_time
async def test_what_is_owed_is_bounded_and_a_refusal_ends_it(desk: Desk) -> None:
    desk.cache.fault = BackendDownError("down")
    desk.mine.stale(f"g{number}" for number in range(caching.OWED + 50))
    await asyncio.sleep(1)
    desk.cache.fault = BadDataError("refused")
    with capture_logs() as logs:
        await asyncio.sleep(5)
    assert len(logs) == caching.OWED / caching.BATCH
    desk.cache.fault = None
    asked = desk.cache.asked
    await asyncio.sleep(5)
    assert desk.cache.asked == asked


@in_virtual_time
async def test_an_entry_that_is_none_is_loaded_anew(desk: Desk) -> None:
    for loads, held in enumerate((b'{"m": 1}', b'"\xff"'), 1):  # another version's, and no text
        await desk.cache.keep("g", "n", held, ttl_ms=60_000)
        with capture_logs() as logs:
            assert await desk.read() == 1
        assert [log["event"] for log in logs] == ["an entry of another form"]
        assert await desk.read() == 1
        assert desk.loads == loads


@in_virtual_time
async def test_it_is_told_how_much_is_kept(desk: Desk) -> None:
    await desk.read()
    await asyncio.sleep(2 * caching.LOOK_S)
    size = await desk.cache.size()
    assert desk.registry.get_sample_value("viva_cache_entries") == size.entries == 1
    assert desk.registry.get_sample_value("viva_cache_bytes") == size.size > 0


def test_groups_tell_nobodys_name() -> None:
    groups = {of(user) for of in (lists_of, progress_of, profile_of) for user in ("ada@x.org", "b")}
    assert len(groups) == 6
    assert not any("ada" in group for group in groups)
