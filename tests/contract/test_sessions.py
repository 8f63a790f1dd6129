import asyncio
from itertools import count, islice
from typing import Any

import pytest
from msgspec.structs import replace

from protocol.effects import Reject
from protocol.ids import ORIGIN, EventId, chain
from protocol.machine import Left, Noted, Received, transition
from protocol.session import Turn
from storage.answers import digest_of, rejection
from storage.commits import commit_of
from storage.live import (
    Answer,
    Astray,
    Committed,
    Conflict,
    Due,
    Erased,
    Full,
    Join,
    Joined,
    LiveStore,
    Missing,
    Overtaken,
    Stale,
    State,
    Unstored,
    partition_of,
)
from tests.contract.backends import Backend
from tests.contract.interviews import (
    AT,
    NAME,
    OTHER,
    acquired,
    answer,
    apply,
    command,
    finished,
    found,
    piece,
    restore_of,
    said,
    speak,
    spoken,
    start,
    started,
)

pytestmark = pytest.mark.anyio

HOUR = 3_600_000


async def test_nothing_is_there_before_it_is_created(backend: Backend) -> None:
    store = backend.store()
    assert await store.load(NAME) == Missing()
    assert await store.unstored(NAME) == Missing()
    assert await store.acquire(NAME, "a") == Missing()
    assert await store.join(_join()) == Missing()
    assert await store.park(NAME, 1, 0, 0) == "missing"
    assert await store.pulse([NAME]) == [None]
    assert await store.read(NAME, ORIGIN, 10) == []
    assert await store.renew([(NAME, "1:a")]) == [False]
    assert not await store.release(NAME, "1:a")
    assert await store.mark_stored(NAME, EventId(1, 1), ["c"])
    await store.create(restore_of(OTHER))
    commit = await _start_of(store, OTHER)
    assert await store.commit(replace(commit, id=NAME)) == Missing()


async def test_creating_twice_keeps_the_first(backend: Backend) -> None:
    store = backend.store()
    assert await store.create(restore_of()) == "ok"
    assert await store.create(restore_of(version=7)) == "exists"
    state = await found(store)
    assert (state.version, state.head, state.stored) == (1, ORIGIN, ORIGIN)
    assert state.session.plan.role == "Löwenbändiger 🦁"


async def test_a_rebuilt_interview_goes_on_at_its_head(backend: Backend) -> None:
    store = backend.store()
    turn = Turn(
        turn=1,
        speaker="candidate",
        kind="answer",
        text="é🦁",
        sha256="0" * 64,
        outcome="final",
        started_at=AT,
        ended_at=AT,
    )
    head = EventId(41, 2**52 - 1)
    turns = tuple(replace(turn, turn=n) for n in range(1, 12))
    await store.create(restore_of(version=9, head=head, turns=turns, commands=(("c1", "d a41-5"),)))
    state = await found(store, command="c1", turns=True, entries=True)
    assert state.turns == turns
    assert state.answer == Answer("d", accepted="41-5")
    assert (state.head, state.stored, state.version) == (head, head, 9)
    (marker,) = await store.read(NAME, head, 10)
    assert (marker.id, marker.body) == (head, b"")
    committed = await command(store, start())
    assert committed.entries[0].id.seq == 42
    joined = await store.join(_join(last_event_id=head))
    assert isinstance(joined, Joined)
    assert joined.recovered
    unstored = await store.unstored(NAME)
    assert isinstance(unstored, Unstored)
    assert [name for name, _ in unstored.commands] == ["start"]


async def test_ids_are_those_the_protocol_computes(backend: Backend) -> None:
    store = backend.store()
    state = await started(store)
    entries = await store.read(NAME, ORIGIN, 100)
    position = ORIGIN
    for entry in entries:
        assert entry.id == position.after(entry.body)
        assert entry.id.check == chain(position.check, entry.body)
        position = entry.id
    assert position == state.head
    assert len(entries) >= 3


async def test_a_commit_returns_what_it_logged(backend: Backend) -> None:
    store = backend.store()
    await store.create(restore_of())
    committed = await command(store, start())
    assert isinstance(committed, Committed)
    assert list(committed.entries) == await store.read(NAME, ORIGIN, 100)
    assert committed.head == committed.entries[-1].id
    state = await found(store, command="start", entries=True)
    assert state.version == 2
    assert state.session.status == "live"
    assert state.answer == Answer(digest_of(start()), accepted=str(committed.head))
    assert state.entries[0].id.seq == state.open_from


async def test_a_command_sent_again_has_one_effect_and_the_same_answer(backend: Backend) -> None:
    store = backend.store()
    await store.create(restore_of())
    commit = await _start_of(store)
    first = await store.commit(commit)
    assert isinstance(first, Committed)
    for again in (commit, replace(commit, version=2), replace(commit, digest="other")):
        repeated = await backend.store().commit(again)
        assert repeated == Answer(commit.digest, accepted=str(first.head))
    assert (await found(store)).head == first.head


async def test_a_rejection_is_remembered_with_its_text(backend: Backend) -> None:
    store = backend.store()
    await started(store)
    reject = Reject("wrong_state", "“No” 🦁")
    commit = replace(
        await _start_of(store), command="c2", session="", events=(), answer=rejection(reject)
    )
    before = await found(store)
    assert isinstance(await store.commit(commit), Committed)
    state = await found(store, command="c2")
    assert state.answer == Answer(commit.digest, rejected=reject)
    assert (state.head, state.version) == (before.head, before.version)


async def test_a_decision_on_an_old_state_is_refused(backend: Backend) -> None:
    store = backend.store()
    await store.create(restore_of())
    commit = await _start_of(store)
    await store.commit(commit)
    assert await store.commit(replace(commit, command="c2")) == Conflict()
    assert await store.commit(replace(commit, command="")) == Conflict()


async def test_events_without_a_new_state_are_logged_once_too(backend: Backend) -> None:
    store = backend.store()
    state = await started(store)
    commit = replace(
        await _start_of(store), command="", version=state.version, session="", events=("{}",)
    )
    assert isinstance(await store.commit(commit), Committed)
    assert await store.commit(commit) == Conflict()
    assert (await found(store)).head.seq == state.head.seq + 1


async def test_command_ids_run_out(backend: Backend) -> None:
    store = backend.store()
    commands = tuple((f"c{n}", f"digest a{n}-1") for n in range(9_999))
    await store.create(restore_of(commands=commands))
    commit = await _start_of(store)
    assert isinstance(await store.commit(commit), Committed)
    second = replace(commit, command="one-more", version=2)
    assert await store.commit(second) == Full()
    assert isinstance(await store.commit(commit), Answer)
    assert isinstance(await store.commit(replace(second, command="")), Committed)


@pytest.mark.parametrize(
    "text",
    ["", "x" * 32_768, "🦁" * 8_192, "é\u2028\u0085\"\\'\t\r\n\x01\x7f", "} {x", "߿ࠀ￿𐀀􏿿"],
)
async def test_text_comes_back_as_it_went_in(backend: Backend, text: str) -> None:
    store = backend.store()
    await started(store)
    fence = (await acquired(store)).fence
    await said(store, piece(fence, 1, text or " "))
    await apply(store, finished(text or " "), fence)
    await command(store, answer("c2", text))
    state = await found(store, turns=True)
    assert [turn.text for turn in state.turns] == [text or " ", text]
    position = ORIGIN
    for entry in await store.read(NAME, ORIGIN, 100):
        assert entry.id == position.after(entry.body)
        position = entry.id


async def test_numbers_keep_every_digit(backend: Backend) -> None:
    store = backend.store()
    version = 2**53 - 3
    await store.create(restore_of(version=version, head=EventId(2**50 + 1, 2**52 - 3)))
    committed = await command(store, start())
    assert committed.entries[0].id.seq == 2**50 + 2
    state = await found(store)
    assert state.version == version + 1
    assert state.open_from > 2**50


async def test_joining_numbers_sockets_upwards_also_over_a_rebuild(backend: Backend) -> None:
    store = backend.store()
    await store.create(restore_of())
    first = await _joined(store, _join())
    second = await _joined(store, _join(slot=""))
    assert second.number > first.number
    (pulse,) = await store.pulse([NAME])
    assert pulse is not None
    assert pulse.sockets == {"candidate": first.number}
    state = await found(store)
    assert await store.park(NAME, state.version, 0, 0) == "ok"
    await store.create(restore_of())
    third = await _joined(store, _join())
    assert third.number > second.number


async def test_a_pulse_that_is_known_is_not_made_again(backend: Backend) -> None:
    store = backend.store()
    await store.create(restore_of())
    await store.create(restore_of(OTHER))
    first = await store.pulse([NAME, OTHER, "absent"])
    same = await store.pulse([NAME, OTHER, "absent"], first)
    assert [after is before for before, after in zip(first, same, strict=True)] == [True] * 3
    joined = await _joined(store, _join())
    changed, other, absent = await store.pulse([NAME, OTHER, "absent"], first)
    assert changed is not None
    assert changed.sockets == {"candidate": joined.number}
    assert other is first[1]
    assert absent is None


async def test_a_join_that_is_repeated_is_the_same_socket(backend: Backend) -> None:
    store = backend.store()
    await store.create(restore_of())
    first = await _joined(store, _join(nonce="a"))
    again = await _joined(store, _join(nonce="a", age_ms=5_000))
    assert again.number == first.number
    assert (await _joined(store, _join(nonce="b"))).number > first.number


async def test_a_join_that_was_held_up_does_not_replace_a_newer_socket(backend: Backend) -> None:
    store = backend.store()
    await store.create(restore_of())
    newer = await _joined(store, _join(nonce="newer"))
    assert await store.join(_join(nonce="older", age_ms=60_000)) == Overtaken()
    (pulse,) = await store.pulse([NAME])
    assert pulse is not None
    assert pulse.sockets == {"candidate": newer.number}
    for join in (_join(age_ms=60_000, slot="transcriber"), _join(age_ms=60_000, slot="")):
        assert isinstance(await store.join(join), Joined)  # there is none to replace
    assert isinstance(await store.join(_join(nonce="in time", age_ms=900)), Joined)


async def test_what_was_seen_must_be_in_the_log(backend: Backend) -> None:
    store = backend.store()
    state = await started(store)
    for entry in await store.read(NAME, ORIGIN, 100):
        assert isinstance(await store.load(NAME, seen=entry.id), State)
    assert isinstance(await store.load(NAME, seen=ORIGIN), State)
    for lost in (EventId(state.head.seq, 1), EventId(1, 1), EventId(state.head.seq + 1, 1)):
        assert await store.load(NAME, seen=lost) == Astray()


async def test_a_client_is_recovered_only_by_an_id_of_the_log(backend: Backend) -> None:
    store = backend.store(max_log=8)
    state = await started(store)
    ids = [entry.id for entry in await store.read(NAME, ORIGIN, 100)]
    for known in ids:
        assert (await _joined(store, _join(last_event_id=known))).recovered
    head = state.head
    for unknown in (None, ORIGIN, EventId(head.seq, head.check + 1), EventId(head.seq + 1, 5)):
        joined = await _joined(store, _join(last_event_id=unknown))
        assert not joined.recovered
        assert [entry.id.seq for entry in joined.state.entries] == list(
            range(joined.state.open_from, head.seq + 1)
        )


async def test_only_the_interviewers_open_turn_is_read_from_the_log(backend: Backend) -> None:
    """What is recorded of an open answer is in the session; its events may be many."""
    store = backend.store()
    await started(store)
    fence = (await acquired(store)).fence
    await said(store, piece(fence, 1))
    assert (await found(store, entries=True)).logged == "word "
    unstored = await store.unstored(NAME)
    assert isinstance(unstored, Unstored)
    assert unstored.state.entries == (), "PostgreSQL gets no words of an open turn"
    await apply(store, finished("word "), fence)
    assert isinstance(await command(store, spoken("c1")), Committed)
    assert (await found(store, entries=True)).entries == ()
    assert (await _joined(store, _join())).state.entries == ()


async def test_a_resume_token_is_outlived_by_a_newer_one_after_the_grace(backend: Backend) -> None:
    store = backend.store()
    await store.create(restore_of())
    grace = 600_000
    await _joined(store, _join(now=AT))
    await _joined(store, _join(issued=AT, now=AT + 10))
    # Ten minutes later the first token is stale, the second one is not.
    later = AT + 10 + grace
    assert await store.join(_join(issued=AT, now=later)) == Stale()
    assert isinstance(await store.join(_join(issued=AT, now=later - 1)), Joined)
    assert isinstance(await store.join(_join(issued=AT + 10, now=later)), Joined)
    assert isinstance(await store.join(_join(now=later)), Joined)
    assert isinstance(await store.join(_join(slot="transcriber", issued=AT, now=later)), Joined)


async def test_whom_the_log_lost_does_not_lose_the_only_token_it_has(backend: Backend) -> None:
    store = backend.store()
    head = (await started(store)).head
    later, lost = AT + 700_000, EventId(head.seq, head.check + 1)
    await _joined(store, _join(now=AT))
    # It is turned away for as long as PostgreSQL cannot tell what is stored.
    for now in (AT + 10, AT + 20, later):
        await _joined(store, _join(issued=AT, now=now, last_event_id=lost))


@pytest.mark.parametrize("holds", ["nothing", "the beginning", "the head", "what was trimmed away"])
async def test_whoever_is_let_in_outlives_older_tokens(backend: Backend, holds: str) -> None:
    store = backend.store(max_log=8)
    first = (await started(store)).head
    fence = (await acquired(store)).fence
    await speak(store, fence, 20)
    await apply(store, finished("word " * 20), fence)
    last = {
        "nothing": None,
        "the beginning": ORIGIN,
        "the head": (await found(store)).head,
        "what was trimmed away": first,
    }
    assert (await store.read(NAME, ORIGIN, 1))[0].id > first
    await _joined(store, _join(issued=AT, now=AT + 10, last_event_id=last[holds]))
    assert await store.join(_join(issued=AT, now=AT + 700_000)) == Stale()


async def test_clocks_that_disagree_do_not_revive_a_token(backend: Backend) -> None:
    store = backend.store()
    await store.create(restore_of())
    for now in (AT + 500, AT + 100):
        await _joined(store, _join(now=now))
    late = AT + 500 + 600_000
    assert await store.join(_join(issued=AT + 200, now=late)) == Stale()
    await _joined(store, _join(issued=AT + 500, now=late))
    assert await store.join(_join(issued=AT + 200, now=late)) == Stale()


async def test_a_thousand_joins_leave_little_behind(backend: Backend) -> None:
    store = backend.store()
    await store.create(restore_of())
    for number in range(300):
        await _joined(store, _join(slot=f"observer:{number}"))
    assert 200 < await backend.sockets(NAME) <= 256
    assert (await _joined(store, _join(slot="observer:0"))).number > 0


async def test_what_rests_and_is_stored_is_parked(backend: Backend) -> None:
    store = backend.store()
    state = await started(store)
    assert await store.park(NAME, state.version, 0, 0) == "active"  # a turn is to be generated
    fence = (await acquired(store)).fence
    await apply(store, finished("Hello."), fence)
    state = await found(store)
    assert await store.park(NAME, state.version, HOUR, 0) == "active"  # it does not rest
    assert await store.park(NAME, state.version - 1, 0, 0) == "active"
    assert await store.park(NAME, state.version, 0, 0) == "unstored"
    assert (await store.due(10)).timers == (NAME,)
    assert await store.mark_stored(NAME, state.head, [])
    assert await store.park(NAME, state.version, 0, 0) == "unstored"  # a command's answer is not
    assert await store.mark_stored(NAME, state.head, ["start"])
    assert (
        await store.park(NAME, state.version, 0, 0) == "unstored"
    )  # what it queued is not written
    await _settled(store)
    assert await store.park(NAME, state.version, 0, 0) == "ok"
    assert await store.load(NAME) == Missing()
    assert await store.park(NAME, state.version, 0, 0) == "missing"
    assert (await store.due(10)).timers == ()
    assert await store.create(restore_of(version=state.version, head=state.head)) == "ok"


async def test_what_changed_without_an_event_is_stored_before_it_is_parked(
    backend: Backend,
) -> None:
    store = backend.store()
    await started(store)
    await apply(store, finished("Hello."), (await acquired(store)).fence)
    stored = (await found(store)).head
    assert await store.mark_stored(NAME, stored, ["start"])
    await _settled(store)
    await apply(store, Left(since=AT, grace_ms=HOUR, at=AT + 20_000))
    state = await found(store)
    assert state.head == stored
    assert await store.park(NAME, state.version, 0, 0) == "unstored"
    await _settled(store)
    assert await store.park(NAME, state.version, 0, 0) == "ok"


async def test_what_queued_nothing_is_stored_before_it_is_parked(backend: Backend) -> None:
    store = backend.store()
    await started(store)
    await apply(store, finished("Hello."), (await acquired(store)).fence)
    stored = (await found(store)).head
    assert await store.mark_stored(NAME, stored, ["start"])
    await _settled(store)
    await apply(store, Noted(code="budget_low", message="Little money is left.", at=AT))
    head = (await found(store)).head
    assert head.seq == stored.seq + 1
    assert await _parked(store) == "unstored"
    assert await store.mark_stored(NAME, head, [])
    await command(store, start("again"))  # it is refused, and that is remembered
    assert (await found(store)).head == head
    assert await _parked(store) == "unstored"
    assert await store.mark_stored(NAME, head, ["again"])
    assert await _parked(store) == "ok"


async def test_what_is_erased_stays_away(backend: Backend) -> None:
    store = backend.store()
    await started(store)
    fence = (await acquired(store)).fence
    await said(store, piece(fence, 1))
    commit = await _start_of(store)
    for _ in range(2):
        await store.erase(NAME)
        assert await store.load(NAME) == Erased()
        assert await store.unstored(NAME) == Erased()
        assert await store.join(_join()) == Erased()
        assert await store.commit(commit) == Erased()
        assert await store.create(restore_of()) == Erased()
        assert await store.read(NAME, ORIGIN, 10) == []
        assert await store.renew([(NAME, fence)]) == [False]
        assert (await store.due(10)).leases == ()
        await store.postpone(NAME, 1)
        assert (await store.due(10)).timers == ()


async def test_a_session_is_evicted_only_as_it_was_seen(backend: Backend) -> None:
    store = backend.store()
    told = asyncio.Event()

    def listen(name: str, payload: str) -> None:
        if (name, payload) == (NAME, "l"):
            told.set()

    async with backend.listening(listen) as notifier:
        await notifier.watch(NAME)
        seen = await started(store)
        assert not await store.evict(NAME, seen.version - 1, seen.head)
        assert not await store.evict(NAME, seen.version, seen.head._replace(check=1))
        assert isinstance(await store.load(NAME), State)
        await said(store, piece((await acquired(store)).fence, 1))
        assert await store.evict(NAME, seen.version, seen.head)
        assert not await store.evict(NAME, seen.version, seen.head)
        async with asyncio.timeout(5):
            await told.wait()
    assert isinstance(await store.load(NAME), Missing)
    assert await store.create(restore_of()) == "ok"  # no tombstone keeps it away


async def test_a_late_commit_is_no_part_of_a_session_that_was_rebuilt(backend: Backend) -> None:
    store = backend.store()
    await started(store)
    await apply(store, finished("Q?"), (await acquired(store)).fence)
    stored = await found(store, turns=True)
    # An answer's first words are lost, and with them what its end was decided on.
    assert isinstance(await command(store, spoken("first")), Committed)
    before = await found(store)
    received = Received(command=answer("end", "All of it."), at=AT)
    late = commit_of(before, transition(before.session, received), received, now=AT)
    assert await store.evict(NAME, before.version, before.head)
    rebuilt = restore_of(version=stored.version, head=stored.head, turns=stored.turns)
    assert await store.create(replace(rebuilt, session=stored.session)) == "ok"
    assert isinstance(await command(store, spoken("second")), Committed)
    now = await found(store)
    assert now.version == before.version
    assert await store.commit(replace(late, command="end", digest="d")) == Conflict()
    assert not await store.evict(NAME, before.version, before.head)
    assert await found(store) == now


async def test_stored_moves_forward_and_empties_what_waits(backend: Backend) -> None:
    store = backend.store()
    state = await started(store)
    ids = [entry.id for entry in await store.read(NAME, ORIGIN, 100)]
    assert await store.mark_stored(NAME, ids[1], ["start", "unknown"])
    assert await store.mark_stored(NAME, ids[0], [])
    assert await store.mark_stored(NAME, ids[1], ["start"])
    assert (await found(store)).stored == ids[1]
    unstored = await store.unstored(NAME)
    assert isinstance(unstored, Unstored)
    assert unstored.commands == ()
    assert unstored.state.head == state.head


async def test_a_head_that_a_failover_lost_is_not_stored(backend: Backend) -> None:
    store = backend.store()
    state = await started(store)
    for gone in (
        EventId(state.head.seq, state.head.check + 1),
        EventId(state.head.seq + 3, 7),
        EventId(state.head.seq - 1, 7),
    ):
        assert not await store.mark_stored(NAME, gone, ["start"])
    held = await found(store)
    assert held.stored == ORIGIN
    unstored = await store.unstored(NAME)
    assert isinstance(unstored, Unstored)
    assert len(unstored.commands) == 1


async def test_what_postgres_lost_is_to_be_written_again(backend: Backend) -> None:
    store = backend.store()
    told: list[str] = []

    async with backend.listening(lambda _, payload: told.append(payload)) as notifier:
        await started(store)
        first, *_, last = [entry.id for entry in await store.read(NAME, ORIGIN, 100)]
        assert await store.mark_stored(NAME, last, ["start"])
        await notifier.watch(NAME)
        # What was believed to be stored is not what is: somebody has written since.
        assert await store.mark_stored(NAME, first, believed=first)
        assert await store.mark_stored(NAME, last, believed=last)
        assert (await found(store)).stored == last
        assert (await store.due(10)).outboxes == ()
        assert await store.mark_stored(NAME, first, believed=last)
        await store.publish(NAME, "done")
        async with asyncio.timeout(5):
            while "done" not in told:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert not [payload for payload in told if payload.startswith("s")]
    unstored = await store.unstored(NAME)
    assert isinstance(unstored, Unstored)
    assert unstored.state.stored == first
    assert [name for name, _ in unstored.commands] == ["start"]
    assert [e.interview_id for e in await store.take(partition_of(NAME), "w", 10, HOUR)] == [NAME]
    assert await store.mark_stored(NAME, ORIGIN, believed=first)  # all of it
    assert (await found(store)).stored == ORIGIN
    assert await store.mark_stored(NAME, last, ["start"])
    assert (await found(store)).stored == last


async def test_what_was_trimmed_can_still_be_marked_stored(backend: Backend) -> None:
    store = backend.store(max_log=4)
    await started(store)
    old = (await store.read(NAME, ORIGIN, 1))[0].id
    fence = (await acquired(store)).fence
    await speak(store, fence, 10)
    await apply(store, finished("x"), fence)
    assert (await store.read(NAME, ORIGIN, 1))[0].id.seq > old.seq
    assert await store.mark_stored(NAME, old, [])
    assert (await found(store)).stored == old


async def test_tickets_are_used_once(backend: Backend) -> None:
    store = backend.store()
    assert await store.redeem(NAME, "t1", "nonce-a", 60)
    assert await store.redeem(NAME, "t1", "nonce-a", 60)
    assert not await store.redeem(NAME, "t1", "nonce-b", 60)
    assert await store.redeem(NAME, "t2", "nonce-b", 60)


async def test_timers_come_due_in_order_and_in_bounds(backend: Backend) -> None:
    store = backend.store()
    names = _neighbours(5)
    for place, name in enumerate(names):
        await store.create(restore_of(name, tick=1000 + place))
    assert await store.due(3) == Due((), tuple(names[:3]), ())
    await store.postpone(names[0], backend.now() + HOUR)
    assert (await store.due(3)).timers == tuple(names[1:4])
    await store.postpone("absent", 1)
    assert len((await store.due(100)).timers) == 4


async def test_a_timer_is_set_by_who_knows_the_newest_version(backend: Backend) -> None:
    store = backend.store()
    await store.create(restore_of(NAME, tick=1000))
    state = await store.load(NAME)
    assert isinstance(state, State)
    await store.postpone(NAME, backend.now() + HOUR, state.version - 1)
    assert (await store.due(3)).timers == (NAME,)
    await store.postpone(NAME, backend.now() + HOUR, state.version)
    assert (await store.due(3)).timers == ()


def _neighbours(count: int) -> list[str]:
    """Interviews of one partition."""
    named = (f"interview-{n}" for n in range(100_000))
    return list(islice((name for name in named if partition_of(name) == 17), count))


async def _parked(store: LiveStore) -> str:
    return await store.park(NAME, (await found(store)).version, 0, 0)


async def _settled(store: LiveStore) -> None:
    """Take out what the outbox holds, as its writer does when it is written."""
    entries = await store.take(partition_of(NAME), "writer", 10, 0)
    await store.settle(partition_of(NAME), [entry.id for entry in entries])


def _join(slot: str = "candidate", **changes: Any) -> Join:
    fresh = f"socket-{next(_sockets)}"
    join = Join(id=NAME, slot=slot, last_event_id=None, issued=None, now=AT, nonce=fresh)
    return replace(join, **changes)


_sockets = count()


async def _joined(store: Any, join: Join) -> Joined:
    joined = await store.join(join)
    assert isinstance(joined, Joined)
    return joined


async def _start_of(store: Any, name: str = NAME) -> Any:
    """The commit of the first command, on the state as it is."""
    fresh = restore_of(name).session
    received = Received(command=start(), at=AT)
    done = transition(fresh, received)
    before = await found(store, name)
    commit = commit_of(before, done, received, now=AT)
    return replace(commit, command="start", digest=digest_of(start()))
