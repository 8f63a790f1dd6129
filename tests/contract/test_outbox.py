import asyncio

import pytest

from protocol.ids import ORIGIN
from storage.live import MAX_TRIES, PARK_DOUBLINGS, LiveStore, OutboxEntry, partition_of
from tests.contract.backends import Backend
from tests.contract.interviews import (
    NAME,
    OTHER,
    acquired,
    apply,
    command,
    finished,
    found,
    restore_of,
    spoken,
    started,
)

pytestmark = pytest.mark.anyio

PARTITION = partition_of(NAME)
HOUR = 3_600_000


async def _rows(store: LiveStore, *rows: bytes) -> None:
    for row in rows:
        await store.enqueue_ledger(NAME, row)


async def test_a_finished_turn_is_delivered_until_it_is_settled(backend: Backend) -> None:
    store = backend.store()
    await started(store)
    assert await store.take(PARTITION, "w1", 10, HOUR) == []
    fence = (await acquired(store)).fence
    await apply(store, finished("Hello."), fence)
    assert (await store.due(10)).outboxes == (PARTITION,)
    (entry,) = await store.take(PARTITION, "w1", 10, HOUR)
    assert (entry.interview_id, entry.ledger) == (NAME, b"")
    assert await store.take(PARTITION, "w2", 10, HOUR) == []
    assert (await store.due(10)).outboxes == (PARTITION,)
    for _ in range(2):
        await store.settle(PARTITION, [entry.id])
        assert await store.take(PARTITION, "w2", 10, 0) == []
        assert (await store.due(10)).outboxes == ()
    await store.settle(PARTITION, [])


async def test_it_is_told_since_when_the_oldest_entry_waits(backend: Backend) -> None:
    store, names = backend.store(), (NAME, OTHER, NAME)
    assert (await store.due(10)).oldest is None
    times: list[range] = []
    for name in names:
        began = backend.now()
        await store.enqueue_ledger(name, b"row")
        times.append(range(began, backend.now() + 1))
        await asyncio.sleep(0.005)
    for name, queued in zip(names, times, strict=True):
        (entry,) = await store.take(partition_of(name), "w1", 1, HOUR)
        oldest = (await store.due(10)).oldest
        assert oldest is not None, "it is not written yet"
        assert oldest in queued
        await store.settle(partition_of(name), [entry.id])
    assert (await store.due(10)).oldest is None


async def test_entries_come_in_order_and_in_bounds(backend: Backend) -> None:
    store = backend.store()
    rows = [bytes([n, 0, 255]) for n in range(7)]
    await _rows(store, *rows)
    first = await store.take(PARTITION, "w1", 3, HOUR)
    second = await store.take(PARTITION, "w2", 3, HOUR)
    third = await store.take(PARTITION, "w1", 3, HOUR)
    taken = [*first, *second, *third]
    assert [entry.ledger for entry in taken] == rows
    assert len({entry.id for entry in taken}) == 7
    await store.settle(PARTITION, [entry.id for entry in second])
    assert await store.take(PARTITION, "w3", 10, HOUR) == []


async def test_what_a_dead_consumer_left_is_claimed(backend: Backend) -> None:
    store = backend.store()
    await _rows(store, b"1", b"2", b"3")
    left = await store.take(PARTITION, "dead", 2, HOUR)
    taken = await store.take(PARTITION, "w2", 10, 0)
    assert taken[:2] == left
    assert [entry.ledger for entry in taken] == [b"1", b"2", b"3"]
    await store.settle(PARTITION, [entry.id for entry in taken])
    assert await store.take(PARTITION, "dead", 10, 0) == []


async def test_a_repeated_take_gets_the_same_entries(backend: Backend) -> None:
    store = backend.store()
    await _rows(store, b"1", b"2")
    first = await store.take(PARTITION, "w1", 10, 0)
    assert await store.take(PARTITION, "w1", 10, 0) == first


async def test_entries_behind_many_that_are_worked_on_are_claimed(backend: Backend) -> None:
    store = backend.store()
    await _rows(store, *(str(n).encode() for n in range(200)))
    taken = await store.take(PARTITION, "w1", 200, HOUR)
    assert len(taken) == 200
    assert len(await store.take(PARTITION, "w2", 1, 0)) == 1


async def test_bad_data_is_tried_five_times_and_buried(backend: Backend) -> None:
    store = backend.store()
    await _rows(store, b"bad")
    (entry,) = await store.take(PARTITION, "w0", 10, 0)
    for number in range(1, MAX_TRIES + 1):
        buried = await store.bury(PARTITION, entry, "22P05")
        assert buried == (number == MAX_TRIES)
        # The reply was lost; the same failure is not counted twice.
        assert await store.bury(PARTITION, entry, "22P05") == buried
        assert bool(await store.take(PARTITION, "w1", 10, 0)) != buried
    assert await store.take(PARTITION, "w1", 10, 0) == []
    assert await backend.dead(PARTITION) == [(NAME, b"bad", "22P05")]
    assert (await store.due(10)).outboxes == ()
    assert await store.bury(PARTITION, entry, "22P05")
    assert len(await backend.dead(PARTITION)) == 1


async def test_burying_what_was_settled_buries_nothing(backend: Backend) -> None:
    store = backend.store()
    await _rows(store, b"1")
    (entry,) = await store.take(PARTITION, "w1", 1, 0)
    await store.bury(PARTITION, entry, "x")
    await store.settle(PARTITION, [entry.id])
    assert await store.bury(PARTITION, entry, "x")
    assert await backend.dead(PARTITION) == []


async def test_settling_before_anything_was_taken_is_harmless(backend: Backend) -> None:
    store = backend.store()
    await store.settle(PARTITION, ["1-1"])
    assert await store.bury(PARTITION, OutboxEntry("1-1", NAME), "x")
    assert await store.take(PARTITION, "w1", 1, 0) == []


async def test_parking_what_is_not_stored_queues_it(backend: Backend) -> None:
    store = backend.store()
    await store.create(restore_of())
    state = await found(store)
    assert state.head == ORIGIN
    assert await store.park(NAME, 1, 0, 0) == "ok"
    await started(store)
    fence = (await acquired(store)).fence
    await apply(store, finished("Hello."), fence)
    taken = await store.take(PARTITION, "w1", 10, HOUR)
    await store.settle(PARTITION, [entry.id for entry in taken])
    state = await found(store)
    assert await store.park(NAME, state.version, 0, 0) == "unstored"
    # An outage: until that entry came to its end, no other is needed.
    for _ in range(5):
        assert await store.park(NAME, state.version, 0, 0) == "unstored"
    (entry,) = await store.take(PARTITION, "w1", 10, HOUR)
    assert entry.interview_id == NAME
    assert await store.park(NAME, state.version, 0, 0) == "unstored"
    assert await store.take(PARTITION, "w1", 10, HOUR) == []
    # It went to the dead letters; the data may be better by now.
    await store.settle(PARTITION, [entry.id])
    assert await store.park(NAME, state.version, 0, 0) == "unstored"
    (again,) = await store.take(PARTITION, "w1", 10, HOUR)
    assert again.id != entry.id


async def test_what_cannot_be_parked_is_looked_at_ever_more_rarely(backend: Backend) -> None:
    store = backend.store()
    await started(store)
    await apply(store, finished("Hello."), (await acquired(store)).fence)
    state = await found(store)
    pauses: list[int] = []
    for _ in range(PARK_DOUBLINGS + 3):
        at = backend.now()
        await store.park(NAME, state.version, 0, HOUR)
        pauses.append(round((await backend.timer(NAME) - at) / HOUR))
    assert pauses == [*(2**n for n in range(PARK_DOUBLINGS + 1)), *[2**PARK_DOUBLINGS] * 2]
    await command(store, spoken("a"))
    state = await found(store)
    at = backend.now()
    await store.park(NAME, state.version, 0, HOUR)
    assert round((await backend.timer(NAME) - at) / HOUR) == 1
