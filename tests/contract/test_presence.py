"""Who is present, and who is missing: the same in the twin and on real servers."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from protocol import commands as c
from protocol.machine import Arrived, Left, transition
from protocol.session import Session
from storage.commits import commit_of
from storage.live import (
    Attendance,
    Attendant,
    Committed,
    Fenced,
    Join,
    Joined,
    LiveStore,
    Missing,
    partition_of,
)
from tests.contract.backends import Backend
from tests.contract.interviews import AT, NAME, command, found, restore_of, start, started

pytestmark = pytest.mark.anyio

HOUR = 3_600_000
LATER = AT + HOUR


async def attend(store: LiveStore, *attendants: Attendant, lapse_ms: int = HOUR) -> Attendance:
    (told,) = await store.attend({partition_of(NAME): attendants}, lapse_ms, 10)
    assert told is not None
    return told


def here(heard_ms: int = 0) -> Attendant:
    return Attendant(NAME, present=True, heard_ms=heard_ms)


async def missing(store: LiveStore) -> int:
    """Return when the one live interview was seen last."""
    ((name, seen),) = (await attend(store, lapse_ms=0)).lapsed
    assert name == NAME
    return seen


async def leave(store: LiveStore, seen: int) -> Any:
    before = await found(store)
    left = Left(since=AT + 5_000, grace_ms=HOUR, at=AT + 20_000)
    done = transition(before.session, left)
    return await store.commit(commit_of(before, done, left, now=LATER, seen=seen))


async def test_only_what_is_live_can_be_missed(backend: Backend) -> None:
    store = backend.store()
    await store.create(restore_of())
    assert await attend(store, here(), lapse_ms=0) == Attendance((), ())
    await command(store, start())
    assert NAME in dict((await attend(store, lapse_ms=0)).lapsed)
    assert (await attend(store)).lapsed == ()
    await command(store, c.InterviewPause(id="pause"))
    assert (await attend(store, here(), lapse_ms=0)).lapsed == ()
    await command(store, c.InterviewResume(id="resume"))
    assert NAME in dict((await attend(store, lapse_ms=0)).lapsed)
    await command(store, c.InterviewEnd(id="end"))
    assert (await attend(store, here(), lapse_ms=0)) == Attendance((), ())


async def test_who_is_missed_is_away_until_they_come(backend: Backend) -> None:
    store = backend.store()
    await started(store)
    assert isinstance(await leave(store, await missing(store)), Committed)
    state = await found(store)
    assert state.session.status == "disconnected"
    assert await attend(store, lapse_ms=0) == Attendance((), ())
    gone = Attendant(NAME, present=False, heard_ms=0)
    assert await attend(store, gone) == Attendance((), ())
    for _ in range(2):  # until something is done about it
        assert await attend(store, here()) == Attendance((NAME,), ())
    arrived = Arrived(at=AT + 60_000)
    done = transition(state.session, arrived)
    assert isinstance(await store.commit(commit_of(state, done, arrived, now=LATER)), Committed)
    assert await attend(store, here()) == Attendance((), ())
    assert NAME in dict((await attend(store, lapse_ms=0)).lapsed)


async def test_nobody_is_missed_who_was_seen_meanwhile(backend: Backend) -> None:
    store = backend.store()
    before = await started(store)
    seen = await missing(store)
    assert isinstance(await leave(store, seen - 1), Fenced)
    assert (await found(store)).version == before.version


async def test_the_last_sign_of_life_counts_whoever_heard_it(backend: Backend) -> None:
    store = backend.store()
    await started(store)
    assert (await found(store)).heard == 0
    began = backend.now()
    await attend(store, here(heard_ms=2_000))
    heard = (await found(store)).heard
    assert began - 2_000 <= heard <= backend.now() - 2_000
    await attend(store, Attendant(NAME, present=False, heard_ms=9_000))
    assert (await found(store)).heard == heard
    await attend(store, Attendant(NAME, present=False, heard_ms=0))
    assert (await found(store)).heard > heard


@pytest.mark.parametrize("status", ["live", "disconnected", "paused"])
async def test_a_rebuilt_interview_is_missed_or_waited_for(backend: Backend, status: Any) -> None:
    store = backend.store()
    restored: Session = replace(restore_of().session, status=status)
    await store.create(restore_of(session=restored))
    told = await attend(store, here(), lapse_ms=0)
    assert told.away == ((NAME,) if status == "disconnected" else ())
    assert [name for name, _ in told.lapsed] == ([NAME] if status == "live" else [])


async def test_what_is_gone_is_neither_seen_nor_missed(backend: Backend) -> None:
    store = backend.store()
    assert await attend(store, here(), lapse_ms=0) == Attendance((), ())
    assert await store.load(NAME) == Missing()
    await started(store)
    await store.erase(NAME)
    assert await attend(store, here(), lapse_ms=0) == Attendance((), ())


async def test_partitions_answer_in_their_order_and_so_many_at_once(backend: Backend) -> None:
    store = backend.store()
    names = [f"0190a5c0-0000-7000-8000-{number:012d}" for number in range(40)]
    for name in names:
        await started(store, name)
    numbers = sorted({partition_of(name) for name in names}, reverse=True)
    told = await store.attend(dict.fromkeys(numbers, ()), 0, 10)
    for number, each in zip(numbers, told, strict=True):
        assert each is not None
        assert {name for name, _ in each.lapsed} == {n for n in names if partition_of(n) == number}
    few = await store.attend(dict.fromkeys(numbers, ()), 0, 1)
    assert [len(each.lapsed) for each in few if each] == [1] * len(numbers)


@pytest.mark.parametrize("slot", ["candidate", "transcriber", "observer:me", ""])
async def test_whoever_joins_and_could_answer_was_seen(backend: Backend, slot: str) -> None:
    store = backend.store()
    before = await started(store)
    seen = await missing(store)
    await asyncio.sleep(0.005)
    joining = Join(
        id=NAME, slot=slot, last_event_id=None, issued=None, now=AT, grace_ms=HOUR, nonce="n"
    )
    assert isinstance(await store.join(joining), Joined)
    counts = slot in {"candidate", "transcriber"}
    assert (await missing(store) > seen) == counts
    left = await leave(store, seen)  # found before they came, and applied behind it
    assert isinstance(left, Fenced if counts else Committed)
    assert (await found(store)).version == before.version + (not counts)


async def test_who_joins_what_nobody_can_be_missed_from_is_not_missed(backend: Backend) -> None:
    store = backend.store()
    await store.create(restore_of())
    joining = Join(
        id=NAME, slot="candidate", last_event_id=None, issued=None, now=AT, grace_ms=0, nonce="n"
    )
    assert isinstance(await store.join(joining), Joined)
    assert (await attend(store, lapse_ms=0)).lapsed == ()
