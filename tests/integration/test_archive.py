"""The archive on a real PostgreSQL: creating, writing, rebuilding, listing."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from protocol.ids import EventId
from protocol.plan import Plan
from protocol.session import Session
from protocol.text import sha256
from storage.errors import BadDataError
from storage.live import Restore, State
from storage.postgres.archive import Archive
from storage.postgres.faults import DivergedError
from storage.postgres.records import Created, Existing, KeyReused, TooMany
from tests.support.interviews import (
    NOW,
    PLAN,
    archive_on,
    bring,
    interview_id,
    ledger_row,
    rows_of,
    session,
    state,
    turn,
    unstored,
)

pytestmark = pytest.mark.anyio
DAY = 86_400_000
JANUARY_2035 = 2_051_222_400_000


@pytest.fixture
async def archive(database_url: str) -> AsyncGenerator[Archive]:
    async with archive_on(database_url) as archive:
        yield archive


# --- creation -------------------------------------------------------------------------------------


async def test_a_new_interview_is_found_and_can_be_rebuilt(archive: Archive) -> None:
    new = session()
    assert await archive.create_interview(new) == Created()
    found = await archive.get(new.interview_id)
    assert found is not None
    assert (found.user_id, found.status, found.phase) == ("ann", "created", "consent")
    assert found.plan == PLAN
    assert (found.created_at, found.started_at, found.ended_at) == (NOW, None, None)
    restore = Restore(session=new, version=0, head=EventId(0, 0), tick=0)
    assert await archive.rebuild(new.interview_id) == restore


async def test_a_creation_repeated_by_this_side_changes_nothing(archive: Archive) -> None:
    new = session()
    await archive.create_interview(new)
    await archive.write(unstored(state(new, 3, 5, turn(1))))
    assert await archive.create_interview(new) == Created()
    restored = await archive.rebuild(new.interview_id)
    assert restored is not None
    assert restored.version == 3


async def test_a_key_creates_one_interview_however_often_it_is_sent(archive: Archive) -> None:
    many = [session() for _ in range(8)]
    results = await asyncio.gather(
        *(archive.create_interview(new, idempotency_key="k", digest="d") for new in many)
    )
    assert results.count(Created()) == 1
    first = many[results.index(Created())]
    others = [result for result in results if isinstance(result, Existing)]
    assert len(others) == 7
    assert {other.interview.interview_id for other in others} == {first.interview_id}
    assert (await archive.list(None)).total == 1


async def test_a_key_belongs_to_its_user_and_its_content(archive: Archive) -> None:
    await archive.create_interview(session(), idempotency_key="k", digest="d")
    other = session(user_id="bob")
    assert await archive.create_interview(other, idempotency_key="k", digest="x") == Created()
    again = await archive.create_interview(session(), idempotency_key="k", digest="x")
    assert again == KeyReused()


# --- how many -------------------------------------------------------------------------------------

MINUTE = 60_000
HOUR = 60 * MINUTE


def at(minute: int, user_id: str = "ann") -> Session:
    return session(interview_id(NOW + minute * MINUTE), user_id)


async def test_creations_that_come_at_once_keep_to_the_limit(archive: Archive) -> None:
    results = await asyncio.gather(*(archive.create_interview(at(0), most=5) for _ in range(40)))
    assert results.count(Created()) == 5
    assert (await archive.list("ann")).total == 5
    assert await archive.create_interview(at(0, "bob"), most=5) == Created()


async def test_there_is_room_when_the_oldest_is_an_hour_old(archive: Archive) -> None:
    for minute in (0, 10, 20):
        assert await archive.create_interview(at(minute), most=3) == Created()
    for minute in (20, 59):
        refused = await archive.create_interview(at(minute), most=3)
        assert refused == TooMany(NOW + HOUR)
    assert await archive.create_interview(at(60), most=3) == Created()
    assert await archive.create_interview(at(60), most=3) == TooMany(NOW + HOUR + 10 * MINUTE)
    # A lower limit: two of the three have to be out of the window.
    assert await archive.create_interview(at(60), most=2) == TooMany(NOW + HOUR + 20 * MINUTE)


async def test_erasing_makes_no_room(archive: Archive) -> None:
    for _ in range(2):
        new = at(0)
        assert await archive.create_interview(new, most=2) == Created()
        await archive.erase(new.interview_id)
    assert await archive.create_interview(at(1), most=2) == TooMany(NOW + HOUR)


async def test_a_repeat_is_answered_beyond_the_limit_and_not_counted(archive: Archive) -> None:
    first = at(0)
    for again in (first, first, at(1)):
        await archive.create_interview(again, idempotency_key="k", digest="d", most=1)
    repeat = await archive.create_interview(at(2), idempotency_key="k", digest="d", most=1)
    assert isinstance(repeat, Existing)
    assert repeat.interview.interview_id == first.interview_id
    other = await archive.create_interview(at(2), idempotency_key="k", digest="x", most=1)
    assert other == KeyReused()
    assert isinstance(await archive.create_interview(at(2), most=1), TooMany)
    # What was refused has not used its key up.
    for minute, outcome in ((3, TooMany(NOW + HOUR)), (61, Created())):
        late = await archive.create_interview(at(minute), idempotency_key="n", digest="n", most=1)
        assert late == outcome


async def test_when_somebody_created_is_not_kept(archive: Archive, database_url: str) -> None:
    for minute in (0, 30, 61):
        await archive.create_interview(at(minute))
    kept = "SELECT count(*) FROM creations"
    assert rows_of(database_url, kept) == [(2,)]
    rows_of(database_url, "UPDATE creations SET at = now() - interval '2 hours' RETURNING 1")
    await archive.ensure_partitions()
    assert rows_of(database_url, kept) == [(0,)]


@pytest.mark.parametrize(
    "name",
    ["", "x", "0" * 32, "6f1e0a3c-8f5e-4d3b-9a1d-0c2b5d7e9f10", interview_id().upper()],
    ids=["empty", "word", "zeros", "version 4", "upper case"],
)
async def test_what_is_no_canonical_uuid7_is_no_interview(archive: Archive, name: str) -> None:
    assert await archive.get(name) is None
    assert await archive.rebuild(name) is None
    assert await archive.transcript(name) == ()
    await archive.erase(name)
    with pytest.raises(BadDataError):
        await archive.create_interview(replace(session(), interview_id=name))


async def test_unknown_interviews_are_absent(archive: Archive) -> None:
    assert await archive.get(interview_id()) is None
    assert await archive.rebuild(interview_id()) is None
    assert await archive.transcript(interview_id()) == ()


# --- writing --------------------------------------------------------------------------------------


async def test_what_is_written_is_what_is_rebuilt(archive: Archive) -> None:
    live = state(
        session(),
        9,
        41,
        turn(1, "Größe? 🎤\r\n\t\u2028“e\u0301”"),
        turn(2, ""),
        turn(3, "Tell me", unheard=" more, please"),
    )
    commands = (("c-1", "0a1b a7-99"), ("c_2", 'ff r{"code":"wrong_state","message":"ä"}'))
    assert await archive.write(unstored(live, *commands)) is None
    restored = await archive.rebuild(live.session.interview_id)
    assert restored is not None
    assert set(restored.commands) == set(commands)
    assert replace(restored, commands=()) == Restore(
        session=live.session, version=9, head=live.head, tick=0, turns=live.turns
    )
    assert await archive.transcript(live.session.interview_id) == live.turns


async def test_a_write_may_be_repeated_and_adds_what_is_new(archive: Archive) -> None:
    new = session()
    first = state(new, 3, 5, turn(1))
    second = state(new, 5, 9, turn(1), turn(2, "Because."))
    for live, command in ((first, "a"), (first, "a"), (second, "b"), (second, "a")):
        assert await bring(archive, live, (command, f"d a{live.head}"))
    restored = await archive.rebuild(new.interview_id)
    assert restored is not None
    assert (restored.version, restored.turns) == (5, second.turns)
    assert dict(restored.commands) == {"a": f"d a{second.head}", "b": f"d a{second.head}"}


async def test_what_was_held_up_for_many_turns_is_written_at_once(archive: Archive) -> None:
    new = session()
    assert await archive.create_interview(new) == Created()
    turns = [turn(n, f"Turn {n}.") for n in range(1, 8)]
    for count in (5, 7):
        assert await bring(archive, state(new, count, count * 9, *turns[:count]))
        assert await archive.transcript(new.interview_id) == tuple(turns[:count])
    longest = state(new, 9, 90, turn(1, "Another text."), *turns[1:])
    with pytest.raises(DivergedError):
        await bring(archive, longest)


def _history() -> list[State]:
    new = session()
    return [
        state(new, 1, 2),
        state(new, 1, 4),  # the log may grow without the session
        state(new, 2, 4 + 2, turn(1)),
        replace(state(new, 3, 8, turn(1), turn(2, "Done.")), head=EventId(8, 1)),
    ]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
async def test_the_newest_state_wins_in_every_order(
    shared_archive: Archive, order: Sequence[int]
) -> None:
    states, newest = _history(), -1
    for step in order:
        assert await bring(shared_archive, states[step]) == (step > newest)
        newest = max(newest, step)
    restored = await shared_archive.rebuild(states[0].session.interview_id)
    assert restored is not None
    assert restored.session == states[3].session
    assert (restored.version, restored.head) == (3, EventId(8, 1))
    assert restored.turns == states[3].turns


async def test_states_written_at_once_leave_the_newest(shared_archive: Archive) -> None:
    for _ in range(10):
        states = _history()
        await asyncio.gather(*(bring(shared_archive, live) for live in states))
        restored = await shared_archive.rebuild(states[0].session.interview_id)
        assert restored is not None
        assert (restored.version, restored.turns) == (3, states[3].turns)


async def test_a_log_that_is_not_known_to_lead_on_is_refused(shared_archive: Archive) -> None:
    new = session()
    stored = state(new, 5, 9, turn(1))
    await shared_archive.write(unstored(stored))
    others = (
        replace(stored, head=EventId(9, 1)),
        replace(stored, version=6, head=EventId(9, 1)),
        replace(stored, version=6, head=EventId(8, 1)),
        replace(stored, version=4, head=EventId(12, 1)),
        replace(stored, version=4),
        replace(stored, version=8, head=EventId(30, 1), stored=EventId(9, 1)),
    )
    for other in others:
        assert await shared_archive.write(unstored(other, ("c", "d a1-1"))) == stored.head
    changed = replace(state(new, 7, 14, turn(1, "Another text.")), stored=stored.head)
    with pytest.raises(DivergedError):
        await shared_archive.write(unstored(changed, ("c", "d a1-1")))
    restored = await shared_archive.rebuild(new.interview_id)
    assert restored is not None
    assert (restored.version, restored.head, restored.commands) == (5, stored.head, ())
    assert restored.turns == stored.turns


async def test_a_longer_log_is_written_though_its_versions_came_again(
    shared_archive: Archive,
) -> None:
    new = session()
    stored = state(new, 5, 9, turn(1))
    await shared_archive.write(unstored(stored))
    later = replace(state(new, 4, 12, turn(1), turn(2)), stored=stored.head)
    assert await shared_archive.write(unstored(later, ("c", "d a1-1"))) is None
    restored = await shared_archive.rebuild(new.interview_id)
    assert restored is not None
    assert (restored.version, restored.head, restored.turns) == (4, later.head, later.turns)
    # What was read before, by an instance that was held up, still changes nothing.
    for older in (stored, replace(stored, version=3), replace(later, version=3)):
        assert await shared_archive.write(unstored(older)) == later.head
    assert await shared_archive.rebuild(new.interview_id) == restored


async def test_of_two_courses_to_one_version_the_first_is_held(shared_archive: Archive) -> None:
    new = session()
    stored = state(new, 5, 9, turn(1))
    await shared_archive.write(unstored(stored))
    assert await shared_archive.write(unstored(stored)) is None  # the same again
    other = replace(stored, session=replace(new, absences=1))
    assert await shared_archive.write(unstored(other, ("c", "d a1-1"))) == stored.head
    restored = await shared_archive.rebuild(new.interview_id)
    assert restored is not None
    assert (restored.session, restored.commands) == (stored.session, ())
    assert await shared_archive.write(unstored(replace(other, version=6))) is None
    restored = await shared_archive.rebuild(new.interview_id)
    assert restored is not None
    assert (restored.session, restored.version) == (other.session, 6)


async def test_an_interview_never_changes_hands(shared_archive: Archive) -> None:
    new = session()
    await shared_archive.write(unstored(state(new, 1, 2)))
    with pytest.raises(BadDataError):
        await shared_archive.write(unstored(state(replace(new, user_id="eve"), 2, 4)))


@pytest.mark.parametrize(
    "bad",
    [
        replace(turn(1), sha256=sha256("other")),
        replace(turn(1), text="a\x00b", sha256=sha256("a\x00b")),
        replace(turn(1), text="\ud800", sha256=sha256("?")),
        replace(turn(1), outcome="maybe"),
        replace(turn(1), ended_at=-(2**62)),
    ],
    ids=["sha256", "NUL", "surrogate", "outcome", "time"],
)
async def test_bad_data_is_refused_as_a_whole_and_not_repeated(
    shared_archive: Archive, bad: Any
) -> None:
    live = state(session(), 1, 2, turn(2), bad)
    with pytest.raises(BadDataError) as caught:
        await shared_archive.write(unstored(live))
    assert "a\\u0000b" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert await shared_archive.get(live.session.interview_id) is None


async def test_a_far_month_gets_its_partition_when_it_is_needed(
    archive: Archive, database_url: str
) -> None:
    many = [session(interview_id(JANUARY_2035 + step * 31 * DAY)) for step in range(3)]
    await archive.create_interview(many[0], idempotency_key="k", digest="d")
    await asyncio.gather(*(archive.write(unstored(state(new, 1, 2))) for new in many for _ in "ab"))
    await archive.write_ledger([ledger_row(session(interview_id(JANUARY_2035 + 99 * DAY)), "x")])
    found = await archive.get(many[0].interview_id)
    assert found is not None
    assert found.status == "live"
    names = rows_of(
        database_url,
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'ledger_2035%'",
    )
    assert sorted(names) == [
        ("ledger_2035_01",),
        ("ledger_2035_02",),
        ("ledger_2035_03",),
        ("ledger_2035_04",),
    ]


async def test_the_last_and_first_millisecond_of_a_month(
    archive: Archive, database_url: str
) -> None:
    for at in (JANUARY_2035 - 1, JANUARY_2035):
        await archive.write(unstored(state(session(interview_id(at)), 1, 2)))
    rows = rows_of(database_url, "SELECT tableoid::regclass::text FROM interviews ORDER BY 1")
    assert rows == [("interviews_2034_12",), ("interviews_2035_01",)]


# --- lists ----------------------------------------------------------------------------------------


async def test_lists_are_filtered_counted_and_newest_first(archive: Archive) -> None:
    made = [
        session(interview_id(NOW + step * 20 * DAY), "ann" if step % 2 else "bob")
        for step in range(-1, 3)
    ]
    for new in made:
        await archive.create_interview(new)
    await archive.write(unstored(state(made[0], 2, 3)))
    coding = session(interview_id(NOW + 1), plan=Plan(type="coding", role="Dev"))
    await archive.create_interview(coding)

    async def ids(user: str | None, **filters: Any) -> tuple[list[str], int]:
        page = await archive.list(user, **filters)
        return [item.interview_id for item in page.items], page.total

    name = [new.interview_id for new in (*made, coding)]
    assert await ids(None) == ([name[3], name[2], name[4], name[1], name[0]], 5)
    assert await ids("bob") == ([name[3], name[1]], 2)
    assert await ids(None, limit=2, offset=1) == ([name[2], name[4]], 5)
    assert await ids(None, limit=2, offset=4) == ([name[0]], 5)
    assert await ids(None, limit=2, offset=10) == ([], 5)
    assert await ids(None, status="live") == ([name[0]], 1)
    assert await ids("bob", status="live") == ([], 0)
    assert await ids(None, type="coding") == ([name[4]], 1)
    assert await ids(None, since=NOW + 1) == ([name[3], name[2], name[4]], 3)
    assert await ids("nobody") == ([], 0)
    first = (await archive.list(None, limit=1)).items[0]
    assert first.plan == replace(PLAN, job_description=None)
