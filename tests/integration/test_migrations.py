"""Migrations and partitions on a real PostgreSQL."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from storage.errors import BackendDownError
from storage.postgres.migrate import MigrationError, migrate, migrations
from storage.postgres.pool import SETTINGS, address
from tests.support.interviews import archive_on, rows_of

pytestmark = pytest.mark.anyio
NAMES = [migration.name for migration in migrations()]


def _partitions(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits"
            " JOIN pg_class ON oid = inhrelid WHERE relkind = 'r'"
        )
        return {name for (name,) in rows}


def _month(months: int) -> str:
    now = datetime.now(UTC)
    year, month = divmod(now.year * 12 + now.month - 1 + months, 12)
    return f"{year}_{month + 1:02d}"


async def test_an_empty_database_is_brought_up_to_date_once(database_url: str) -> None:
    assert await migrate(database_url) == NAMES
    assert await migrate(database_url) == []
    tables = ("interviews", "turns", "commands", "ledger", "ratings", "reports", "decisions")
    assert _partitions(database_url) == {
        f"{table}_{_month(month)}" for table in tables for month in range(-1, 4)
    }


async def test_many_instances_migrate_at_once(database_url: str) -> None:
    applied = await asyncio.gather(*(migrate(database_url) for _ in range(8)))
    assert sorted(name for names in applied for name in names) == NAMES


async def test_an_edited_migration_is_refused(database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "0001_first.sql"
    file.write_text("CREATE TABLE first (number integer)")
    assert await migrate(database_url, source=tmp_path) == ["0001_first.sql"]
    file.write_text("CREATE TABLE first (number bigint)")
    with pytest.raises(MigrationError, match=r"0001_first\.sql was changed after it was applied"):
        await migrate(database_url, source=tmp_path)


async def test_a_migration_that_fails_leaves_nothing(database_url: str, tmp_path: Path) -> None:
    tmp_path.joinpath("0001_first.sql").write_text("CREATE TABLE first (); SELECT 1 / 0")
    with pytest.raises(MigrationError, match=r"0001_first\.sql failed and changed nothing"):
        await migrate(database_url, source=tmp_path)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT to_regclass('first')").fetchone() == (None,)
        # Not even the record of migrations: it was made in the same transaction.
        assert connection.execute("SELECT to_regclass('schema_migrations')").fetchone() == (None,)


async def test_an_older_version_leaves_a_newer_schema_alone(
    database_url: str, tmp_path: Path
) -> None:
    tmp_path.joinpath("0001_first.sql").write_text("CREATE TABLE first ()")
    tmp_path.joinpath("0002_second.sql").write_text("CREATE TABLE second ()")
    assert len(await migrate(database_url, source=tmp_path)) == 2
    tmp_path.joinpath("0002_second.sql").unlink()
    assert await migrate(database_url, source=tmp_path) == []


@pytest.mark.parametrize("names", [["0002_x.sql"], ["0001_x.sql", "0001_y.sql"], ["first.sql"]])
def test_files_are_numbered_without_a_hole(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        tmp_path.joinpath(name).write_text("SELECT 1")
    with pytest.raises(MigrationError, match="should be number 000"):
        migrations(tmp_path)


async def test_waiting_for_another_instance_ends_with_a_sentence(database_url: str) -> None:
    with psycopg.connect(database_url) as other:
        other.execute("SELECT pg_advisory_xact_lock(hashtextextended('viva migrations', 0))")
        with pytest.raises(MigrationError, match=r"another instance has been migrating .* 0\.1 s"):
            await migrate(database_url, wait_s=0.1)
    assert await migrate(database_url) == NAMES


_WAITS = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted"


async def _altering(database_url: str, folder: Path) -> None:
    """Make a table, and a further migration that alters it."""
    folder.joinpath("0001_first.sql").write_text("CREATE TABLE first ()")
    await migrate(database_url, source=folder)
    folder.joinpath("0002_second.sql").write_text("ALTER TABLE first ADD COLUMN number integer")


async def test_a_migration_that_waits_for_a_long_read_stops_nobody(
    database_url: str, tmp_path: Path
) -> None:
    await _altering(database_url, tmp_path)
    with psycopg.connect(database_url) as backup:
        backup.execute("SELECT FROM first")  # holds its lock to the end
        migrating = asyncio.create_task(migrate(database_url, source=tmp_path))
        for _ in range(2):  # it lets go, and tries again
            async with asyncio.timeout(30):
                while rows_of(database_url, _WAITS) == [(0,)]:  # noqa: ASYNC110  # a server's lock
                    await asyncio.sleep(0.01)
            with psycopg.connect(address(database_url, SETTINGS)) as instance:
                await asyncio.to_thread(instance.execute, "SELECT FROM first")
        assert not migrating.done()
    assert await migrating == ["0002_second.sql"]


async def test_a_migration_whose_tables_stay_in_use_ends_with_a_sentence(
    database_url: str, tmp_path: Path
) -> None:
    await _altering(database_url, tmp_path)
    with psycopg.connect(database_url) as backup:
        backup.execute("SELECT FROM first")
        with pytest.raises(MigrationError, match=r"0002_second\.sql .* in use, .* changed nothing"):
            await migrate(database_url, wait_s=0.1, source=tmp_path)
    assert await migrate(database_url, source=tmp_path) == ["0002_second.sql"]


async def test_a_server_that_is_not_there_is_an_outage() -> None:
    with pytest.raises(BackendDownError):
        await migrate("postgresql://viva:secret@127.0.0.1:1/viva")


async def test_partitions_are_made_once_by_whoever_comes_first(database_url: str) -> None:
    async with archive_on(database_url) as archive:
        assert await archive.ensure_partitions() == 0
        made = await asyncio.gather(*(archive.ensure_partitions(6) for _ in range(4)))
    assert sum(made) == 7 * 3
    assert f"turns_{_month(6)}" in _partitions(database_url)


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/New_York"])
async def test_months_are_utc_whatever_the_session_says(database_url: str, zone: str) -> None:
    await migrate(database_url)
    with psycopg.connect(database_url, options=f"-c timezone={zone}", autocommit=True) as session:
        session.execute("SELECT ensure_partitions('2031-03-15Z', 2)")
        session.execute("SET timezone = 'UTC'")
        bounds = session.execute(
            "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'turns_2031_04'"
        ).fetchone()
    expected = "FOR VALUES FROM ('2031-04-01 00:00:00+00') TO ('2031-05-01 00:00:00+00')"
    assert bounds == (expected,)


async def test_others_read_and_write_while_a_partition_is_made(database_url: str) -> None:
    await migrate(database_url)
    with psycopg.connect(database_url) as reader, psycopg.connect(database_url) as maker:
        reader.execute("SELECT count(*) FROM interviews")  # holds its lock to the end
        maker.execute("SET lock_timeout = '1s'")
        maker.execute("SELECT ensure_partitions('2031-03-15Z', 1)")
        reader.execute("SET lock_timeout = '1s'")
        reader.execute("SELECT count(*) FROM turns")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"password": "hunter2"}, "does not let this user in"),
        ({"user": "nobody"}, "does not let this user in"),
        ({"dbname": "nowhere"}, "has no database of this name"),
        ({"port": "1"}, "does not answer"),
    ],
)
async def test_why_there_is_no_connection_is_told_apart(
    database_url: str, changed: dict[str, str], told: str
) -> None:
    with pytest.raises(BackendDownError, match=told) as refused:
        await migrate(make_conninfo(database_url, **changed))
    assert not any(value in str(refused.value) for value in changed.values())
