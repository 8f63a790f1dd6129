"""Words that are written by the log's name, past every function: what only real servers show."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import redis.exceptions

from protocol.ids import ORIGIN, EventId
from protocol.machine import Noted
from storage.errors import BackendDownError, BadDataError, OutOfMemoryError
from storage.live import Append, Appended, Committed, Entry, Fenced, LiveStore, Restore, State
from storage.redis import keys
from storage.redis.connect import connect
from storage.redis.places import MOST, Places
from storage.redis.store import NOTED_S, RedisStore
from tests.contract.backends import RedisBackend
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
    said,
    started,
)
from tests.contract.proxy import proxied

pytestmark = pytest.mark.anyio

META, LOG = keys.interview_keys(NAME)[:2]


async def _spoken(store: LiveStore, count: int = 2, name: str = NAME) -> str:
    """Begin a turn and say words, all but the first by name; return the fence."""
    await started(store, name)
    fence = (await acquired(store, name=name)).fence
    # What appends go over is set up by the first call; words go by name over what is there.
    assert await store.renew([(name, fence)], LONG_MS) == [True]
    for ordinal in range(1, count + 1):
        assert isinstance(await said(store, piece(fence, ordinal, name=name)), Appended)
    return fence


async def _calls(real: RedisBackend, name: str) -> int:
    stats = await real.raw.info("commandstats")
    return stats.get(f"cmdstat_{name}", {"calls": 0})["calls"]


async def _chained(store: LiveStore) -> list[Entry]:
    """Return the whole log; each entry follows the one before it."""
    entries = await store.read(NAME, ORIGIN, 5_000)
    head = ORIGIN
    for entry in entries:
        head = head.after(entry.body)
        assert entry.id == head
    assert (await found(store)).head == head
    return entries


async def _name(real: RedisBackend) -> str:
    return LOG + (await real.raw.hget(META, "log")).decode()


async def test_words_behind_the_first_need_no_function(real: RedisBackend) -> None:
    store = real.store()
    fence = await _spoken(store, 1)
    before = await _calls(real, "fcall")
    for ordinal in range(2, 72):
        result = await said(store, piece(fence, ordinal))
        assert isinstance(result, Appended)
        assert result.entry is not None
        assert result.entry.id == result.head
    assert await _calls(real, "fcall") == before
    state = await found(store, entries=True)
    assert (state.ordinal, state.handle, state.logged) == (71, "h71", "word " * 71)
    assert len(await _chained(store)) == state.head.seq


async def test_a_pulse_tells_of_words_when_the_lease_is_renewed(real: RedisBackend) -> None:
    store = real.store()
    fence = await _spoken(store, 5)
    (pulse,) = await store.pulse([NAME])
    state = await found(store)
    assert pulse is not None
    assert pulse.head < state.head
    await asyncio.sleep(NOTED_S)
    assert await store.renew([(NAME, fence)], LONG_MS) == [True]
    (pulse,) = await store.pulse([NAME])
    assert pulse is not None
    assert pulse.head == state.head
    assert await found(store) == state
    assert isinstance(await said(store, piece(fence, 6)), Appended)
    assert (await found(store)).ordinal == 6
    for pause_s, noted in ((0, False), (NOTED_S, True)):
        await asyncio.sleep(pause_s)
        assert await store.renew([(NAME, fence)], LONG_MS) == [True]
        state, (pulse,) = await found(store), await store.pulse([NAME])
        assert pulse is not None
        assert (pulse.head == state.head) == noted, "only now and then"


async def test_who_was_taken_over_from_finds_no_log(real: RedisBackend) -> None:
    old, new = real.store(), real.store()
    fence = await _spoken(old, 3)
    await real.raw.hset(META, "lease_until", 0)  # the holder's own clock does not tell it
    held = await acquired(new, "b")
    assert held.state.ordinal == 3
    before = await _calls(real, "xadd")
    assert await said(old, piece(fence, 4, "late ")) == Fenced()
    assert await _calls(real, "xadd") == before + 1  # it did try
    assert isinstance(await said(new, piece(held.fence, 4)), Appended)
    assert (await found(new, entries=True)).logged == "word " * 4
    await _chained(new)


@pytest.mark.parametrize("ending", ["release", "finish", "cut", "erase"])
async def test_a_turn_that_is_over_takes_no_words(real: RedisBackend, ending: str) -> None:
    store, other = real.store(), real.store()
    fence = await _spoken(store, 3)
    match ending:
        case "release":
            assert await other.release(NAME, fence)
        case "finish":
            assert isinstance(await apply(other, finished("word " * 3), fence), Committed)
        case "cut":
            assert isinstance(await apply(other, lost(), fence), Committed)
        case _:
            await other.erase(NAME)
    assert await said(store, piece(fence, 4, "late ")) == Fenced()
    if ending == "erase":
        assert [key async for key in real.raw.scan_iter(f"{META}*")] == [f"{META}:erased".encode()]
    else:
        assert b"late" not in b"".join(entry.body for entry in await _chained(other))


async def test_words_go_on_behind_what_another_wrote(real: RedisBackend) -> None:
    store, other = real.store(), real.store()
    fence = await _spoken(store, 3)
    noted = Noted(code="fallback_in_use", message="Prepared questions.", at=AT)
    assert isinstance(await apply(other, noted), Committed)
    head = (await found(store)).head
    for ordinal in (4, 5):
        result = await said(store, piece(fence, ordinal))
        assert isinstance(result, Appended)
        assert result.head.seq == head.seq + ordinal - 3
    state = await found(store, entries=True)
    assert (state.ordinal, state.handle, state.logged) == (5, "h5", "word " * 5)
    await _chained(store)


async def test_a_rebuilt_log_takes_no_words_of_the_lost_one(real: RedisBackend) -> None:
    """Its writer is on the same connection, and further on than the log is."""
    store, other = real.store(), real.store()
    begun = await started(store)
    fence = (await acquired(store)).fence
    await store.renew([(NAME, fence)], LONG_MS)
    for ordinal in (1, 2, 3):
        assert isinstance(await said(store, piece(fence, ordinal)), Appended)
    assert await other.evict(NAME, begun.version, begun.head)
    restored = Restore(session=begun.session, version=9, head=begun.head, tick=AT + 10**12)
    assert await other.create(restored) == "ok"
    assert await said(store, piece(fence, 4)) == Fenced()
    assert [entry.id for entry in await other.read(NAME, ORIGIN, 100)] == [begun.head]


async def test_no_word_follows_where_a_failover_lost_the_ones_before(real: RedisBackend) -> None:
    store = real.store()
    fence = await _spoken(store, 2)
    name = await _name(real)
    kept = {key: await real.raw.dump(key) for key in (META, name)}
    assert isinstance(await said(store, piece(fence, 3)), Appended)
    for key, value in kept.items():
        await real.raw.restore(key, 0, value, replace=True)
    await real.raw.client_kill_filter(_type="normal", skipme=True)
    await asyncio.sleep(0.05)
    assert await store.renew([(NAME, fence)], LONG_MS) == [True]  # over a connection of its own
    assert await said(store, piece(fence, 4)) == Fenced()
    assert (await found(store, entries=True)).logged == "word " * 2
    await _chained(store)


async def test_words_go_on_over_a_new_connection(real: RedisBackend) -> None:
    store = real.store()
    fence = await _spoken(store, 2)
    await real.raw.client_kill_filter(_type="normal", skipme=True)
    await asyncio.sleep(0.05)
    before = await _calls(real, "fcall")
    for ordinal in range(3, 9):
        assert isinstance(await said(store, piece(fence, ordinal)), Appended)
    assert await _calls(real, "fcall") <= before + 2  # the first tells no name: it came while
    assert (await found(store, entries=True)).logged == "word " * 8


async def test_past_the_time_of_its_lease_the_function_decides(real: RedisBackend) -> None:
    store = real.store()
    await started(store)
    held = await store.acquire(NAME, "a", 400)
    fence = (await found(store)).fence
    assert await store.renew([(NAME, fence)], 400) == [True], held
    assert isinstance(await said(store, piece(fence, 1)), Appended)
    assert isinstance(await said(store, piece(fence, 2)), Appended)
    await asyncio.sleep(0.45)
    assert await said(store, piece(fence, 3)) == Fenced()  # though nobody took the turn


async def test_a_lost_reply_and_a_repeat_have_one_effect_on_words(valkey: RedisBackend) -> None:
    local = valkey.store()
    async with proxied(valkey.url) as proxy:
        client = connect(proxy.url)
        store = RedisStore(client)
        fence = await _spoken(store, 2)
        for ordinal in (3, 4):
            proxy.mute = True
            with pytest.raises(BackendDownError):
                await store.append([piece(fence, ordinal)])
            proxy.mute = False
            proxy.cut()
            head = (await found(local)).head
            assert await said(store, piece(fence, ordinal)) == Appended(head, None)
        await _chained(local)
        assert (await found(local, entries=True)).logged == "word " * 4
        await client.aclose()


async def test_a_full_server_refuses_words(real: RedisBackend) -> None:
    store = real.store()
    fence = await _spoken(store, 2)
    async with real.full():
        with pytest.raises(OutOfMemoryError):
            await store.append([piece(fence, 3)])
    assert isinstance(await said(store, piece(fence, 3)), Appended)
    assert (await found(store, entries=True)).logged == "word " * 3


async def test_where_memory_ends_within_a_flush_the_words_before_are_told(
    real: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = real.client()
    store, send = RedisStore(client), client.urgent.send
    fence, other = await _spoken(store), await _spoken(store, name=OTHER)

    async def full(calls: Sequence[bytes]) -> list[Any]:
        replied = await send([calls[0], *calls[2:]])
        return [replied[0], redis.exceptions.ResponseError("OOM"), *replied[1:]]

    pieces = [piece(fence, 3), piece(other, 3, name=OTHER)]
    with monkeypatch.context() as patch:
        patch.setattr(client.urgent, "send", full)
        first, second = await store.append(pieces)
    assert isinstance(first, Appended)
    assert isinstance(second, OutOfMemoryError)
    assert all(isinstance(result, Appended) for result in await store.append(pieces))
    for name in (NAME, OTHER):
        assert (await found(store, name=name, entries=True)).logged == "word " * 3


async def test_nobody_waits_for_the_news_of_words_to_others(
    real: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = real.client()
    store, send = RedisStore(client), client.urgent.send
    fence = await _spoken(store)
    sent: list[int] = []

    async def counted(calls: Sequence[bytes]) -> list[Any]:
        sent.append(len(calls))
        return await send(calls)

    before = await _calls(real, "publish")
    monkeypatch.setattr(client.urgent, "send", counted)
    assert isinstance(await said(store, piece(fence, 3)), Appended)
    assert sent == [2]  # the word, and who listens
    async with asyncio.timeout(5):
        while await _calls(real, "publish") == before:  # noqa: ASYNC110  # it is Redis that is asked
            await asyncio.sleep(0.01)


async def test_several_of_one_interview_go_together(real: RedisBackend) -> None:
    store = real.store()
    fence = await _spoken(store, 2)
    results = await store.append([piece(fence, ordinal) for ordinal in (3, 4, 5)])
    assert all(isinstance(result, Appended) for result in results)
    await _chained(store)


async def test_an_earlier_words_repeat_tells_nothing_of_the_last(real: RedisBackend) -> None:
    store = real.store()
    fence = await _spoken(store, 4)
    for ordinal in (2, 3, 4):
        assert await said(store, piece(fence, ordinal)) == Appended((await found(store)).head, None)
    assert isinstance(await said(store, piece(fence, 5)), Appended)
    assert (await found(store, entries=True)).logged == "word " * 5
    await _chained(store)


async def test_a_commit_that_fails_midway_leaves_a_log_that_is_read(real: RedisBackend) -> None:
    store = real.store()
    fence = await _spoken(store, 3)
    leases = keys.interview_keys(NAME)[5]
    await real.raw.rename(leases, "aside")
    await real.raw.set(leases, "damaged")
    with pytest.raises(BadDataError):
        await apply(store, finished("word " * 3), fence)
    await real.raw.rename("aside", leases)
    state = await found(store, entries=True)
    assert (state.ordinal, state.logged) == (3, "word " * 3)
    await _chained(store)


async def test_damaged_keys_are_erased(real: RedisBackend) -> None:
    store = real.store()
    await _spoken(store)
    await real.raw.set(META, "damaged")
    await store.erase(NAME)
    assert not await real.raw.exists(META)


async def test_a_renewal_that_ends_late_holds_nothing() -> None:
    places, since = Places(), asyncio.get_running_loop().time()
    places.hold("i", "1:a", since, LONG_MS)
    places.drop("i", "1:a")
    assert not places.prolong("i", "1:a", since, LONG_MS)
    places.learn(_append_of("i"), 1, b"name", EventId(1, 1))
    assert places.known(_append_of("i", 2), 1) is None


async def _as_of_old(real: RedisBackend) -> None:
    """Make the log one of a version that knew it by one name."""
    await real.raw.rename(await _name(real), LOG)
    await real.raw.hdel(META, "log")


async def test_an_older_versions_log_is_read_and_goes_on(real: RedisBackend) -> None:
    store = real.store()
    fence = await _spoken(store, 1)
    await _as_of_old(real)
    before: State = await found(store, entries=True)
    assert before.logged == "word "
    for ordinal in (2, 3):
        assert isinstance(await said(store, piece(fence, ordinal)), Appended)
    assert isinstance(await apply(store, finished("word " * 3), fence), Committed)
    assert isinstance(await command(store, answer("c2")), Committed)
    await _chained(store)
    assert await _name(real) != LOG


async def test_an_older_version_finds_no_log_to_write(real: RedisBackend) -> None:
    """It would begin another one, where nobody of this version reads."""
    store = real.store()
    await _spoken(store)
    with pytest.raises(redis.exceptions.ResponseError, match="WRONGTYPE"):
        await real.raw.xadd(LOG, {"e": "x"})
    await store.erase(NAME)
    assert not await real.raw.exists(LOG)


async def test_only_so_many_turns_are_kept_account_of() -> None:
    places, since = Places(), asyncio.get_running_loop().time()
    for number in range(MOST + 1):
        places.hold(f"i{number}", "1:a", since, LONG_MS)

    def known(number: int) -> bool:
        append = _append_of(f"i{number}")
        places.learn(append, 1, b"name", EventId(1, 1))
        return places.known(_append_of(f"i{number}", 2), 1) is not None

    assert known(0)
    assert known(MOST - 1)
    assert not known(MOST)
    places.drop("i0", "1:b")
    assert known(0)
    places.drop("i0", "1:a")
    assert not known(0)
    places.hold(f"i{MOST}", "1:a", since, LONG_MS)
    assert known(MOST)
    places.hold("i1", "1:a", since, 0)  # lapsed, and of a turn that ended elsewhere
    places.hold("i0", "1:a", since, LONG_MS)
    assert known(0)
    assert not known(1)


def _append_of(name: str, ordinal: int = 1) -> Append:
    return Append(id=name, fence="1:a", ordinal=ordinal, handle="", body=b"{}")
