import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable

import pytest

from storage.errors import BackendDownError
from storage.live import Appended
from storage.redis import keys
from storage.redis.connect import connect
from storage.redis.notify import PING_S, WATCH_S, RedisNotifier
from tests.contract.backends import Backend, RedisBackend
from tests.contract.interviews import NAME, OTHER, acquired, found, piece, said, started
from tests.contract.proxy import Proxy, proxied

pytestmark = pytest.mark.anyio


class Heard:
    def __init__(self) -> None:
        self.all: list[tuple[str, str]] = []

    def __call__(self, interview_id: str, payload: str) -> None:
        self.all.append((interview_id, payload))

    def of(self, interview_id: str) -> list[str]:
        """What was said, without what only wakes in doubt."""
        return [payload for name, payload in self.all if name == interview_id and payload]

    def woken(self, interview_id: str) -> int:
        return self.all.count((interview_id, ""))

    async def until(self, there: Callable[[], bool], within_s: float = 5.0) -> None:
        deadline = time.monotonic() + within_s
        while not there():
            assert time.monotonic() < deadline, self.all[-20:]
            await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def _notifier(url: str, heard: Heard) -> AsyncGenerator[RedisNotifier]:
    client = connect(url)
    notifier = RedisNotifier(client)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(notifier.run(heard))
        yield notifier
        running.cancel()
    await client.aclose()


async def test_what_happens_is_told_to_those_who_watch(backend: Backend) -> None:
    store, heard = backend.store(), Heard()
    async with backend.listening(heard) as notifier:
        await notifier.watch(NAME)
        await started(store)
        await started(store, OTHER)
        await store.publish(NAME, "p{}")
        fence = (await acquired(store)).fence
        await said(store, piece(fence, 1))
        state = await found(store)
        await store.mark_stored(NAME, state.head, [])
        await store.erase(NAME)
        await heard.until(lambda: "x" in heard.of(NAME))
        assert heard.of(NAME) == [
            f"e{state.head.seq - 1}-{_check(heard, 0)}",
            "p{}",
            f"e{state.head}",
            f"s{state.head}",
            "x",
        ]
        assert heard.of(OTHER) == []


def _check(heard: Heard, place: int) -> str:
    return heard.of(NAME)[place].partition("-")[2]


async def test_a_dropped_watch_is_silent_and_can_be_renewed(backend: Backend) -> None:
    store, heard = backend.store(), Heard()
    async with backend.listening(heard) as notifier:
        for name in (NAME, OTHER):
            await notifier.watch(name)
            await notifier.watch(name)
        await notifier.unwatch(NAME)
        await notifier.unwatch(NAME)
        await store.publish(NAME, "unheard")
        await store.publish(OTHER, "1")
        await heard.until(lambda: heard.of(OTHER) == ["1"])
        for number in range(20):
            await notifier.watch(NAME)
            await store.publish(NAME, str(number))
            await heard.until(lambda number=number: heard.of(NAME)[-1:] == [str(number)])
            await notifier.unwatch(NAME)
    assert "unheard" not in heard.of(NAME)


async def test_payloads_for_many_interviews_are_sent_together(backend: Backend) -> None:
    store, heard = backend.store(), Heard()
    async with backend.listening(heard) as notifier:
        for name in (NAME, OTHER):
            await notifier.watch(name)
        await store.publish_all([])
        await store.publish_all([(NAME, "t1"), (OTHER, "t2"), ("absent", "t3"), (NAME, "t4")])
        await heard.until(lambda: heard.of(NAME) == ["t1", "t4"] and heard.of(OTHER) == ["t2"])


async def test_watching_is_confirmed_after_a_hasty_change_of_mind(valkey: RedisBackend) -> None:
    heard = Heard()
    store = valkey.store()
    async with _notifier(valkey.url, heard) as notifier:
        for number in range(50):
            first = asyncio.create_task(notifier.watch(NAME))
            await asyncio.sleep(0)
            await notifier.unwatch(NAME)
            if number % 2:
                await asyncio.sleep(0)
            await notifier.watch(NAME)
            await store.publish(NAME, str(number))
            await heard.until(lambda number=number: heard.of(NAME)[-1:] == [str(number)])
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            await notifier.unwatch(NAME)


async def test_any_bytes_may_come(valkey: RedisBackend) -> None:
    heard = Heard()
    refused: list[str] = []

    def strict(interview_id: str, payload: str) -> None:
        heard(interview_id, payload)
        if "\ufffd" in payload:
            refused.append(payload)
            raise ValueError(payload)

    client = connect(valkey.url)
    notifier = RedisNotifier(client)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(notifier.run(strict))
        await notifier.watch(NAME)
        channel = keys.interview_keys(NAME)[0]
        for content in (b"\xff\x00\r\n", b"", "🦁".encode(), b"x" * 100_000):
            await valkey.raw.publish(channel, content)
        await heard.until(lambda: heard.of(NAME)[-1:] == ["x" * 100_000])
        running.cancel()
    await client.aclose()
    assert refused == ["\ufffd\x00\r\n"]
    assert heard.of(NAME)[1] == "🦁"


async def test_thousands_are_watched_in_few_commands(valkey: RedisBackend) -> None:
    heard = Heard()
    names = [f"interview-{n}" for n in range(3_000)]
    async with _notifier(valkey.url, heard) as notifier:
        await notifier.watch(NAME)
        before = (await valkey.raw.info("commandstats"))["cmdstat_subscribe"]["calls"]
        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(notifier.watch(name))
        after = (await valkey.raw.info("commandstats"))["cmdstat_subscribe"]["calls"]
        assert after - before <= 12
        assert await valkey.raw.execute_command("PUBSUB", "NUMPAT") == 0
        channel = keys.interview_keys(names[-1])[0]
        (_, count) = await valkey.raw.execute_command("PUBSUB", "NUMSUB", channel)
        assert count == 1
        for name in names:
            await notifier.unwatch(name)
        deadline = time.monotonic() + 5
        while len(await valkey.raw.pubsub_channels("*")) > 1:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.005)


async def test_a_cut_connection_is_made_anew_and_everybody_woken(valkey: RedisBackend) -> None:
    heard, store = Heard(), valkey.store()
    async with proxied(valkey.url) as proxy, _notifier(proxy.url, heard) as notifier:
        for round_number in range(3):
            for name in (NAME, OTHER):
                await notifier.watch(name)
            woken = heard.woken(NAME), heard.woken(OTHER)
            proxy.cut()
            await heard.until(lambda woken=woken: (heard.woken(NAME), heard.woken(OTHER)) > woken)
            await notifier.watch(NAME)
            await notifier.watch(OTHER)
            await store.publish(NAME, str(round_number))
            await heard.until(lambda n=round_number: heard.of(NAME)[-1:] == [str(n)])
        assert proxy.connections == 4


async def test_a_watch_during_an_outage_is_made_good(valkey: RedisBackend) -> None:
    heard, store = Heard(), valkey.store()
    async with proxied(valkey.url) as proxy, _notifier(proxy.url, heard) as notifier:
        await notifier.watch(NAME)
        await proxy.stop()
        began = time.monotonic()
        with pytest.raises(BackendDownError):
            await notifier.watch(OTHER)
        assert WATCH_S * 0.9 < time.monotonic() - began < WATCH_S + 1
        await proxy.start()
        await heard.until(lambda: bool(heard.woken(OTHER)))
        await store.publish(OTHER, "1")
        await heard.until(lambda: heard.of(OTHER) == ["1"])


async def test_a_black_hole_is_noticed(valkey: RedisBackend) -> None:
    heard, store = Heard(), valkey.store()
    async with proxied(valkey.url) as proxy, _notifier(proxy.url, heard) as notifier:
        await notifier.watch(NAME)
        proxy.passing.clear()
        held, began = proxy.connections, time.monotonic()
        await heard.until(lambda: proxy.connections > held)
        assert time.monotonic() - began < 2 * PING_S + 1
        with pytest.raises(BackendDownError):
            await notifier.watch(OTHER)
        _heal(proxy)
        woken = heard.woken(NAME)
        await heard.until(lambda: heard.woken(NAME) > woken)
        await notifier.watch(OTHER)
        await store.publish(OTHER, "1")
        await heard.until(lambda: heard.of(OTHER) == ["1"])


def _heal(proxy: Proxy) -> None:
    """What was held in the hole is gone, as it is behind a firewall that forgot its connections."""
    proxy.cut()
    proxy.passing.set()


async def test_who_hears_is_not_told_of_its_own_words_where_nobody_else_listens(
    backend: Backend,
) -> None:
    store, here, there = backend.store(), Heard(), Heard()
    async with backend.listening(here) as notifier, backend.listening(there) as other:
        assert not notifier.hears(NAME)
        await started(store)
        await notifier.watch(NAME)
        assert notifier.hears(NAME)
        fence = (await acquired(store)).fence
        alone = await said(store, piece(fence, 1, hears=True))
        await other.watch(NAME)
        both = await said(store, piece(fence, 2, hears=True))
        await there.until(lambda: there.of(NAME) != [])
        await other.unwatch(NAME)
        assert not other.hears(NAME)
        away = await said(store, piece(fence, 3))
        assert isinstance(alone, Appended)
        assert isinstance(both, Appended)
        assert isinstance(away, Appended)
        await here.until(lambda: f"e{away.head}" in here.of(NAME))
        assert here.of(NAME) == [f"e{both.head}", f"e{away.head}"]
        assert there.of(NAME) == [f"e{both.head}"]
        await notifier.unwatch(NAME)
        assert not notifier.hears(NAME)
