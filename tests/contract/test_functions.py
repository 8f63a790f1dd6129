"""What only real servers show: the function library, damage, growth."""

import asyncio

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from protocol.ids import ORIGIN, EventId
from storage.errors import BadDataError
from storage.given import given_of, read_given
from storage.live import (
    MAX_TRIES,
    PARTITIONS,
    UNREADABLE,
    Acquired,
    Appended,
    Attendance,
    Attendant,
    Entry,
    Erased,
    Fenced,
    Join,
    Joined,
    State,
    Unstored,
    partition_of,
)
from storage.redis import keys, library
from storage.redis.jobs import RedisJobs
from storage.redis.replies import library_name
from storage.redis.store import RedisStore
from tests.contract.backends import RedisBackend
from tests.contract.interviews import (
    AT,
    LONG_MS,
    NAME,
    OTHER,
    acquired,
    found,
    piece,
    restore_of,
    said,
    speak,
    started,
)

pytestmark = pytest.mark.anyio

PARTITION = partition_of(NAME)


async def _libraries(real: RedisBackend) -> set[str]:
    listed = await real.raw.execute_command("FUNCTION", "LIST")
    return {library_name(entry) for entry in listed}


async def test_a_missing_library_is_loaded_again(real: RedisBackend) -> None:
    store = real.store()
    await started(store)
    fence = (await acquired(store)).fence
    calls = (
        lambda: found(store),
        lambda: store.append([piece(fence, 1), piece(fence, 2)]),
        lambda: store.due(10),
        lambda: store.take(PARTITION, "w", 1, 0),
        lambda: store.settle(PARTITION, ["1-1"]),
        lambda: store.redeem(NAME, "t", "n", 60),
        lambda: store.read(NAME, ORIGIN, 1),
        lambda: store.renew([(NAME, fence)], LONG_MS),
    )
    for call in calls:
        await real.raw.execute_command("FUNCTION", "FLUSH", "SYNC")
        await call()
    assert (await found(store)).ordinal == 2


async def test_hundreds_in_one_partition_are_seen(real: RedisBackend) -> None:
    present, presence = [f"i{n}" for n in range(1201)], keys.presence_key(PARTITION)
    pipe = real.raw.pipeline(transaction=False)
    for name in present:
        pipe.hset(keys.interview_keys(name)[0], "version", "1")
        pipe.zadd(presence, {name: 1})
    await pipe.execute()
    attendants = [Attendant(name, present=True, heard_ms=0) for name in present]
    (told,) = await real.store().attend({PARTITION: attendants}, 60_000, 10)
    assert told is not None
    assert told.lapsed == ()
    assert await real.raw.zcount(presence, "-inf", 1) == 0


async def test_a_damaged_interview_and_a_damaged_partition_keep_nobody_from_being_seen(
    real: RedisBackend,
) -> None:
    store = real.store()
    at = partition_of(NAME)
    beside = next(
        name for n in range(10_000) if partition_of(name := f"i{n}") == at and name != NAME
    )
    elsewhere, third = (at + 1) % PARTITIONS, (at + 2) % PARTITIONS
    there = next(name for n in range(10_000) if partition_of(name := f"i{n}") == elsewhere)
    await started(store)
    await started(store, there)
    await started(store, beside)
    await real.raw.delete(keys.interview_keys(NAME)[0])
    await real.raw.set(keys.interview_keys(NAME)[0], "x")
    await real.raw.zadd(keys.presence_key(at), {beside: 1})
    await real.raw.set(keys.presence_key(elsewhere), "x")
    await real.raw.zadd(keys.presence_key(third), {"missing": 7})
    attendants = [Attendant(name, present=True, heard_ms=0) for name in (NAME, beside)]
    told = await store.attend({at: attendants, elsewhere: (), third: ()}, 60_000, 10)
    assert told == [Attendance((), ()), None, Attendance((), (("missing", 7),))]
    assert await real.raw.zscore(keys.presence_key(at), beside) > 1
    joining = Join(
        id=there, slot="candidate", last_event_id=None, issued=None, now=AT, nonce="nonce"
    )
    assert isinstance(await store.join(joining), Joined)


async def test_many_find_the_library_missing_at_once(real: RedisBackend) -> None:
    stores = [real.store() for _ in range(8)]
    results = await asyncio.gather(
        *(store.create(restore_of(f"i{n}")) for n, store in enumerate(stores))
    )
    assert results == ["ok"] * 8


async def test_one_loads_the_library_for_all_who_find_it_missing(real: RedisBackend) -> None:
    """A Redis that begins anew meets every caller at once."""
    store = real.store()
    await started(store)
    await real.raw.execute_command("FUNCTION", "FLUSH", "SYNC")
    await real.raw.config_resetstat()
    await asyncio.gather(*(found(store) for _ in range(200)))
    stats = await real.raw.info("commandstats")
    assert stats["cmdstat_function|load"]["calls"] == 1


async def test_two_versions_live_side_by_side(
    real: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = real.store()
    await started(store)
    fence = (await acquired(store)).fence
    present = library.HASH
    monkeypatch.setattr(library, "HASH", "feedfacecafe")
    monkeypatch.setattr(library, "SOURCE", library.SOURCE.replace(present, "feedfacecafe"))
    assert isinstance(await said(store, piece(fence, 1)), Appended)
    monkeypatch.undo()
    assert isinstance(await said(store, piece(fence, 2)), Appended)
    assert await _libraries(real) == {f"viva_{present}", "viva_feedfacecafe"}


async def test_libraries_of_versions_long_gone_are_dropped(real: RedisBackend) -> None:
    store = RedisStore(real.client())
    for number in range(12):
        source = library.SOURCE.replace(library.HASH, f"{number:012d}")
        await real.raw.execute_command("FUNCTION", "LOAD", source)
    await real.raw.execute_command(
        "FUNCTION",
        "LOAD",
        "#!lua name=foreign\nredis.register_function('foreign', function() return 1 end)",
    )
    await store.prepare()
    await store.prepare()
    assert await _libraries(real) == {f"viva_{library.HASH}", "foreign"}


async def test_readers_are_allowed_to_ask_a_replica(real: RedisBackend) -> None:
    """What is called by FCALL_RO is flagged as writing nothing, or the server would refuse it."""
    store = real.store()
    await started(store)
    fence = (await acquired(store)).fence
    await said(store, piece(fence, 1))
    before = await real.raw.info("persistence")
    assert isinstance(await store.load(NAME, turns=True, entries=True), State)
    await store.unstored(NAME)
    await store.due(10)
    await store.read(NAME, ORIGIN, 10)
    after = await real.raw.info("persistence")
    assert before["rdb_changes_since_last_save"] == after["rdb_changes_since_last_save"]


async def test_a_damaged_interview_does_not_stop_the_others(real: RedisBackend) -> None:
    store = real.store()
    await started(store)
    await started(store, OTHER)
    damaged = (await acquired(store)).fence
    sound = (await acquired(store, name=OTHER)).fence
    own, log = keys.interview_keys(NAME)[:2]
    log += (await real.raw.hget(own, "log")).decode()
    await real.raw.rename(log, "aside")
    await real.raw.hset(own, "head", "nonsense")
    unread, read = await store.pulse([NAME, OTHER])
    assert unread is UNREADABLE
    assert read is not UNREADABLE
    results = await store.append([piece(damaged, 1), piece(sound, 1, name=OTHER)])
    assert isinstance(results[0], Fenced)
    assert isinstance(results[1], Appended)
    await real.raw.rename("aside", log)  # what the log ends with counts
    assert isinstance(await said(store, piece(damaged, 1)), Appended)
    await real.raw.delete(log)
    await real.raw.set(log, "x")
    results = await store.append([piece(damaged, 2), piece(sound, 2, name=OTHER)])
    assert isinstance(results[0], Fenced)
    assert isinstance(results[1], Appended)
    await real.raw.delete(keys.interview_keys(NAME)[0])
    await real.raw.set(keys.interview_keys(NAME)[0], "x")
    assert await store.renew([(NAME, damaged), (OTHER, sound)], LONG_MS) == [False, True]
    unread, read = await store.pulse([NAME, OTHER])
    assert unread is UNREADABLE
    assert read is not UNREADABLE
    with pytest.raises(BadDataError):
        await store.load(NAME)


@pytest.mark.parametrize("kind", ["leases", "timers", "outbox"])
async def test_a_damaged_partition_does_not_stop_the_sweep_of_the_others(
    real: RedisBackend, kind: str
) -> None:
    store = real.store()
    await started(store)
    assert isinstance(await store.acquire(NAME, "a", 1), Acquired)
    await asyncio.sleep(0.01)
    await store.postpone(NAME, 1)
    before = await store.due(10)
    assert before.leases == before.timers == (NAME,)
    key = keys.outbox_key((partition_of(NAME) + 1) % PARTITIONS).removesuffix("outbox") + kind
    await real.raw.set(key, "x")
    with capture_logs() as logs:
        assert [await store.due(10) for _ in range(2)] == [before] * 2
        assert (await store.due(10, leases_only=True)).leases == before.leases
    assert [line["key"] for line in logs] == [key]  # once


async def test_names_that_are_none_stop_nobody(real: RedisBackend) -> None:
    store, at = real.store(), partition_of(NAME)
    await started(store)
    prefix = keys.outbox_key(at).removesuffix("outbox")
    for kind in ("leases", "timers"):
        await real.raw.zadd(f"{prefix}{kind}", {b"\xff": 1})
    await real.raw.zadd(keys.presence_key(at), {b"\xff": 1, "beginning": "-inf"})
    await real.raw.xadd(keys.outbox_key(at), {"odd": "x"})
    found = await store.due(10)
    assert "\N{REPLACEMENT CHARACTER}" in found.leases
    assert "\N{REPLACEMENT CHARACTER}" in found.timers
    (told,) = await store.attend({at: []}, 60_000, 10)
    assert told is not None
    assert told.lapsed == (("\N{REPLACEMENT CHARACTER}", 1),)
    (entry,) = await store.take(at, "somebody", 10, 0)
    assert entry.interview_id == ""


@pytest.mark.parametrize("kind", ["key", "count"])
async def test_damaged_counts_of_failures_hold_up_no_outbox(real: RedisBackend, kind: str) -> None:
    store, at = real.store(), partition_of(NAME)
    tries = keys.tries_key(at)
    for row in (b"bad", b"good"):
        await store.enqueue_ledger(NAME, row)
    bad, good = await store.take(at, "somebody", 10, 0)
    await (real.raw.set(tries, "x") if kind == "key" else real.raw.hset(tries, bad.id, "x"))
    for number in range(1, MAX_TRIES + 1):
        assert await store.bury(at, bad, "22P05") == (number == MAX_TRIES)
        taken = await store.take(at, "somebody", 10, 0)
        assert taken == ([bad, good] if number < MAX_TRIES else [good])
    await real.raw.delete(tries)
    await real.raw.set(tries, "x")
    await store.settle(at, [good.id])
    assert await store.take(at, "somebody", 10, 0) == []


@pytest.mark.parametrize("field", ["stored", "touched"])
async def test_a_field_that_is_damaged_is_bad_data(real: RedisBackend, field: str) -> None:
    store = real.store()
    await started(store)
    await real.raw.hset(keys.interview_keys(NAME)[0], field, "nonsense")
    for reading in (store.load(NAME), store.unstored(NAME)):
        with pytest.raises(BadDataError):
            await reading


async def test_more_appends_than_one_call_takes_are_answered_in_their_order(
    real: RedisBackend,
) -> None:
    store = real.store()
    await started(store)
    fence = (await acquired(store)).fence
    pieces = [piece(fence, ordinal) for ordinal in range(1, 151)]
    heads: list[EventId] = []
    for one, result in zip(pieces, await store.append(pieces), strict=True):
        assert isinstance(result, Appended)
        assert result.entry == Entry(result.head, one.body)
        heads.append(result.head)
    assert [head.seq - heads[0].seq for head in heads] == list(range(150))
    again = await store.append([*pieces[-70:], piece("0:nobody", 151), piece(fence, 151)])
    assert again[:70] == [Appended(heads[-1], None)] * 70
    assert isinstance(again[70], Fenced)
    assert isinstance(again[71], Appended)
    assert again[71].head.seq == heads[-1].seq + 1


async def test_a_session_of_another_form_is_bad_data(real: RedisBackend) -> None:
    store = real.store()
    await started(store)
    await real.raw.hset(keys.interview_keys(NAME)[0], "session", '{"phase":"unknown"}')
    with pytest.raises(BadDataError):
        await store.load(NAME)


async def test_what_never_changes_is_written_once_and_told_once(real: RedisBackend) -> None:
    store, other = real.store(), real.store()
    await started(store)
    own = keys.interview_keys(NAME)[0]
    written = await real.raw.hget(own, "given")
    assert read_given(written) == given_of((await found(store)).session)
    assert b"plan" not in await real.raw.hget(own, "session")
    fence = (await acquired(other)).fence  # it was not told before
    await real.raw.hset(own, "given", "")  # whoever needs it again fails
    await speak(other, fence, 1)
    state = (await found(other)).session
    assert state == (await found(store)).session
    assert isinstance(await store.unstored(NAME), Unstored)
    joined = await store.join(
        Join(id=NAME, slot="candidate", last_event_id=None, issued=None, now=AT, nonce="n")
    )
    assert isinstance(joined, Joined)
    assert joined.state.session == state
    with pytest.raises(BadDataError):
        await real.store().load(NAME)


async def test_what_was_erased_is_not_known_any_more(real: RedisBackend) -> None:
    store, other = real.store(), real.store()
    await started(store)
    assert (await found(other)).session.plan.role != "other"
    await store.erase(NAME)
    assert isinstance(await other.load(NAME), Erased)
    await real.raw.flushall()
    session = restore_of().session
    changed = replace(session, plan=replace(session.plan, role="other"))
    await real.store().create(restore_of(session=changed))
    for each in (store, other):
        assert (await found(each)).session == changed


async def test_consumers_of_instances_long_gone_are_forgotten(
    real: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = real.store()
    outbox = keys.outbox_key(PARTITION)
    for number in range(20):
        await store.enqueue_ledger(NAME, b"row")
        (entry,) = await store.take(PARTITION, f"instance-{number}", 1, 10**9)
        if number:
            await store.settle(PARTITION, [entry.id])
    jobs = RedisJobs(RedisStore(real.client()))
    for number in range(20):
        await jobs.enqueue({"job": b"{}"})
        (job,) = await jobs.take(f"worker-{number}", 1, 10**9)
        await jobs.finish(job)
    for stream, group in ((outbox, "writers"), ("viva:{jobs}:normal", "workers")):
        # A day has not passed.
        assert len(await real.raw.xinfo_consumers(stream, group)) == 20
    assert "MS = 16, 86400000" in library.SOURCE
    source = library.SOURCE.replace("MS = 16, 86400000", "MS = 16, -1")
    monkeypatch.setattr(library, "SOURCE", source.replace(library.HASH, "feedfacecafe"))
    monkeypatch.setattr(library, "HASH", "feedfacecafe")
    assert await store.take(PARTITION, "instance-0", 1, 10**9) == []
    consumers = await real.raw.xinfo_consumers(outbox, "writers")
    assert [consumer["name"] for consumer in consumers] == [b"instance-0"]
    assert await jobs.take("worker-0", 1, 10**9) == []
    assert await real.raw.xinfo_consumers("viva:{jobs}:normal", "workers") == []


async def test_nothing_is_left_of_a_parked_or_erased_interview(real: RedisBackend) -> None:
    store = real.store()
    await store.create(restore_of())
    await store.redeem(NAME, "ticket", "n", 60)
    state = await found(store)
    assert await store.park(NAME, state.version, 0, 0) == "ok"
    await started(store)
    fence = (await acquired(store)).fence
    await speak(store, fence, 70)
    await store.enqueue_ledger(NAME, b"row")
    (entry,) = await store.take(PARTITION, "w", 1, 0)
    for _ in range(5):
        await store.bury(PARTITION, entry, "x")
        await store.take(PARTITION, "w", 1, 0)
    await store.erase(NAME)
    left = {key.decode() for key in await real.raw.keys("*")}
    assert left == {
        keys.ticket_key(NAME, "ticket"),
        keys.interview_keys(NAME)[8],
        keys.outbox_key(PARTITION),
        keys.dead_key(PARTITION),
    }
    for key in (keys.ticket_key(NAME, "ticket"), keys.interview_keys(NAME)[8]):
        assert 0 < await real.raw.ttl(key) <= 86_400


async def test_it_is_told_how_full_redis_is(real: RedisBackend) -> None:
    store = RedisStore(real.client())
    assert await store.fullness() == 0.0
    async with real.full():
        assert await store.fullness() > 1.0
