"""The writer over the twin, in virtual time, with an archive that fails as it is told."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any, Literal

import msgspec
import pytest
from msgspec.structs import replace

from protocol.ids import ORIGIN, EventId
from protocol.ledger import LedgerEntry
from protocol.session import Session
from server.writer import BATCH, IDLE_MS, RETRY_CAP_S, ROUNDS, Writer
from storage.errors import BackendDownError, BadDataError, ErasedError
from storage.given import changing_text
from storage.live import (
    MAX_TRIES,
    Commit,
    Committed,
    Missing,
    OutboxEntry,
    Restore,
    State,
    Unstored,
    partition_of,
)
from storage.twin import Twin, TwinServer
from tests.support.interviews import interview_id, ledger_row, session
from tests.support.parts import NoOrders
from tests.support.virtual_time import run_virtual

EVENT = '{"type":"interview.paused","at":1}'


class Clock:
    def now(self) -> int:
        return int(asyncio.get_running_loop().time() * 1000)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def random(self) -> float:
        return 1.0

    def nonce(self) -> str:
        return "nonce"


class FakeArchive:
    """Keeps the newest state by interview. ``faults`` are raised instead, by id or ledger row."""

    def __init__(self) -> None:
        self.faults: dict[str, Exception] = {}
        self.versions: dict[str, int] = {}
        self.sessions: dict[str, Session] = {}
        self.heads: dict[str, EventId] = {}
        self.rows: Counter[str] = Counter()
        self.writes = 0
        self.at_once = self.most_at_once = 0

    async def write(self, unstored: Unstored) -> EventId | None:
        name = unstored.state.session.interview_id
        self.writes += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0.01)
        finally:
            self.at_once -= 1
        self._fail(name)
        held, state = self.heads.get(name, ORIGIN), unstored.state
        if held not in (state.stored, state.head):
            return held
        version, session_ = self.versions.get(name, 0), self.sessions.get(name)
        if held == state.head and (
            state.version < version or (state.version == version and state.session != session_)
        ):
            return held
        self.versions[name], self.heads[name] = state.version, state.head
        self.sessions[name] = state.session
        return None

    async def write_ledger(self, rows: Sequence[LedgerEntry]) -> None:
        for row in rows:
            self._fail(row.id)
        self.rows.update(row.id for row in rows)

    def _fail(self, name: str) -> None:
        fault = self.faults.get(name) or self.faults.get("*")
        if fault is not None:
            raise fault


def neighbour_of(name: str) -> str:
    """Return the id of another interview of the same partition."""
    while partition_of(other := interview_id()) != partition_of(name):
        pass
    return other


class Scene:
    """One Redis, one archive, and a writer on each of some instances."""

    def __init__(self, instances: int = 1) -> None:
        clock = Clock()
        self.server = TwinServer(clock.now)
        self.archive = FakeArchive()
        self.ends: Counter[str] = Counter()
        self._changes = itertools.count(1)
        self.store = Twin(self.server)
        self.twins = [Twin(self.server) for _ in range(instances)]
        self.writers = [
            Writer(
                self.twins[number],
                self.archive,
                NoOrders(),
                consumer=f"instance-{number}",
                clock=clock,
                meter=self,
            )
            for number in range(instances)
        ]
        self.writer = self.writers[0]

    def outbox_ended(self, end: str, entries: int = 1) -> None:
        self.ends[end] += entries

    async def interview(self, name: str | None = None) -> str:
        """Create an interview and queue it."""
        new = session(name or interview_id())
        await self.store.create(Restore(session=new, version=0, head=ORIGIN, tick=0))
        await self.change(new.interview_id, 0)
        return new.interview_id

    async def change(self, name: str, version: int, event: str = EVENT) -> None:
        """Change the interview by a command, and queue it."""
        before = await self.store.load(name)
        assert isinstance(before, State)
        commit = Commit(
            id=name,
            version=version,
            head=str(before.head),
            kind="ingest",
            command=f"c{version}",
            digest="d",
            session=changing_text(replace(before.session, absences=next(self._changes))),
            store=True,
            events=(event,) if event else (),
        )
        assert isinstance(await self.store.commit(commit), Committed)

    def waiting(self) -> int:
        return sum(len(partition.outbox) for partition in self.server.partitions)

    def dead(self) -> list[tuple[str, str]]:
        return [
            (entry.interview_id, code)
            for partition in self.server.partitions
            for entry, code in partition.dead
        ]

    async def stored(self, name: str) -> bool:
        """Whether clients were told that everything is stored, and every command is."""
        [pulse] = await self.store.pulse([name])
        unstored = await self.store.unstored(name)
        assert pulse is not None
        assert isinstance(unstored, Unstored)
        return pulse.stored == pulse.head and not unstored.commands

    async def sweep(self, seconds: float) -> None:
        """Notice busy outboxes as the sweeper does, for so long."""
        for _ in range(int(seconds / 0.2)):
            for partition in (await self.store.due(64)).outboxes:
                for writer in self.writers:
                    writer.notice(partition)
            await asyncio.sleep(0.2)

    async def run(self, story: Coroutine[Any, Any, None]) -> None:
        """Run all writers while the story lasts."""
        tasks = [asyncio.create_task(writer.run()) for writer in self.writers]
        try:
            await story
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended)


def test_one_write_serves_all_deliveries_of_an_interview() -> None:
    async def main() -> None:
        scene = Scene()
        name = await scene.interview()
        await scene.change(name, 1)
        await scene.change(name, 2)
        await scene.writer.drain(partition_of(name))
        assert (scene.archive.writes, scene.archive.versions) == (1, {name: 3})
        assert scene.server.calls["take"] == 1
        assert scene.waiting() == 0
        assert await scene.stored(name)
        assert scene.ends == {"written": 3}

    run_virtual(main())


def test_a_notice_after_a_commit_is_enough() -> None:
    async def main() -> None:
        scene = Scene()

        async def story() -> None:
            name = await scene.interview()
            scene.writer.notice(partition_of(name))
            await asyncio.sleep(0.02)
            assert await scene.stored(name)

        await scene.run(story())

    run_virtual(main())


def test_a_notice_during_a_drain_is_not_lost() -> None:
    async def main() -> None:
        scene = Scene()

        async def story() -> None:
            name = await scene.interview()
            scene.writer.notice(partition_of(name))
            await asyncio.sleep(0.005)
            assert scene.archive.at_once == 1
            await scene.change(name, 1)
            scene.writer.notice(partition_of(name))
            await asyncio.sleep(0.05)
            assert await scene.stored(name)

        await scene.run(story())

    run_virtual(main())


def test_at_most_four_partitions_are_drained_at_once() -> None:
    async def main() -> None:
        scene = Scene()

        async def story() -> None:
            names = [await scene.interview() for _ in range(40)]
            for name in names:
                scene.writer.notice(partition_of(name))
                scene.writer.notice(partition_of(name))
            await asyncio.sleep(1)
            assert scene.waiting() == 0
            assert scene.archive.most_at_once == 4

        await scene.run(story())

    run_virtual(main())


def test_more_than_a_batch_is_drained_in_one_go() -> None:
    async def main() -> None:
        scene = Scene()
        name = await scene.interview()
        for version in range(1, 2 * BATCH + 2):
            await scene.change(name, version)
        await scene.writer.drain(partition_of(name))
        assert scene.waiting() == 0

    run_virtual(main())


@pytest.mark.parametrize("backend", ["archive", "live store"])
def test_an_outage_of_minutes_loses_nothing_and_ends_quickly(backend: str) -> None:
    async def main() -> None:
        scene = Scene(instances=3)

        async def story() -> None:
            names = [await scene.interview() for _ in range(20)]
            for name in names:
                scene.writer.notice(partition_of(name))
            scene.archive.faults["*"] = BackendDownError()
            scene.server.down = backend == "live store"
            if backend == "archive":
                await scene.sweep(60)
                for name in names:
                    await scene.change(name, 1)
            else:
                await asyncio.sleep(60)
            tried = scene.archive.writes
            assert tried < 3 * 4 * 60 / RETRY_CAP_S + 3 * 4 * 10  # it backs off
            scene.server.down = False
            scene.archive.faults.clear()
            await scene.sweep(IDLE_MS / 1000 + 3 * RETRY_CAP_S)
            assert scene.waiting() == 0
            assert scene.dead() == []
            for name in names:
                assert await scene.stored(name)

        await scene.run(story())

    run_virtual(main())


def test_what_was_in_hand_is_written_first_after_an_outage() -> None:
    async def main() -> None:
        scene = Scene()
        name = await scene.interview()
        scene.archive.faults["*"] = BackendDownError()
        with pytest.raises(BackendDownError):
            await scene.writer.drain(partition_of(name))
        scene.archive.faults.clear()
        await scene.writer.drain(partition_of(name))  # at once: Redis would wait for `IDLE_MS`
        assert await scene.stored(name)

    run_virtual(main())


def test_one_interview_that_keeps_failing_does_not_stop_its_neighbours() -> None:
    async def main() -> None:
        scene = Scene()
        names = [await scene.interview() for _ in range(3)]
        partition = partition_of(names[0])
        names += [await scene.interview(neighbour_of(names[0])) for _ in range(3)]
        mates = [name for name in names if partition_of(name) == partition]
        scene.archive.faults[mates[0]] = BackendDownError()
        for _ in mates:
            with pytest.raises(BackendDownError):
                await scene.writer.drain(partition)
        assert [await scene.stored(name) for name in mates] == [False, *[True] * (len(mates) - 1)]

    run_virtual(main())


@pytest.mark.parametrize("instances", [1, 3])
def test_one_that_keeps_failing_does_not_stop_what_comes_after_it(instances: int) -> None:
    async def main() -> None:
        scene = Scene(instances)

        async def story() -> None:
            bad = await scene.interview()
            scene.archive.faults[bad] = BackendDownError()
            for version in range(1, BATCH + 20):
                await scene.change(bad, version)
            await scene.sweep(2 * IDLE_MS / 1000)  # each instance has it in hand by now
            later = await scene.interview(neighbour_of(bad))
            row = msgspec.json.encode(ledger_row(session(later), "row"))
            await scene.store.enqueue_ledger(later, row)
            await scene.sweep(IDLE_MS / 1000)
            assert await scene.stored(later)
            assert scene.archive.rows == {"row": 1}
            await scene.change(later, 1)
            await scene.sweep(IDLE_MS / 1000)
            assert await scene.stored(later)
            assert not await scene.stored(bad)
            del scene.archive.faults[bad]
            await scene.sweep(2 * IDLE_MS / 1000)
            assert await scene.stored(bad)
            assert scene.waiting() == 0

        await scene.run(story())

    run_virtual(main())


@pytest.mark.parametrize("part", ["request", "reply"])
@pytest.mark.parametrize("operation", ["take", "unstored", "stored", "settle"])
def test_a_lost_call_is_repeated_and_changes_nothing(
    operation: str, part: Literal["request", "reply"]
) -> None:
    async def main() -> None:
        scene = Scene()

        async def story() -> None:
            name = await scene.interview()
            scene.server.lose(operation, part)
            await scene.sweep(IDLE_MS / 1000 + 2)
            assert scene.waiting() == 0
            assert await scene.stored(name)

        await scene.run(story())
        assert scene.server.calls[operation] >= 2
        assert scene.ends == {"written": 1}

    run_virtual(main())


@pytest.mark.parametrize("fault", [BadDataError(), LookupError()], ids=["data", "program"])
def test_bad_data_is_buried_after_five_tries_and_holds_nobody_up(fault: Exception) -> None:
    async def main() -> None:
        scene = Scene()

        async def story() -> None:
            bad, good = await scene.interview(), await scene.interview()
            scene.archive.faults[bad] = fault
            await scene.sweep(1)
            assert await scene.stored(good)
            assert scene.archive.writes == 2
            await scene.sweep(MAX_TRIES * (IDLE_MS / 1000 + 1))
            assert scene.dead() == [(bad, type(fault).__name__)]
            assert scene.waiting() == 0
            assert scene.ends == {"written": 1, "failed": MAX_TRIES - 1, "dead": 1}
            # The next state may be a good one again.
            scene.archive.faults.clear()
            await scene.change(bad, 1)
            await scene.sweep(1)
            assert await scene.stored(bad)

        await scene.run(story())

    run_virtual(main())


def test_an_outbox_that_cannot_be_read_holds_no_other_up() -> None:
    async def main() -> None:
        scene = Scene()
        bad, good = await scene.interview(), await scene.interview()
        while partition_of(good) == partition_of(bad):
            good = await scene.interview()
        (twin,) = scene.twins
        take = twin.take

        async def taken(partition: int, *rest: Any) -> list[OutboxEntry]:
            if partition == partition_of(bad):
                raise LookupError
            return await take(partition, *rest)

        async def story() -> None:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(twin, "take", taken)
                await scene.sweep(1)
                assert await scene.stored(good)
                assert not await scene.stored(bad)
            await scene.sweep(RETRY_CAP_S + 1)
            assert await scene.stored(bad)

        await scene.run(story())

    run_virtual(main())


def test_an_erased_interview_is_erased_here_too() -> None:
    async def main() -> None:
        scene = Scene()
        name = await scene.interview()
        scene.archive.faults[name] = ErasedError()
        await scene.writer.drain(partition_of(name))
        assert scene.waiting() == 0
        assert name not in scene.server.interviews
        assert scene.server.erased(name)
        assert scene.ends == {"gone": 1}

    run_virtual(main())


def test_a_parked_interview_is_settled() -> None:
    async def main() -> None:
        scene = Scene()
        name = await scene.interview()
        del scene.server.interviews[name]
        await scene.writer.drain(partition_of(name))
        assert (scene.waiting(), scene.archive.writes) == (0, 0)
        assert scene.ends == {"gone": 1}

    run_virtual(main())


def test_a_live_store_behind_the_archive_is_told_to_be_stored_once_it_is_beyond_it() -> None:
    async def main() -> None:
        scene = Scene()
        name = await scene.interview()
        held = await scene.store.load(name)
        assert isinstance(held, State)
        scene.archive.versions[name], scene.archive.heads[name] = ROUNDS + 3, held.head
        await scene.writer.drain(partition_of(name))
        assert not await scene.stored(name)
        assert scene.ends == {"failed": 1}
        await asyncio.sleep(IDLE_MS / 1000)
        await scene.writer.drain(partition_of(name))
        assert await scene.stored(name)
        assert scene.archive.versions[name] == ROUNDS + 4  # of the same version might be another
        assert scene.ends == {"failed": 1, "written": 1}

    run_virtual(main())


def test_a_writer_that_was_overtaken_changes_nothing() -> None:
    async def main() -> None:
        scene = Scene(instances=2)
        name = await scene.interview()
        partition = partition_of(name)
        write = scene.archive.write

        async def overtaken(unstored: Unstored) -> EventId | None:
            scene.archive.write = write
            await scene.change(name, 1, "")
            await scene.writers[1].drain(partition)
            return await write(unstored)

        scene.archive.write = overtaken
        await scene.writers[0].drain(partition)
        state = await scene.store.load(name)
        assert isinstance(state, State)
        assert state.version == scene.archive.versions[name] == 2
        assert (await scene.stored(name), scene.ends["failed"]) == (True, 0)

    run_virtual(main())


def test_ledger_rows_go_together_and_a_bad_one_alone_is_buried() -> None:
    async def main() -> None:
        scene = Scene()
        new = session()
        partition = partition_of(new.interview_id)
        for name in ("a", "b", "c"):
            await scene.store.enqueue_ledger(
                new.interview_id, msgspec.json.encode(ledger_row(new, name))
            )
        await scene.store.enqueue_ledger(new.interview_id, b'{"id":"torn"}')
        scene.archive.faults["b"] = BadDataError()
        for _ in range(MAX_TRIES):
            await scene.writer.drain(partition)
            await asyncio.sleep(IDLE_MS / 1000)
        assert scene.archive.rows == {"a": 1, "c": 1}
        assert [code for _, code in scene.dead()] == ["BadDataError", "ValidationError"]
        assert scene.waiting() == 0

    run_virtual(main())


def test_another_instance_takes_over_what_a_dead_one_left() -> None:
    async def main() -> None:
        scene = Scene(instances=2)
        name = await scene.interview()
        first = asyncio.create_task(scene.writers[0].drain(partition_of(name)))
        await asyncio.sleep(0.005)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await scene.writers[1].drain(partition_of(name))
        assert not await scene.stored(name)  # it may be under way yet
        await asyncio.sleep(IDLE_MS / 1000)
        await scene.writers[1].drain(partition_of(name))
        assert await scene.stored(name)

    run_virtual(main())


def test_a_session_that_lost_what_was_stored_is_dropped_and_rebuilt() -> None:
    async def main() -> None:
        scene = Scene()
        name = await scene.interview()
        partition = partition_of(name)
        for version in range(1, 4):
            await scene.change(name, version)
        await scene.writer.drain(partition)
        stored = scene.archive.heads[name]
        held = await scene.store.load(name)
        assert isinstance(held, State)
        scene.server.fail_over(6)  # the last change, and that it was stored
        lost = await scene.store.load(name)
        assert isinstance(lost, State)
        assert lost.head.seq < stored.seq
        await scene.change(name, lost.version, EVENT.replace("1", "2"))
        await scene.change(name, lost.version + 1)  # longer than what is stored, and another course
        await scene.writer.drain(partition)
        assert isinstance(await scene.store.load(name), Missing)
        assert (scene.archive.heads[name], scene.archive.versions[name]) == (stored, held.version)
        assert (scene.dead(), scene.ends["failed"]) == ([], 0)

    run_virtual(main())


@pytest.mark.parametrize(
    ("events", "raised"), [((EVENT,), 2), (("",), 4), (("", ""), 4), (("", EVENT), 3)]
)
def test_a_failover_that_lost_steps_without_events_keeps_nothing_from_the_archive(
    events: Sequence[str], raised: int
) -> None:
    async def main() -> None:
        scene = Scene()
        name = await scene.interview()
        partition = partition_of(name)
        await scene.writer.drain(partition)
        for version in (1, 2):
            await scene.change(name, version, "")
            await scene.writer.drain(partition)
        assert scene.archive.versions[name] == 3
        while (held := await scene.store.load(name)) and isinstance(held, State):
            if held.version == 1:
                break
            scene.server.fail_over(1)
        for step, event in enumerate(events, start=1):
            await scene.change(name, step, event)
        await scene.writer.drain(partition)
        held = await scene.store.load(name)
        assert isinstance(held, State)
        assert held.version == raised  # at the same head, beyond the one that was stored
        assert scene.archive.sessions[name] == held.session
        assert (scene.archive.heads[name], scene.archive.versions[name]) == (held.head, raised)
        assert await scene.stored(name)
        assert (scene.dead(), scene.ends["failed"]) == ([], 0)

    run_virtual(main())


def test_an_archive_that_lost_its_tail_is_brought_up_again() -> None:
    async def main() -> None:
        scene = Scene()
        name = await scene.interview()
        await scene.writer.drain(partition_of(name))
        promoted = scene.archive.versions[name], scene.archive.heads[name]
        await scene.change(name, 1)
        await scene.writer.drain(partition_of(name))
        scene.archive.versions[name], scene.archive.heads[name] = promoted
        await scene.change(name, 2)
        await scene.writer.drain(partition_of(name))
        assert await scene.stored(name)
        held = await scene.store.load(name)
        assert isinstance(held, State)
        assert scene.archive.heads[name] == held.head
        await scene.writer.drain(partition_of(name))  # as a sweep leads to: the repair's own entry
        assert (scene.dead(), scene.ends["failed"], scene.waiting()) == ([], 0, 0)

    run_virtual(main())


def test_a_crash_before_redis_knew_what_was_stored_is_made_good() -> None:
    async def main() -> None:
        scene = Scene()
        name = await scene.interview()
        unstored = await scene.store.unstored(name)
        assert isinstance(unstored, Unstored)
        assert await scene.archive.write(unstored) is None
        await scene.change(name, 1)
        await scene.writer.drain(partition_of(name))
        assert await scene.stored(name)

    run_virtual(main())
