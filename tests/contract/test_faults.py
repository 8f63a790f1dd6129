from typing import Any

import pytest

from protocol.commands import InterviewEnd, TurnCancel
from protocol.machine import Arrived, Left, Ticked, next_tick
from storage.errors import BackendDownError, OutOfMemoryError
from storage.live import Appended, Committed, Erased, Join, Joined, Missing, State, partition_of
from storage.twin import Twin, TwinNotifier, TwinServer
from tests.contract.backends import Backend
from tests.contract.interviews import (
    AT,
    LONG_MS,
    NAME,
    OTHER,
    acquired,
    apply,
    command,
    finished,
    found,
    lost,
    piece,
    restore_of,
    said,
    speak,
    start,
    started,
)

pytestmark = pytest.mark.anyio

PARTITION = partition_of(NAME)


async def test_out_of_memory_refuses_what_adds(backend: Backend) -> None:
    store = backend.store()
    await started(store)
    fence = (await acquired(store)).fence
    await store.create(restore_of(OTHER))
    async with backend.full():
        for refused in (
            store.create(restore_of("third")),
            store.append([piece(fence, 1)]),
            command(store, start("s2"), OTHER),
            store.enqueue_ledger(NAME, b"row"),
        ):
            with pytest.raises(OutOfMemoryError):
                await refused
    assert (await found(store, OTHER)).version == 1
    assert isinstance(await said(store, piece(fence, 1)), Appended)


async def test_out_of_memory_lets_everything_else_go_on(backend: Backend) -> None:
    store = backend.store()
    await started(store)
    fence = (await acquired(store)).fence
    await speak(store, fence, 3)
    async with backend.full():
        assert isinstance(await store.load(NAME, turns=True, entries=True), State)
        assert await store.read(NAME, (await found(store)).head, 1)
        assert (await store.pulse([NAME]))[0] is not None
        await store.publish(NAME, "t1")
        assert await store.redeem(NAME, "t1", "n", 60)
        join = Join(id=NAME, slot="candidate", last_event_id=None, issued=None, now=AT, nonce="n")
        assert isinstance(await store.join(join), Joined)
        assert await store.renew([(NAME, fence)], LONG_MS) == [True]
        assert await store.release(NAME, fence)
        fence = (await acquired(store, "b")).fence
        assert isinstance(await apply(store, lost(), fence), Committed)
        assert isinstance(await apply(store, finished("Hi", attempt=2), fence), Committed)
        await store.due(10)
        await store.postpone(NAME, AT)
        (entry,) = await store.take(PARTITION, "w", 10, 0)
        assert not await store.bury(PARTITION, entry, "x")
        unstored = await store.unstored(NAME)
        assert not isinstance(unstored, Missing | Erased)
        names = [name for name, _ in unstored.commands]
        assert await store.mark_stored(NAME, unstored.state.head, names)
        await store.settle(PARTITION, [entry.id])
        assert await store.park(NAME, unstored.state.version, 0, AT) == "ok"
        await store.erase(NAME)


async def test_out_of_memory_lets_a_turn_be_cut_and_an_interview_end(backend: Backend) -> None:
    store = backend.store()
    await started(store)
    await started(store, OTHER)
    async with backend.full():
        cut = TurnCancel(id="c2", turn=1, attempt=1)
        assert isinstance(await command(store, cut), Committed)
        assert isinstance(await command(store, InterviewEnd(id="end"), OTHER), Committed)


async def test_out_of_memory_keeps_nobody_from_leaving_and_coming_back(backend: Backend) -> None:
    store = backend.store()
    await started(store)
    assert isinstance(await apply(store, finished("Hi"), (await acquired(store)).fence), Committed)
    left = Left(since=AT, grace_ms=LONG_MS, at=AT)
    async with backend.full():
        for happened in (left, Arrived(at=AT + 1), left, Ticked(at=AT + LONG_MS)):
            assert isinstance(await apply(store, happened), Committed)
        assert (await found(store)).session.status == "abandoned"


async def test_out_of_memory_takes_no_silence_for_an_answer(backend: Backend) -> None:
    store = backend.store()
    await started(store)
    assert isinstance(await apply(store, finished("Hi"), (await acquired(store)).fence), Committed)
    async with backend.full():
        with pytest.raises(OutOfMemoryError):  # it would open a turn that no word can be added to
            await apply(store, Ticked(at=next_tick((await found(store)).session) or 0))


async def test_the_twin_loses_a_call_before_or_after_it_takes_effect() -> None:
    server = TwinServer(lambda: AT)
    store = Twin(server)
    await started(store)
    fence = (await acquired(store)).fence
    server.lose("append", "request")
    with pytest.raises(BackendDownError):
        await store.append([piece(fence, 1)])
    assert (await found(store)).ordinal == 0
    server.lose("append", "reply")
    with pytest.raises(BackendDownError):
        await store.append([piece(fence, 1)])
    state = await found(store)
    assert state.ordinal == 1
    assert await said(store, piece(fence, 1)) == Appended(state.head, None)


async def test_the_twin_goes_down_and_comes_back() -> None:
    server = TwinServer(lambda: AT)
    store = Twin(server)
    await started(store)
    heard: list[tuple[str, str]] = []
    notifier = TwinNotifier(server)
    notifier.attach(lambda name, payload: heard.append((name, payload)))
    await notifier.watch(NAME)
    server.down = True
    for call in (store.load(NAME), store.ping(), notifier.watch(OTHER), store.due(1)):
        with pytest.raises(BackendDownError):
            await call
    server.down = False
    assert sorted(heard) == [(NAME, ""), (OTHER, "")]
    await store.publish(OTHER, "p")
    assert heard[-1] == (OTHER, "p")


async def test_the_twin_fails_over_to_a_replica_that_is_behind() -> None:
    server = TwinServer(lambda: AT)
    store = Twin(server)
    await started(store)
    fence = (await acquired(store)).fence
    await speak(store, fence, 2)
    before = await found(store, turns=True, entries=True)
    await speak(store, fence, 1, first=3)
    await apply(store, finished("word " * 3), fence)
    await store.take(PARTITION, "w", 1, 0)
    assert (await found(store)).head != before.head
    server.fail_over(3)
    assert await found(store, turns=True, entries=True) == before
    assert await store.take(PARTITION, "w", 1, 0) == []
    assert isinstance(await said(store, piece(fence, 3, "other ")), Appended)
    server.fail_over(64)
    assert await store.load(NAME) == Missing()


async def test_the_twin_loses_everything() -> None:
    server = TwinServer(lambda: AT)
    store = Twin(server)
    await started(store)
    await store.erase(OTHER)
    server.flush()
    assert await store.load(NAME) == Missing()
    assert await store.load(OTHER) == Missing()
    assert (await store.due(10)).leases == ()


async def test_the_twins_wire_may_hold_calls_back() -> None:
    passed: list[str] = []

    class Slow:
        async def request(self, client: str, operation: str) -> None:
            passed.append(f"{client} asks {operation}")

        async def reply(self, client: str, operation: str) -> None:
            passed.append(f"{client} hears of {operation}")
            raise BackendDownError("lost")

    server = TwinServer(lambda: AT)
    await Twin(server).create(restore_of())
    server.wire = Slow()
    store: Any = Twin(server, "a")
    with pytest.raises(BackendDownError):
        await store.release(NAME, "x")
    assert passed == ["a asks release", "a hears of release"]


async def test_the_twins_notifications_can_be_reordered() -> None:
    server = TwinServer(lambda: AT)
    store, held = Twin(server), list[Any]()
    heard: list[tuple[str, str]] = []
    notifier = TwinNotifier(server, lambda go, _name, _payload: held.append(go))
    notifier.attach(lambda name, payload: heard.append((name, payload)))
    await notifier.watch(NAME)
    await notifier.watch(OTHER)
    await store.publish(NAME, "1")
    await store.publish(OTHER, "2")
    await notifier.unwatch("absent")
    for go in reversed(held):
        go()
    assert heard == [(OTHER, "2"), (NAME, "1")]
    await notifier.unwatch(NAME)
    held[0]()
    assert len(heard) == 2
