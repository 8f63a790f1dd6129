"""The writer between a real Valkey and a real PostgreSQL."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from msgspec.structs import replace

from protocol.commands import AnswerSubmit, Consent, DurableCommand, InterviewEnd, InterviewStart
from protocol.machine import Finished, Received, transition
from server.assessing.orders import OrderBook, Orders
from server.clock import SystemClock
from server.embedded import PostgresServer
from server.instance import Instance
from server.settings import read_settings
from server.writer import Writer
from storage.commits import commit_of
from storage.errors import ErasedError
from storage.live import Committed, Restore, State, Unstored, partition_of
from storage.postgres.archive import Archive
from storage.redis.connect import connect
from storage.redis.jobs import RedisJobs
from storage.redis.store import RedisStore
from tests.support.databases import flush_redis
from tests.support.interviews import archive_on, interview_id, ledger_row, rows_of, session
from tests.support.parts import NoOrders

pytestmark = pytest.mark.anyio


class Meter:
    def __init__(self) -> None:
        self.ends: Counter[str] = Counter()

    def outbox_ended(self, end: str, entries: int = 1) -> None:
        self.ends[end] += entries


class Scene:
    """A live store, an archive and a writer; interviews that go on turn by turn."""

    def __init__(self, store: RedisStore, archive: Archive) -> None:
        self.store = store
        self.archive = archive
        self.clock = SystemClock()
        self.meter = Meter()
        self.writer = self.another_writer()

    def another_writer(self, orders: Orders | None = None) -> Writer:
        return Writer(
            self.store,
            self.archive,
            orders or NoOrders(),
            consumer=self.clock.nonce(),
            clock=self.clock,
            meter=self.meter,
        )

    async def interview(self) -> str:
        """A created interview, in the archive and in the live store."""
        new = session(interview_id(self.clock.now()))
        await self.archive.create_interview(new)
        await self.revive(new.interview_id)
        await self.apply(
            new.interview_id,
            InterviewStart(id="start", consent=Consent(version="1", at=self.clock.now())),
        )
        return new.interview_id

    async def revive(self, name: str) -> None:
        restore = await self.archive.rebuild(name)
        assert isinstance(restore, Restore)
        assert await self.store.create(replace(restore, tick=self.clock.now() + 60_000)) == "ok"

    async def talk(self, name: str, number: int) -> None:
        """One question, asked to its end, and its answer."""
        state = await self.state(name)
        assert state.session.open is not None
        at = self.clock.now()
        asked = Finished(
            turn=state.session.open.turn, attempt=1, text=f"Q{number}: 🎤?", at=at, source="model"
        )
        await self.apply(name, asked)
        await self.apply(name, AnswerSubmit(id=f"answer-{number}", text=f"A{number}: größer"))

    async def apply(self, name: str, given: DurableCommand | Finished) -> None:
        before = await self.state(name)
        at = self.clock.now()
        command = "" if isinstance(given, Finished) else given.id
        happened = given if isinstance(given, Finished) else Received(command=given, at=at)
        commit = commit_of(before, transition(before.session, happened), happened, now=at)
        done = await self.store.commit(replace(commit, command=command, digest="d"))
        assert isinstance(done, Committed)

    async def state(self, name: str) -> State:
        found = await self.store.load(name, turns=True)
        assert isinstance(found, State)
        return found

    async def drain(self) -> None:
        for partition in (await self.store.due(64)).outboxes:
            await self.writer.drain(partition)

    async def stored(self, name: str) -> bool:
        [pulse] = await self.store.pulse([name])
        return pulse is not None and pulse.stored == pulse.head

    async def all_stored(self, names: list[str], *, within_s: float) -> None:
        """Wait for the real servers."""
        async with asyncio.timeout(within_s):
            for name in names:
                while not await self.stored(name):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)

    async def all_settled(self, *, within_s: float) -> None:
        """Wait for the running writers: they settle an entry by a call after it is stored."""
        async with asyncio.timeout(within_s):
            while (await self.store.due(64)).outboxes:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


@pytest.fixture
async def store(redis_url: str) -> AsyncGenerator[RedisStore]:
    client = connect(redis_url)
    store = RedisStore(client)
    await store.prepare()
    yield store
    await client.aclose()


@pytest.fixture
async def scene(store: RedisStore, database_url: str) -> AsyncGenerator[Scene]:
    async with archive_on(database_url) as archive:
        yield Scene(store, archive)


async def test_a_lost_redis_is_rebuilt_from_what_was_stored(scene: Scene, redis_url: str) -> None:
    name = await scene.interview()
    for number in range(3):
        await scene.talk(name, number)
    await scene.drain()
    assert await scene.stored(name)
    before = await scene.state(name)
    flush_redis(redis_url)
    await scene.revive(name)
    after = await scene.state(name)
    assert (after.session, after.turns) == (before.session, before.turns)
    assert (after.version, after.head, after.stored) == (before.version, before.head, before.head)
    known = await scene.store.load(name, command="answer-2")
    assert isinstance(known, State)
    assert known.answer is not None
    assert known.answer.accepted
    # And it goes on from there.
    await scene.talk(name, 3)
    await scene.drain()
    assert await scene.stored(name)
    assert [turn.text for turn in await scene.archive.transcript(name)][-2:] == [
        "Q3: 🎤?",
        "A3: größer",
    ]


async def test_a_worker_alone_stores_what_another_left_in_an_outbox(
    scene: Scene, redis_url: str, database_url: str
) -> None:
    name = await scene.interview()
    assert not await scene.stored(name)
    settings = {"REDIS_URL": redis_url, "DATABASE_URL": database_url, "VIVA_JWT_SECRET": "s" * 32}
    async with Instance(read_settings(settings)).working():
        await scene.all_stored([name], within_s=10)


async def test_a_full_redis_keeps_nothing_from_postgres(scene: Scene, redis_url: str) -> None:
    over, other = await scene.interview(), await scene.interview()
    await scene.talk(over, 0)
    await scene.apply(over, InterviewEnd(id="end"))
    await scene.talk(other, 0)
    writer = scene.another_writer(OrderBook(RedisJobs(scene.store)))
    client: Any = connect(redis_url)  # redis-py's commands are not typed strictly
    async with client:
        await client.config_set("maxmemory", 1)
        try:
            for partition in (await scene.store.due(64)).outboxes:
                await writer.drain(partition)
            # What is stored can be parked, which frees memory.
            assert await scene.store.park(over, (await scene.state(over)).version, 0, 0) == "ok"
        finally:
            await client.config_set("maxmemory", 0)
    assert await scene.stored(other)
    assert (await scene.store.due(64)).outboxes == ()
    kept = await scene.archive.get(over)
    assert kept is not None
    assert kept.status == "completed"


_PROMOTED = (
    """UPDATE interviews SET (session, version, head_seq, head_check, status, phase) =
       (SELECT session, version, head_seq, head_check, status, phase FROM standby_interviews)""",
    "DELETE FROM turns WHERE turn NOT IN (SELECT turn FROM standby_turns)",
    "DELETE FROM commands WHERE command_id NOT IN (SELECT command_id FROM standby_commands)",
)
_EMPTIED = ("DELETE FROM interviews", "DELETE FROM turns", "DELETE FROM commands")


@pytest.mark.parametrize("left", ["a turn less", "the creation", "nothing"])
async def test_what_a_promoted_standby_lacks_is_written_again(
    scene: Scene, database_url: str, left: str
) -> None:
    name = await scene.interview()
    if left == "a turn less":
        await scene.talk(name, 0)
        await scene.drain()
    with psycopg.connect(database_url, autocommit=True) as connection:
        for table in ("interviews", "turns", "commands"):
            connection.execute(f"CREATE TABLE standby_{table} AS TABLE {table}")
        await scene.talk(name, 1)
        await scene.drain()
        assert await scene.stored(name)
        for statement in _PROMOTED if left != "nothing" else _EMPTIED:
            connection.execute(statement)
    await scene.talk(name, 2)
    await scene.drain()
    assert await scene.stored(name)
    assert scene.meter.ends["failed"] == scene.meter.ends["dead"] == 0
    live = await scene.state(name)
    assert await scene.archive.transcript(name) == live.turns
    restored = await scene.archive.rebuild(name)
    assert isinstance(restored, Restore)
    assert {name for name, _ in restored.commands} >= {"start", "answer-1", "answer-2"}


async def test_the_same_delivery_again_writes_nothing_twice(
    scene: Scene, database_url: str
) -> None:
    name = await scene.interview()
    await scene.talk(name, 0)
    row = msgspec.json.encode(ledger_row((await scene.state(name)).session, "l"))
    for _ in range(2):
        await scene.store.enqueue_ledger(name, row)
    unstored = await scene.store.unstored(name)
    assert isinstance(unstored, Unstored)
    # By an instance that died before it could say so:
    assert await scene.archive.write(unstored) is None
    await asyncio.gather(*(scene.another_writer().drain(partition_of(name)) for _ in range(3)))
    assert await scene.stored(name)
    counts = "SELECT (SELECT count(*) FROM turns), (SELECT count(*) FROM ledger)"
    assert rows_of(database_url, counts) == [(2, 1)]


async def test_many_writers_at_once_store_everything_once(scene: Scene, database_url: str) -> None:
    names = [await scene.interview() for _ in range(12)]
    writers = [scene.another_writer() for _ in range(3)]
    tasks = [asyncio.create_task(writer.run()) for writer in writers]
    for number in range(4):
        for place, name in enumerate(names):
            await scene.talk(name, number)
            writers[(place + number) % 3].notice(partition_of(name))
            writers[(place + number + 1) % 3].notice(partition_of(name))
    await scene.all_stored(names, within_s=10)
    await scene.all_settled(within_s=10)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert scene.meter.ends["failed"] == scene.meter.ends["dead"] == 0
    assert rows_of(database_url, "SELECT count(*) FROM turns") == [(12 * 8,)]


async def test_an_erasure_that_got_no_further_than_postgres_is_finished(scene: Scene) -> None:
    name = await scene.interview()
    await scene.talk(name, 0)
    await scene.archive.erase(name)
    await scene.drain()
    assert not isinstance(await scene.store.load(name), State)
    with pytest.raises(ErasedError):
        await scene.archive.rebuild(name)
    assert (await scene.store.due(64)).outboxes == ()


async def test_transcripts_wait_out_a_postgres_that_is_killed(
    store: RedisStore, tmp_path: Path
) -> None:
    server = PostgresServer(tmp_path / "postgres", password="x", durable=False)
    await server.start()
    try:
        async with archive_on(server.url) as archive:
            scene = Scene(store, archive)
            names = [await scene.interview() for _ in range(6)]
            run: asyncio.Task[Any] = asyncio.create_task(scene.writer.run())
            await server.kill()
            for number in range(3):
                for name in names:
                    await scene.talk(name, number)
                    scene.writer.notice(partition_of(name))
            await server.start()
            back = scene.clock.monotonic()
            await scene.all_stored(names, within_s=20)
            assert scene.clock.monotonic() - back < 15
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)
            assert rows_of(server.url, "SELECT count(*) FROM turns") == [(6 * 6,)]
            assert scene.meter.ends["dead"] == scene.meter.ends["failed"] == 0
    finally:
        await server.stop()
