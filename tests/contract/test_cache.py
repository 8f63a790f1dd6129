"""One suite over every cache: what it keeps, for how long, and what dropping means."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from storage.cache import OVERHEAD, SHARE, Cache, Found
from storage.errors import OutOfMemoryError
from storage.redis.cache import CACHE_KEYS, RedisCache
from storage.redis.store import RedisStore
from storage.twin.cache import TwinCache
from tests.contract.backends import RedisBackend
from tests.support.databases import flush_redis

pytestmark = pytest.mark.anyio

LONG_MS = 60_000
BUDGET = 64 * 1024
Make = Callable[[int], Cache]


@pytest.fixture
async def make(backend_url: str) -> AsyncGenerator[Make]:
    """Makes a cache of so many bytes; on one server it is the same cache."""
    if not backend_url:
        yield lambda budget: TwinCache(lambda: time.time_ns() // 1000, budget)
        return
    flush_redis(backend_url)
    backend = RedisBackend(backend_url)
    try:
        yield lambda budget: RedisCache(RedisStore(backend.client()), budget)
    finally:
        await backend.aclose()


@pytest.fixture
def cache(make: Make) -> Cache:
    return make(BUDGET)


async def keep(cache: Cache, name: str, value: bytes, group: str = "g") -> bool:
    found = await cache.find(group, [name])
    return await cache.keep(group, name, value, ttl_ms=LONG_MS, generation=found.generation)


async def values(cache: Cache, *names: str, group: str = "g") -> tuple[bytes | None, ...]:
    return (await cache.find(group, names)).values


async def test_what_is_kept_is_found_under_its_name_and_group(cache: Cache) -> None:
    assert await cache.find("g", ["a", "b"]) == Found((None, None), "")
    assert await keep(cache, "a", b"\x00one 1 ")
    assert await keep(cache, "b", b"")
    assert await values(cache, "b", "c", "a") == (b"", None, b"\x00one 1 ")
    assert await values(cache, "a", group="h") == (None,)


async def test_an_entry_lapses(cache: Cache) -> None:
    await cache.keep("g", "a", b"1", ttl_ms=30)
    assert await values(cache, "a") == (b"1",)
    await asyncio.sleep(0.05)
    assert await values(cache, "a") == (None,)
    await keep(cache, "b", b"2")
    assert (await cache.size()).entries == 1, "it made room"


async def test_what_lapsed_is_gone_once_somebody_looks_how_much_there_is(cache: Cache) -> None:
    for number in range(20):
        await cache.keep("g", f"n{number}", b"1", ttl_ms=500)
    await keep(cache, "a", b"1", "h")
    assert (await cache.size()).entries == 21
    await asyncio.sleep(0.6)
    size = await cache.size()
    assert (size.entries, size.size) == (1, len("e:h:a") + len(" 0 1") + OVERHEAD)


async def test_dropping_forgets_a_group_and_no_other(cache: Cache) -> None:
    await keep(cache, "a", b"1")
    await keep(cache, "a", b"2", "h")
    await keep(cache, "a", b"3", "i")
    await cache.drop(["g", "i"])
    assert await values(cache, "a") == (None,)
    assert await values(cache, "a", group="h") == (b"2",)
    assert await values(cache, "a", group="i") == (None,)
    assert await keep(cache, "a", b"4")
    assert await values(cache, "a") == (b"4",)


async def test_who_read_before_the_drop_keeps_nothing(cache: Cache) -> None:
    early = await cache.find("g", ["a"])
    await cache.drop(["g"])
    assert not await cache.keep("g", "a", b"old", ttl_ms=LONG_MS, generation=early.generation)
    later = await cache.find("g", ["a"])
    await cache.drop(["g"])
    assert not await cache.keep("g", "a", b"old", ttl_ms=LONG_MS, generation=later.generation)
    assert await values(cache, "a") == (None,)
    assert await keep(cache, "a", b"new")


async def test_nothing_is_kept_while_a_replica_may_lag(cache: Cache) -> None:
    await cache.drop(["g"])
    found = await cache.find("g", ["a"])
    lagging: dict[str, Any] = {"ttl_ms": LONG_MS, "generation": found.generation, "quiet_ms": 60}
    assert not await cache.keep("g", "a", b"1", **lagging)
    await asyncio.sleep(0.08)
    assert await cache.keep("g", "a", b"1", **lagging)
    assert await cache.keep("never dropped", "a", b"1", ttl_ms=LONG_MS, quiet_ms=60)


async def test_a_write_goes_through_and_ends_older_readings(cache: Cache) -> None:
    early = await cache.find("g", ["a"])
    await keep(cache, "other", b"1")
    assert await cache.write("g", "a", b"two", ttl_ms=LONG_MS, version=2)
    assert await values(cache, "a", "other") == (b"two", None)
    assert not await cache.keep("g", "a", b"one", ttl_ms=LONG_MS, generation=early.generation)
    assert await values(cache, "a") == (b"two",)


async def test_writes_that_overtake_each_other_end_with_the_newest(cache: Cache) -> None:
    assert await cache.write("g", "a", b"v2", ttl_ms=LONG_MS, version=2)
    assert not await cache.write("g", "a", b"v1", ttl_ms=LONG_MS, version=1)
    assert not await cache.write("g", "a", b"again", ttl_ms=LONG_MS, version=2)
    assert await values(cache, "a") == (b"v2",)
    assert await cache.write("g", "a", b"v3", ttl_ms=LONG_MS, version=3)
    assert await values(cache, "a") == (b"v3",)
    await cache.drop(["g"])
    found = await cache.find("g", ["a"])
    assert await cache.keep("g", "a", b"v5", ttl_ms=LONG_MS, generation=found.generation, version=5)
    assert not await cache.write("g", "a", b"v4", ttl_ms=LONG_MS, version=4)
    assert await values(cache, "a") == (b"v5",)


async def test_one_claims_a_work_until_it_is_given_back_or_lapses(cache: Cache) -> None:
    assert [await cache.claim("w", LONG_MS) for _ in range(3)] == [True, False, False]
    assert await cache.claim("other", LONG_MS)
    await cache.release("w")
    assert await cache.claim("w", 30)
    await asyncio.sleep(0.05)
    assert await cache.claim("w", LONG_MS)
    claims = await asyncio.gather(*(cache.claim("crowd", LONG_MS) for _ in range(40)))
    assert sum(claims) == 1


async def test_the_budget_is_never_passed(make: Make) -> None:
    cache = make(16 * 1024)
    draw = random.Random(5)
    kept, entries = 0, 0
    for number in range(400):
        value = bytes(draw.randrange(0, 700))
        group = f"g{draw.randrange(4)}"
        if draw.random() < 0.1:
            await cache.drop([group])
        kept += await keep(cache, f"n{number}", value, group)
        size = await cache.size()
        assert size.size <= 16 * 1024
        entries = max(entries, size.entries)
    assert kept == 400
    assert 20 < entries < 80


async def test_what_would_lapse_first_makes_room(make: Make) -> None:
    cache = make(SHARE * 1024)
    for number in range(40):
        await cache.keep("g", f"n{number}", bytes(500), ttl_ms=3_600_000 - number * 10_000)
    names = [f"n{number}" for number in range(40)]
    found = await values(cache, *names)
    gone = [name for name, value in zip(names, found, strict=True) if value is None]
    each = 500 + len("e:g:n10") + len(" 0 ") + OVERHEAD
    room = SHARE * 1024 // each
    # The last to come always fits: those before it with the least time left went for it.
    assert gone == [*names[room - 1 : 39]]


async def test_what_is_too_large_is_not_kept_and_takes_its_old_self_away(cache: Cache) -> None:
    await keep(cache, "b", b"1")
    await keep(cache, "a", b"1")
    assert not await keep(cache, "a", bytes(BUDGET // SHARE))
    assert await values(cache, "a", "b") == (None, b"1")


async def test_all_that_is_counted_is_given_back(cache: Cache) -> None:
    draw = random.Random(1)
    for _ in range(300):
        group, name = f"g{draw.randrange(3)}", f"n{draw.randrange(9)}"
        await cache.keep(group, name, bytes(draw.randrange(99)), ttl_ms=20)
    await cache.claim("w", 20)
    await asyncio.sleep(0.03)
    await cache.release("w")
    await cache.keep("h", "last", b"", ttl_ms=LONG_MS)
    size = await cache.size()
    assert (size.entries, size.size) == (1, len("e:h:last") + len(" 0 ") + OVERHEAD)


async def test_dropping_works_without_memory(real: RedisBackend) -> None:
    cache = RedisCache(RedisStore(real.client()), BUDGET)
    await keep(cache, "a", b"1")
    async with real.full():
        with pytest.raises(OutOfMemoryError):
            await keep(cache, "b", b"1")
        await cache.drop(["g"])
    assert await values(cache, "a") == (None,)


@pytest.mark.parametrize("taken", CACHE_KEYS)
async def test_a_server_that_evicts_by_itself_does_no_harm(real: RedisBackend, taken: str) -> None:
    cache = RedisCache(RedisStore(real.client()), BUDGET)
    for number in range(20):
        await keep(cache, f"n{number}", b"1")
    await real.raw.delete(taken)
    await keep(cache, "a", b"2")
    assert await values(cache, "a", "n1") == (b"2", None)
    assert (await cache.size()).entries == 1
    assert (await cache.size()).size < 400


async def test_all_keys_end_and_share_a_slot(real: RedisBackend) -> None:
    cache = RedisCache(RedisStore(real.client()), BUDGET)
    await keep(cache, "a", b"1")
    assert {key.split("{")[1].split("}")[0] for key in CACHE_KEYS} == {"cache"}
    assert [0 < await real.raw.ttl(key) <= 86_400 for key in CACHE_KEYS] == [True] * 3
    assert len(await real.raw.keys("*")) == 3
