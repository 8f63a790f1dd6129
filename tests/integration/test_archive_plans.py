"""Which way PostgreSQL takes: indexes instead of whole tables, one partition instead of all."""

import asyncio
from collections.abc import Generator
from datetime import datetime
from typing import Any, cast

import psycopg
import pytest
from msgspec import to_builtins

from protocol.scalars import Status
from storage.postgres import writing
from storage.postgres.archive import Archive
from storage.postgres.migrate import migrate
from storage.postgres.places import place_of
from storage.postgres.pool import SETTINGS, Connection, address
from storage.postgres.queries import query
from storage.postgres.times import moment
from tests.support.interviews import (
    NOW,
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
FILTERS: dict[str, Any] = {
    "user_id": None,
    "status": None,
    "type": None,
    "since": None,
    "limit": 20,
    "offset": 0,
}

# A year of 40,000 interviews of 2,000 users, and a few turns of each.
FILL = """
INSERT INTO interviews (user_id, created_at, interview_id, plan, status, phase, session, version,
  head_seq, head_check, started_at)
SELECT 'user' || n %% 2000, moment(%(now)s) + n * interval '13 minutes', gen_random_uuid(),
  jsonb_build_object('role', 'Dev', 'type', CASE n %% 50 WHEN 0 THEN 'coding' ELSE 'mixed' END),
  CASE n %% 100 WHEN 0 THEN 'live' ELSE 'completed' END, 'core', '{}', 1, 1, 1,
  moment(%(now)s) + n * interval '13 minutes'
FROM generate_series(1, 40000) AS n;
"""
TURNS = """
INSERT INTO turns (user_id, created_at, interview_id, turn, attempt, speaker, kind, text, sha256,
  unheard, outcome, started_at, ended_at)
SELECT user_id, created_at, interview_id, n, 1, 'candidate', 'answer', 'a',
  encode(sha256('a'), 'hex'), '', 'final', created_at, created_at
FROM interviews, generate_series(1, 2) AS n
"""

SCANS = """
SELECT relname, seq_scan FROM pg_stat_xact_user_tables
WHERE coalesce(seq_scan, 0) + coalesce(idx_scan, 0) > 0
"""


@pytest.fixture(scope="module")
def filled(module_database_url: str) -> str:
    asyncio.run(migrate(module_database_url))
    with psycopg.connect(module_database_url, autocommit=True) as connection:
        connection.execute("SELECT ensure_partitions(%s, 14)", [moment(NOW)])
        connection.execute(FILL.encode(), {"now": NOW})
        connection.execute(TURNS.encode())
        connection.execute("VACUUM ANALYZE")
    return module_database_url


def _plan(url: str, name: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the nodes of the plan that the statement runs by, with what they really read."""
    with (
        psycopg.connect(address(url, SETTINGS), autocommit=True) as connection,
        connection.transaction(force_rollback=True),  # an erasure is done, to be explained
    ):
        explain = b"EXPLAIN (ANALYZE, FORMAT JSON) " + query(name)
        row = connection.execute(explain, values).fetchone()
        assert row is not None
        return list(_nodes(row[0][0]["Plan"]))


def _nodes(plan: dict[str, Any]) -> Generator[dict[str, Any]]:
    yield plan
    for child in cast("list[dict[str, Any]]", plan.get("Plans", [])):
        yield from _nodes(child)


def _relations(nodes: list[dict[str, Any]]) -> set[str]:
    """What is scanned; an erasure's own nodes name the whole tables."""
    scans = (node for node in nodes if node["Node Type"] != "ModifyTable")
    return {node["Relation Name"] for node in scans if "Relation Name" in node}


def _read(nodes: list[dict[str, Any]]) -> float:
    """How many rows were looked at in interviews and turns."""
    return sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for node in nodes
        if str(node.get("Relation Name", "")).startswith(("interviews", "turns"))
    )


def _list_parts(nodes: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], ...]:
    """The nodes of a list that count, that choose what is on the page, and that fetch it."""
    [count] = [node for node in nodes if node["Node Type"] == "Aggregate"]
    [limit] = [node for node in nodes if node["Node Type"] == "Limit"]
    counting, choosing = list(_nodes(count)), list(_nodes(limit))
    return counting, choosing, [node for node in nodes if node not in counting + choosing]


def _month(at: datetime) -> str:
    return f"{at:%Y_%m}"


@pytest.mark.parametrize(
    "name", ["find_interview", "transcript", "rebuild", "assess", "find_report", "erase"]
)
def test_an_id_leads_to_its_rows_in_one_partition(filled: str, name: str) -> None:
    some = "SELECT created_at, interview_id FROM interviews ORDER BY random() LIMIT 1"
    [(created_at, interview_id)] = rows_of(filled, some)
    nodes = _plan(filled, name, {"created_at": created_at, "interview_id": interview_id})
    touched = _relations(nodes)
    partitions = {relation for relation in touched if relation[-7:-3].isdigit()}
    assert {relation[-7:] for relation in partitions} == {_month(created_at)}
    assert touched - partitions <= {"tombstones", "idempotency_keys", "rating_requests"}
    assert 1 <= _read(nodes) <= 4  # the interview, once or twice, and its two turns
    assert nodes[0]["Shared Hit Blocks"] + nodes[0]["Shared Read Blocks"] < 60


async def test_a_write_finds_its_rows_by_their_keys_in_one_partition(filled: str) -> None:
    connection = await Connection.connect(address(filled, SETTINGS), autocommit=True)
    async with connection, connection.transaction(force_rollback=True):
        for n in range(8):  # a plan that is kept, too
            new = session(interview_id(NOW + n * DAY))
            live = unstored(state(new, 1, 2, turn(1), turn(2), turn(3)), ("c", "d a1-1"))
            assert await writing.put(connection, live, place_of(new.interview_id)) is None
            rows = [{**to_builtins(ledger_row(new, "l")), "created_at": moment(NOW + n * DAY)}]
            await connection.execute(query("write_ledger"), {"rows": writing.encoded(rows)})
        scanned = await (await connection.execute(SCANS)).fetchall()
    assert {(name, whole) for name, whole in scanned if name != "tombstones"} == {
        (f"{table}_{_month(moment(NOW))}", 0)
        for table in ("interviews", "turns", "commands", "ledger")
    }


def test_a_user_s_earlier_interviews_are_counted_by_the_key(filled: str) -> None:
    some = "SELECT created_at, interview_id FROM interviews ORDER BY random() LIMIT 1"
    [(created_at, interview_id)] = rows_of(filled, some)
    nodes = _plan(filled, "earlier", {"created_at": created_at, "interview_id": interview_id})
    assert _read(nodes) <= 1 + 20  # the interview, and all of its user


def test_the_newest_of_one_user_are_found_by_the_key(filled: str) -> None:
    nodes = _plan(filled, "list_interviews", {**FILTERS, "user_id": "user7"})
    for part in _list_parts(nodes):
        assert _read(part) <= 20  # out of 40,000


def test_the_newest_of_all_stop_when_the_page_is_full(filled: str) -> None:
    _, choosing, fetching = _list_parts(_plan(filled, "list_interviews", FILTERS))
    assert _read(choosing) <= 20
    assert _read(fetching) <= 20


@pytest.mark.parametrize("filters", [{}, {"status": "completed"}, {"type": "mixed"}])
def test_a_late_page_passes_over_the_others_in_an_index(
    filled: str, filters: dict[str, str]
) -> None:
    nodes = _plan(filled, "list_interviews", {**FILTERS, **filters, "offset": 30_000})
    _, choosing, fetching = _list_parts(nodes)
    ways = {node["Node Type"] for node in choosing if "Relation Name" in node}
    assert ways == {"Index Only Scan"}
    assert _read(fetching) == 20


@pytest.mark.parametrize(
    ("filters", "index", "matches"),
    [({"status": "live"}, "status", 400), ({"type": "coding"}, "type", 800)],
)
def test_a_filter_uses_its_index(
    filled: str, filters: dict[str, str], index: str, matches: int
) -> None:
    nodes = _plan(filled, "list_interviews", {**FILTERS, **filters})
    assert any(f"{index}_created_at" in str(node.get("Index Name")) for node in nodes)
    counting, choosing, fetching = _list_parts(nodes)
    assert _read(counting) <= matches
    assert _read(choosing) <= 20 * 100  # at worst by time, leaving out the others
    assert _read(fetching) <= 20


def test_since_leaves_older_partitions_alone(filled: str) -> None:
    since = moment(NOW + 330 * DAY)
    nodes = _plan(filled, "list_interviews", {**FILTERS, "since": since})
    ran = [node for node in nodes if node.get("Actual Loops") and "Relation Name" in node]
    assert {node["Relation Name"][-7:] for node in ran} >= {_month(since)}
    assert all(node["Relation Name"][-7:] >= _month(since) for node in ran)


def test_reports_are_missed_in_the_months_of_what_may_have_ended(filled: str) -> None:
    since, oldest = moment(NOW + 330 * DAY), moment(NOW + 270 * DAY)
    nodes = _plan(filled, "unreported", {"since": since, "oldest": oldest, "limit": 100})
    months = {name[-7:] for name in _relations(nodes) if name.startswith("interviews")}
    assert min(months) == _month(oldest)


async def test_lists_are_quick(filled: str) -> None:
    archive = Archive(filled, size=2)
    await archive.open()
    try:
        status: Status = "live"
        assert (await archive.list("user7", status="completed")).total == 20
        assert (await archive.list(None, status=status, limit=0)).total == 400
    finally:
        await archive.close()
