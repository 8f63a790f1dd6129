from typing import Any

import pytest
from msgspec.structs import replace

from protocol.codec import event_body
from protocol.commands import TurnCancel
from protocol.events import TurnDelta
from protocol.ids import ORIGIN
from protocol.machine import Noted, Received, transition
from storage.commits import commit_of
from storage.live import (
    Acquired,
    Append,
    Appended,
    Committed,
    Conflict,
    Due,
    Fenced,
    Held,
    Idle,
    LiveStore,
)
from tests.contract.backends import Backend
from tests.contract.interviews import (
    AT,
    LONG_MS,
    NAME,
    OTHER,
    acquired,
    answer,
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


async def test_the_turn_is_acquired_once_and_by_its_nonce_again(backend: Backend) -> None:
    store = backend.store()
    state = await started(store)
    first = await acquired(store, "a")
    assert first.state.head == state.head
    assert first.state.entries
    assert await acquired(store, "a") == first
    assert await store.acquire(NAME, "b", LONG_MS) == Held()
    # A nonce that ends alike is another one.
    assert await store.acquire(NAME, "", LONG_MS) == Held()
    assert await store.acquire(NAME, "aa", LONG_MS) == Held()
    assert (await store.due(10)).leases == ()


async def test_no_turn_to_generate_is_idle(backend: Backend) -> None:
    store = backend.store()
    await store.create(restore_of())
    assert await store.acquire(NAME, "a") == Idle()
    await command(store, start())
    fence = (await acquired(store)).fence
    await apply(store, finished("Hello."), fence)
    assert await store.acquire(NAME, "b") == Idle()
    assert (await store.due(10)).leases == ()


async def test_a_new_turn_falls_due_after_its_grace(backend: Backend) -> None:
    store = backend.store()
    await started(store)
    assert (await store.due(10)).leases == ()
    await backend.lapse(NAME)
    assert (await store.due(10)).leases == (NAME,)
    await acquired(store)
    assert (await store.due(10)).leases == ()


async def test_leases_can_be_looked_at_alone(backend: Backend) -> None:
    store = backend.store()
    await started(store)
    await store.postpone(NAME, 0)
    await backend.lapse(NAME)
    assert await store.due(10, leases_only=True) == Due((NAME,), (), ())
    assert await store.due(10) == Due((NAME,), (NAME,), ())


async def test_a_rebuilt_turn_is_due_at_once(backend: Backend) -> None:
    store = backend.store()
    state = await started(store)
    await store.create(restore_of(OTHER, session=replace(state.session, interview_id=OTHER)))
    assert (await store.due(10)).leases == (OTHER,)
    assert isinstance(await store.acquire(OTHER, "a"), Acquired)


async def test_appends_are_logged_in_order_and_once(backend: Backend) -> None:
    store = backend.store()
    head = (await started(store)).head
    fence = (await acquired(store)).fence
    appends = [piece(fence, n, f"word{n} ") for n in (1, 2, 3)]
    results = await store.append(appends)
    for append, result in zip(appends, results, strict=True):
        head = head.after(append.body)
        assert isinstance(result, Appended)
        assert result.entry is not None
        assert (result.entry.id, result.entry.body) == (head, append.body)
    assert await store.append(appends) == [Appended(head, None)] * 3
    assert await said(store, piece(fence, 5)) == Fenced()
    state = await found(store, entries=True)
    assert state.head == head
    assert (state.ordinal, state.handle) == (3, "h3")
    assert state.logged == "word1 word2 word3 "


async def test_one_flush_carries_many_interviews(backend: Backend) -> None:
    store = backend.store()
    await started(store)
    await started(store, OTHER)
    first = (await acquired(store)).fence
    second = (await acquired(store, name=OTHER)).fence
    results = await store.append(
        [
            piece(first, 1),
            piece("1:no", 1, name=OTHER),
            piece(first, 2),
            piece(second, 1, name=OTHER),
        ]
    )
    assert [type(result) for result in results] == [Appended, Fenced, Appended, Appended]
    assert await store.append([]) == []
    assert await store.renew([]) == []
    assert await store.pulse([]) == []


@pytest.mark.parametrize("end", ["lapsed", "taken", "released", "finished", "erased"])
async def test_whoever_lost_the_turn_writes_nothing(backend: Backend, end: str) -> None:
    store = backend.store()
    await started(store)
    fence = (await acquired(store, "a")).fence
    await said(store, piece(fence, 1))
    if end == "released":
        assert await store.release(NAME, fence)
    elif end == "finished":
        await apply(store, finished("word "), fence)
    elif end == "erased":
        await store.erase(NAME)
    else:
        await backend.lapse(NAME)
    if end == "taken":
        await acquired(store, "b")
    before = await store.load(NAME)
    assert await said(store, piece(fence, 2)) == Fenced()
    assert await said(store, piece(fence, 1)) == Fenced()
    assert await store.renew([(NAME, fence)], LONG_MS) == [False]
    if end in ("lapsed", "taken", "released"):
        assert await apply(store, finished("word "), fence) == Fenced()
        assert await apply(store, lost(), fence) == Fenced()
    assert await store.load(NAME) == before


async def test_the_next_holder_goes_on_where_the_log_ends(backend: Backend) -> None:
    store = backend.store()
    await started(store)
    first = (await acquired(store, "a")).fence
    await speak(store, first, 3)
    await backend.lapse(NAME)
    second = await acquired(store, "b")
    assert second.fence != first
    assert (second.state.ordinal, second.state.handle) == (3, "h3")
    assert second.state.logged == "word " * 3
    assert isinstance(await said(store, piece(second.fence, 4)), Appended)
    assert (await store.due(10)).leases == ()


async def test_the_same_nonce_after_a_lapse_gets_a_new_fence(backend: Backend) -> None:
    store = backend.store()
    await started(store)
    first = (await acquired(store, "a")).fence
    await backend.lapse(NAME)
    second = (await acquired(store, "a")).fence
    assert second != first
    assert await said(store, piece(first, 1)) == Fenced()


async def test_releasing_again_changes_nothing(backend: Backend) -> None:
    store = backend.store()
    await started(store)
    fence = (await acquired(store)).fence
    assert not await store.release(NAME, "1:other")
    assert await store.release(NAME, fence)
    assert await store.release(NAME, fence)
    assert (await store.due(10)).leases == (NAME,)
    taken = await acquired(store, "b")
    assert not await store.release(NAME, fence)
    assert isinstance(await said(store, piece(taken.fence, 1)), Appended)


async def test_renewing_is_per_lease(backend: Backend) -> None:
    store = backend.store()
    await started(store)
    await started(store, OTHER)
    fence = (await acquired(store)).fence
    assert await store.renew([(NAME, fence), (OTHER, "1:a"), ("absent", "")], LONG_MS) == [
        True,
        False,
        False,
    ]


async def test_a_new_attempt_keeps_the_lease_and_counts_anew(backend: Backend) -> None:
    store = backend.store()
    await started(store)
    fence = (await acquired(store)).fence
    await speak(store, fence, 3)
    assert isinstance(await apply(store, lost(), fence), Committed)
    state = await found(store, entries=True)
    assert (state.ordinal, state.handle, state.fence, state.logged) == (0, "", fence, "")
    assert isinstance(await said(store, piece(fence, 1, "again ", attempt=2)), Appended)
    assert (await found(store, entries=True)).logged == "again "
    assert await store.renew([(NAME, fence)], LONG_MS) == [True]


async def test_an_append_overtaken_by_the_next_attempt_is_refused(backend: Backend) -> None:
    """It was on another connection when its attempt was given up; ordinal and fence would fit."""
    store = backend.store()
    await started(store)
    fence = (await acquired(store)).fence
    late = piece(fence, 1, "of attempt 1")
    await apply(store, lost(), fence)
    assert await said(store, late) == Fenced()
    fresh = await said(store, piece(fence, 1, "of attempt 2", attempt=2))
    assert isinstance(fresh, Appended)
    assert fresh.entry is not None
    assert (await found(store, entries=True)).logged == "of attempt 2"


def test_the_functions_know_a_delta_when_they_see_one() -> None:
    body = event_body(TurnDelta(turn=12, attempt=3, offset=0, text="x"))
    assert body.startswith(b'{"type":"turn.delta","turn":12,"attempt":3,')


async def test_a_decision_under_an_old_fence_is_refused(backend: Backend) -> None:
    store = backend.store()
    await started(store)
    fence = (await acquired(store, "a")).fence
    await backend.lapse(NAME)
    assert await apply(store, finished("x"), fence) == Fenced()
    taken = (await acquired(store, "b")).fence
    assert await apply(store, finished("x"), fence) == Fenced()
    assert isinstance(await apply(store, finished("x"), taken), Committed)


async def test_barge_in_elsewhere_ends_the_turn_and_fences_its_runner_out(
    backend: Backend,
) -> None:
    store, elsewhere = backend.store(), backend.store()
    await started(store)
    fence = (await acquired(store)).fence
    await said(store, piece(fence, 1, "Tell me"))
    before = await found(store)
    cancel = TurnCancel(id="c2", turn=1, attempt=1, heard=4)
    assert isinstance(await command(elsewhere, cancel), Committed)
    assert await said(store, piece(fence, 2)) == Fenced()
    late = await _finish(store, before, fence)
    assert isinstance(late, Conflict)
    state = await found(store, turns=True)
    assert state.session.open is not None
    assert state.session.open.speaker == "candidate"
    assert await store.acquire(NAME, "b") == Idle()


async def test_a_finish_whose_reply_was_lost_conflicts_when_repeated(backend: Backend) -> None:
    store = backend.store()
    await started(store)
    fence = (await acquired(store)).fence
    before = await found(store)
    assert isinstance(await apply(store, finished("x"), fence), Committed)
    assert await _finish(store, before, fence) == Conflict()


async def test_a_turn_ends_with_the_words_it_was_decided_on(backend: Backend) -> None:
    store = backend.store()
    await started(store)
    fence = (await acquired(store)).fence
    await speak(store, fence, 2)
    state = await found(store, entries=True)
    received = Received(command=TurnCancel(id="c2", turn=1, attempt=1), at=AT, logged=state.logged)
    cut = transition(state.session, received)
    commit = commit_of(state, cut, received, now=0, ordinal=state.ordinal)
    assert isinstance(await said(store, piece(fence, 3)), Appended)
    assert await store.commit(commit) == Conflict()
    assert await store.commit(replace(commit, ordinal=4, fence=fence)) == Fenced()
    assert isinstance(await store.commit(replace(commit, ordinal=3)), Committed)


async def test_trimming_never_cuts_the_open_turn(backend: Backend) -> None:
    store = backend.store(max_log=100)
    state = await started(store)
    fence = (await acquired(store)).fence
    await speak(store, fence, 300)
    noted = Noted(code="fallback_in_use", message="Prepared questions.", at=AT)
    assert isinstance(await apply(store, noted, fence), Committed)
    entries = await store.read(NAME, ORIGIN, 1000)
    assert entries[0].id.seq == state.open_from
    assert (await found(store, entries=True)).logged == "word " * 300
    await apply(store, finished("word " * 300), fence)
    held = await found(store)
    entries = await store.read(NAME, ORIGIN, 1000)
    assert [entry.id.seq for entry in entries] == list(range(held.head.seq - 99, held.head.seq + 1))
    await command(store, answer("c2"))
    assert len(await store.read(NAME, ORIGIN, 1000)) <= 100


async def test_reading_is_inclusive_and_bounded(backend: Backend) -> None:
    store = backend.store()
    await started(store)
    entries = await store.read(NAME, ORIGIN, 100)
    assert await store.read(NAME, entries[1].id, 1) == [entries[1]]
    assert await store.read(NAME, entries[1].id, 100) == entries[1:]
    assert await store.read(NAME, entries[-1].id, 5) == entries[-1:]
    above = entries[1].id._replace(check=entries[1].id.check + 1)
    assert await store.read(NAME, above, 100) == entries[2:]
    below = entries[1].id._replace(check=entries[1].id.check - 1)
    assert await store.read(NAME, below, 100) == entries[1:]
    assert await store.read(NAME, entries[-1].id._replace(seq=10**6), 5) == []


async def test_commits_race_and_one_wins(backend: Backend) -> None:
    store, other = backend.store(), backend.store()
    await started(store)
    fence = (await acquired(store)).fence
    await said(store, piece(fence, 1, "Hello"))
    before = await found(store)
    results = [await _finish(store, before, fence), await _finish(other, before, fence)]
    assert [type(result) for result in results] == [Committed, Conflict]


async def _finish(store: LiveStore, before: Any, fence: str) -> Any:
    happened = finished("Hello")
    done = transition(before.session, happened)
    return await store.commit(commit_of(before, done, happened, now=0, fence=fence))


async def test_bodies_are_kept_byte_for_byte(backend: Backend) -> None:
    store = backend.store()
    await started(store)
    fence = (await acquired(store)).fence
    bodies = [bytes(range(1, 256)), b"", b"\xff" * 70_000, "🦁".encode() * 8192]
    for ordinal, body in enumerate(bodies, 1):
        result = await said(
            store, Append(id=NAME, fence=fence, ordinal=ordinal, handle="", body=body)
        )
        assert isinstance(result, Appended)
    entries = await store.read(NAME, ORIGIN, 100)
    assert [entry.body for entry in entries[-4:]] == bodies
    position = entries[-5].id
    for entry in entries[-4:]:
        position = position.after(entry.body)
        assert entry.id == position
