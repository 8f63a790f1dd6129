"""Erasing, and the ledger, on a real PostgreSQL."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from storage.errors import BadDataError, ErasedError
from storage.postgres.archive import Archive
from storage.postgres.assessments import Assessments, Decision
from storage.postgres.batches import Batches
from storage.postgres.places import place_of
from storage.postgres.queries import query
from storage.postgres.records import Created
from tests.support.interviews import (
    NOW,
    archive_on,
    interview_id,
    ledger_row,
    rows_of,
    session,
    state,
    turn,
    unstored,
)
from tests.support.reports import rich

pytestmark = pytest.mark.anyio

TABLES = """
SELECT relname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
WHERE attname = 'interview_id' AND relkind IN ('r', 'p') AND NOT relispartition
"""
KEPT = {"tombstones", "erasures"}


def tables(url: str) -> set[str]:
    """All that can hold anything of an interview."""
    return {table for (table,) in rows_of(url, TABLES)}


def holding(url: str, name: str) -> set[str]:
    """Those of them that hold something of this one."""
    held = "SELECT 1 FROM {} WHERE interview_id = '{}'"
    return {table for table in tables(url) if rows_of(url, held.format(table, name))}


def conclusions(archive: Archive, name: str) -> tuple[Coroutine[Any, Any, None], ...]:
    """All that is concluded from an interview, or will be: four writes."""
    assessments, report = Assessments(archive.database), rich().report
    decision = Decision(
        decision_id=interview_id(), reviewer="rita", decision="hold", reason="Short.", at=NOW
    )
    texts = ("request_id", "task", "api", "model", "canary", "prompt_sha256", "instructions")
    call = {
        **dict.fromkeys(texts, "a"),
        "request_id": interview_id(),
        "question_id": "core-1",
        "sample": 1,
        "turn": 2,
        "sampled": False,
        "input": "I cut the scope in two.",
    }
    return (
        assessments.put_rating(name, report.ratings[0], NOW),
        assessments.put_report(replace(report, interview_id=name)),
        assessments.put_decision(name, decision),
        Batches(archive.database).park(name, [call]),
    )


async def behind_an_erasure(
    url: str, name: str, *late: Coroutine[Any, Any, object]
) -> list[object]:
    """What these come to that begin while an erasure is under way, and wait for it."""
    async with await psycopg.AsyncConnection[Any].connect(url) as eraser:
        for step in ("lock", "erase"):
            await eraser.execute(query(step), place_of(name))
        writes = asyncio.gather(*late, return_exceptions=True)
        waiting = b"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        async with asyncio.timeout(5):
            while await (await eraser.execute(waiting)).fetchone() != (len(late),):  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # the other side is a real process
        await eraser.commit()
        return await writes


@pytest.fixture
async def archive(database_url: str) -> AsyncGenerator[Archive]:
    async with archive_on(database_url) as archive:
        yield archive


async def test_nothing_but_the_tombstone_is_left(archive: Archive, database_url: str) -> None:
    new = session()
    await archive.create_interview(new, idempotency_key="k", digest="d")
    live = unstored(state(new, 3, 5, turn(1)), ("c", "d a1-1"))
    await archive.write(live)
    await archive.write_ledger([ledger_row(new, "l1")])
    await asyncio.gather(*conclusions(archive, new.interview_id))
    assert holding(database_url, new.interview_id) == tables(database_url) - KEPT
    for _ in "twice":
        await archive.erase(new.interview_id, by="ann")
    assert await archive.get(new.interview_id) is None
    assert await archive.transcript(new.interview_id) == ()
    for call in (archive.rebuild(new.interview_id), archive.write(live)):
        with pytest.raises(ErasedError):
            await call
    await archive.write_ledger([ledger_row(new, "l2")])
    await asyncio.gather(*conclusions(archive, new.interview_id))
    assert holding(database_url, new.interview_id) == KEPT
    # The key is free again: what it named is gone.
    assert await archive.create_interview(session(), idempotency_key="k", digest="x") == Created()


async def test_who_erased_is_known_for_a_while(archive: Archive, database_url: str) -> None:
    new = session()
    await archive.create_interview(new)
    assert await archive.erased_by(new.interview_id) is None
    for user in ("ann", "bob"):
        await archive.erase(new.interview_id, by=user)
    assert await archive.erased_by(new.interview_id) == "ann"
    await archive.ensure_partitions()
    assert await archive.erased_by(new.interview_id) == "ann"
    rows_of(database_url, "UPDATE erasures SET at = now() - interval '2 hours' RETURNING 1")
    assert await archive.erased_by(new.interview_id) is None
    await archive.ensure_partitions()
    assert rows_of(database_url, "SELECT * FROM erasures") == []


async def test_an_erasure_wins_over_whatever_is_under_way(
    shared_archive: Archive, module_database_url: str
) -> None:
    outcomes: set[str] = set()
    for round_ in range(30):
        new = session()
        await shared_archive.create_interview(new, idempotency_key=f"race{round_}", digest="d")
        results = await asyncio.gather(
            shared_archive.write(unstored(state(new, 1, 2, turn(1)), ("c", "d a1-1"))),
            shared_archive.write_ledger([ledger_row(new, f"l{round_}")]),
            shared_archive.erase(new.interview_id),
            shared_archive.write(unstored(state(new, 2, 4, turn(1)))),
            return_exceptions=True,
        )
        outcomes |= {type(result).__name__ for result in results}
        for table in ("interviews", "turns", "commands", "ledger"):
            left = rows_of(
                module_database_url,
                f"SELECT count(*) FROM {table} WHERE interview_id = '{new.interview_id}'",  # noqa: S608
            )
            assert left == [(0,)], table
    assert outcomes <= {"EventId", "NoneType", "ErasedError"}


async def test_a_write_that_waited_for_an_erasure_is_refused(
    shared_archive: Archive, module_database_url: str
) -> None:
    """The order that a snapshot taken before the lock would get wrong."""
    new = session()
    refused, dropped = await behind_an_erasure(
        module_database_url,
        new.interview_id,
        shared_archive.write(unstored(state(new, 1, 2))),
        shared_archive.write_ledger([ledger_row(new, "late")]),
    )
    assert isinstance(refused, ErasedError)
    assert dropped is None
    assert holding(module_database_url, new.interview_id) == {"tombstones"}


async def test_what_is_concluded_during_an_erasure_comes_to_nothing(
    shared_archive: Archive, module_database_url: str
) -> None:
    """It would be left for good: the erasure does not see it, nor is there anything to erase."""
    new = session()
    await shared_archive.create_interview(new)
    late = conclusions(shared_archive, new.interview_id)
    done = await behind_an_erasure(module_database_url, new.interview_id, *late)
    assert done == [None] * len(late)
    assert holding(module_database_url, new.interview_id) == {"tombstones"}


async def test_a_ledger_row_is_kept_once_by_its_id(archive: Archive, database_url: str) -> None:
    new, other = session(), session()
    await archive.write_ledger([])
    await archive.write_ledger([ledger_row(new, "a"), ledger_row(new, "a"), ledger_row(other, "a")])
    await archive.write_ledger([ledger_row(new, "a", exact=False, first_token_ms=9)])
    columns = "id, exact, first_token_ms, cost_micro_usd, unix_ms(at)"
    rows = rows_of(database_url, f"SELECT {columns} FROM ledger ORDER BY exact")  # noqa: S608
    assert rows == [("a", False, 9, 120, NOW + 7), ("a", True, None, 120, NOW + 7)]


async def test_instances_that_write_the_same_rows_do_not_block_each_other(
    shared_archive: Archive,
) -> None:
    rows = [ledger_row(new, f"r{n}") for new in (session(), session()) for n in range(40)]
    await asyncio.gather(
        *(shared_archive.write_ledger(rows if step % 2 else rows[::-1]) for step in range(8))
    )


async def test_one_bad_ledger_row_refuses_its_batch(archive: Archive, database_url: str) -> None:
    new = session()
    bad = replace(ledger_row(new, "b"), model="a\x00b")
    with pytest.raises(BadDataError):
        await archive.write_ledger([ledger_row(new, "a"), bad])
    assert rows_of(database_url, "SELECT count(*) FROM ledger") == [(0,)]
