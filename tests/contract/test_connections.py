"""Calls in flight: cancelled, cut, held up, answered late. Each reply belongs to its call."""

import asyncio
import random
import time
from typing import Any

import pytest

from protocol.ids import ORIGIN
from storage.errors import BackendDownError
from storage.live import Appended, Committed, Fenced, State
from storage.redis.connect import CALL_TIMEOUT_S, connect
from storage.redis.store import RedisStore
from tests.contract.backends import RedisBackend
from tests.contract.interviews import (
    LONG_MS,
    NAME,
    acquired,
    apply,
    finished,
    found,
    piece,
    restore_of,
    said,
    started,
)
from tests.contract.proxy import proxied

pytestmark = pytest.mark.anyio


async def test_a_cancelled_call_never_gives_its_reply_to_another(real: RedisBackend) -> None:
    """redis-py mixed up replies in March 2023, when a call was cancelled in flight."""
    store = real.store()
    names = [f"interview-{n}" for n in range(40)]
    for name in names:
        await store.create(restore_of(name))
    draw = random.Random(20230320)
    cancelled = right = 0

    async def ask(name: str) -> None:
        kind = draw.randrange(3)
        if kind == 0:
            state = await store.load(name)
            assert isinstance(state, State)
            assert state.session.interview_id == name
        elif kind == 1:
            (pulse, missing) = await store.pulse([name, "absent"])
            assert pulse is not None
            assert missing is None
        else:
            assert await store.read(name, ORIGIN, 1) == []

    for _ in range(60):
        tasks = [asyncio.create_task(ask(draw.choice(names))) for _ in range(30)]
        for _ in range(draw.randrange(12)):
            await asyncio.sleep(0)
        for task in draw.sample(tasks, 10):
            cancelled += not task.done() and task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        # A busy machine may give no connection in time, which is told as such and mixes up nothing.
        known = asyncio.CancelledError | BackendDownError
        wrong = [r for r in results if r is not None and not isinstance(r, known)]
        right += results.count(None)
        assert wrong == []
    assert cancelled > 100
    assert right > 500
    assert isinstance(await store.load(names[0]), State)


async def test_a_cancellation_is_never_lost(valkey: RedisBackend) -> None:
    """`asyncio.wait_for` of Python 3.11 swallows one that comes just as its work is done."""
    store = valkey.store()
    state = await started(store)
    calls: list[Any] = [
        lambda: store.load(NAME),
        lambda: store.pulse([NAME] * 3),
        lambda: store.read(NAME, state.head, 1),
    ]
    cut_short = 0
    for call in calls:
        for steps in range(25):
            task = asyncio.create_task(call())
            for _ in range(steps):
                await asyncio.sleep(0)
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                assert task.cancelled(), steps
                cut_short += 1
    assert cut_short > 10


async def test_cancelled_calls_hold_no_connection(valkey: RedisBackend) -> None:
    store = valkey.store()
    await started(store)
    for _ in range(50):
        task = asyncio.create_task(store.load(NAME))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    loads = (store.load(NAME) for _ in range(500))
    assert all(isinstance(state, State) for state in await asyncio.gather(*loads))
    clients = await valkey.raw.client_list()
    assert len(clients) <= 2 + 1  # the test's own


async def test_a_black_hole_costs_a_bounded_wait(valkey: RedisBackend) -> None:
    async with proxied(valkey.url) as proxy:
        client = connect(proxy.url)
        store = RedisStore(client)
        await started(store)
        proxy.passing.clear()
        began = time.monotonic()
        results = await asyncio.gather(
            *(store.load(NAME) for _ in range(8)), return_exceptions=True
        )
        assert [type(result) for result in results] == [BackendDownError] * 8
        assert time.monotonic() - began < 2 * CALL_TIMEOUT_S + 0.7
        proxy.cut()
        proxy.passing.set()
        assert isinstance(await store.load(NAME), State)
        await client.aclose()


async def test_renewals_and_appends_do_not_wait_behind_other_calls(valkey: RedisBackend) -> None:
    client = valkey.client()
    async with proxied(valkey.url) as proxy:
        slow = connect(proxy.url)
        client.wire = slow.wire
        store = RedisStore(client)
        await started(store)
        held = await acquired(store)
        proxy.passing.clear()
        stuck = asyncio.create_task(store.load(NAME))
        await asyncio.sleep(0.05)
        assert await store.renew([(NAME, held.fence)]) == [True]
        (appended,) = await store.append([piece(held.fence, 1)])
        assert isinstance(appended, Appended)
        assert not stuck.done()
        with pytest.raises(BackendDownError):
            await stuck
        await slow.aclose()


async def test_a_refused_connection_is_said_at_once(valkey: RedisBackend) -> None:
    async with proxied(valkey.url) as proxy:
        client = connect(proxy.url)
        store = RedisStore(client)
        await store.create(restore_of())
        await proxy.stop()
        for _ in range(3):
            with pytest.raises(BackendDownError):
                await store.load(NAME)
        await proxy.start()
        assert isinstance(await store.load(NAME), State)
        await client.aclose()


async def test_what_was_held_up_arrives_late_and_is_refused(valkey: RedisBackend) -> None:
    """An instance is stopped with an append and a commit on their way; others take its turn."""
    store = valkey.store()
    async with proxied(valkey.url) as proxy:
        client = connect(proxy.url)
        suspended = RedisStore(client)
        await started(store)
        fence = (await acquired(suspended, "a")).fence
        await said(suspended, piece(fence, 1))
        proxy.passing.clear()
        late = [
            asyncio.create_task(said(suspended, piece(fence, 2, "late"))),
            asyncio.create_task(suspended.renew([(NAME, fence)], LONG_MS)),
        ]
        await asyncio.sleep(0.05)  # both are in the proxy now
        await valkey.lapse(NAME)
        taken = (await acquired(store, "b")).fence
        await said(store, piece(taken, 2, "new"))
        before = await found(store)
        proxy.passing.set()
        assert await asyncio.gather(*late) == [Fenced(), [False]]
        assert await apply(suspended, finished("word late"), fence) == Fenced()
        assert await found(store) == before
        assert isinstance(await apply(store, finished("word new"), taken), Committed)
        await client.aclose()


async def test_a_lost_reply_and_a_repeat_have_one_effect(valkey: RedisBackend) -> None:
    store = valkey.store()
    async with proxied(valkey.url) as proxy:
        client = connect(proxy.url)
        remote = RedisStore(client)
        await started(store)
        fence = (await acquired(remote, "a")).fence
        assert await remote.renew([(NAME, fence)], LONG_MS) == [True]  # what appends go over, too
        for ordinal in (1, 2):
            head = (await found(store)).head
            proxy.mute = True
            with pytest.raises(BackendDownError):
                await remote.append([piece(fence, ordinal)])
            assert (await found(store)).head.seq == head.seq + 1
            proxy.mute = False
            proxy.cut()
            head = (await found(store)).head
            assert await said(remote, piece(fence, ordinal)) == Appended(head, None)
        assert (await acquired(remote, "a")).fence == fence
        await client.aclose()
