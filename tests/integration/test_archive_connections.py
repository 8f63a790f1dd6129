"""What the archive does about its connections."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from server.embedded import PostgresServer
from server.embedded.process import processes_in
from storage.errors import BackendDownError
from storage.postgres import pool as pools
from storage.postgres.archive import Archive
from storage.postgres.migrate import migrate
from storage.postgres.pool import (
    CALL_TIMEOUT_S,
    GET_TIMEOUT_S,
    TRUSTED_S,
    Connection,
    Database,
)
from storage.postgres.records import Created
from tests.support.interviews import (
    archive_on,
    bring,
    opened,
    rows_of,
    session,
    state,
    turn,
    unstored,
)

pytestmark = pytest.mark.anyio
KILL = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
OTHERS = KILL.replace("pg_terminate_backend(pid)", "pid")


async def test_behind_a_bouncer_the_archive_works_as_ever(database_url: str) -> None:
    await migrate(database_url)
    async with opened(database_url, size=1, bouncer=True) as archive:
        live = state(session(), 1, 2, turn(1))
        await archive.write(unstored(live, ("c", "d a1-1")))
        restored = await archive.rebuild(live.session.interview_id)
        assert restored is not None
        assert restored.session == live.session


async def test_behind_a_bouncer_nothing_is_prepared_and_settings_hold(database_url: str) -> None:
    database = Database(database_url, size=1, bouncer=True)

    async def look(connection: Connection) -> Any:
        statement = (
            b"SELECT count(*), current_setting('plan_cache_mode') FROM pg_prepared_statements"
        )
        return await (await connection.execute(statement)).fetchone()

    await database.open()
    try:
        for _ in range(8):
            assert await database.read(look) == (0, "force_custom_plan")
    finally:
        await database.close()


async def test_a_database_without_its_schema_is_an_outage_not_bad_data(database_url: str) -> None:
    async with opened(database_url) as archive:
        await archive.ping()
        with pytest.raises(BackendDownError):
            await archive.write(unstored(state(session(), 1, 2)))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[PostgresServer]:
    """A server of this test's own, to be restarted and killed."""
    server = PostgresServer(tmp_path / "postgres", password="x", durable=False)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def test_no_call_fails_after_a_restart(server: PostgresServer) -> None:
    async with archive_on(server.url) as archive:
        await asyncio.gather(*(archive.ping() for _ in range(8)))  # four open connections
        await server.restart()
        await asyncio.gather(*(archive.ping() for _ in range(16)))


async def test_a_connection_that_just_answered_is_not_asked_again_unless_it_was_closed(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    ask = AsyncConnectionPool.check_connection

    async def count(connection: Connection) -> None:
        nonlocal asked
        asked += 1
        await ask(connection)

    monkeypatch.setattr(AsyncConnectionPool, "check_connection", count)
    async with opened(database_url, size=1) as archive:
        for _ in range(5):
            await archive.ping()
        assert asked == 1
        rows_of(database_url, KILL)
        async with asyncio.timeout(10):
            while rows_of(database_url, OTHERS):  # noqa: ASYNC110  # a signal takes its time
                await asyncio.sleep(0.01)
        await archive.ping()
        assert asked == 3  # the one that was closed, and the new one
        await asyncio.sleep(TRUSTED_S)
        await archive.ping()
        assert asked == 4


async def test_an_instance_starts_without_postgres_and_gets_ready(server: PostgresServer) -> None:
    url = server.url
    await server.stop()
    async with opened(url) as archive:
        with pytest.raises(BackendDownError):
            await archive.ping()
        await server.start()
        await migrate(url)
        await _wait_up(archive)
        assert await archive.create_interview(session()) == Created()


async def test_writes_that_a_crash_cut_short_are_whole_or_absent(server: PostgresServer) -> None:
    async with archive_on(server.url) as archive:
        new = session()
        writes = [
            asyncio.create_task(bring(archive, state(new, n, n, turn(1)), (f"c{n}", "d")))
            for n in range(1, 40)
        ]
        await asyncio.wait(writes, return_when=asyncio.FIRST_COMPLETED)
        await server.kill()
        results = await asyncio.gather(*writes, return_exceptions=True)
        assert {type(result) for result in results} <= {bool, BackendDownError}
        await server.start()
        await _wait_up(archive)
        restored = await archive.rebuild(new.interview_id)
        assert restored is not None
        acknowledged = [n for n, result in enumerate(results, start=1) if result is True]
        assert restored.version >= max(acknowledged)
        assert {f"c{n}" for n in acknowledged} <= {name for name, _ in restored.commands}
        for n in range(1, 40):
            await bring(archive, state(new, n, n, turn(1)), (f"c{n}", "d"))
        restored = await archive.rebuild(new.interview_id)
        assert restored is not None
        assert (restored.version, restored.turns) == (39, (turn(1),))


async def test_a_server_that_hangs_holds_nobody_up_for_long(server: PostgresServer) -> None:
    async with archive_on(server.url) as archive:
        await archive.ping()
        processes = processes_in(server.data, "postgres")
        for pid in processes:
            os.kill(pid, signal.SIGSTOP)
        try:
            # The first may trust a connection that just answered; nobody after it does.
            for limit_s in (CALL_TIMEOUT_S + GET_TIMEOUT_S, 6):
                before = asyncio.get_running_loop().time()
                with pytest.raises(BackendDownError):
                    await archive.get(session().interview_id)
                assert asyncio.get_running_loop().time() - before < limit_s
        finally:
            for pid in processes:
                os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("beyond_s", [0.0, 0.03, 0.2])
@pytest.mark.parametrize("turns", range(1, 4))
async def test_a_process_that_stood_still_amid_a_check_blames_nobody(
    database_url: str, monkeypatch: pytest.MonkeyPatch, turns: int, beyond_s: float
) -> None:
    monkeypatch.setattr(pools, "TRUSTED_S", 0.0)  # each connection is asked first
    monkeypatch.setattr(pools, "UNREAD_S", 10.0)  # a busy machine may stand still again
    database = Database(database_url, size=1)

    async def ask(connection: Connection) -> int:
        await connection.execute(b"SELECT 1")
        return connection.info.backend_pid

    await database.open()
    try:
        before = await database.read(ask)
        asked = asyncio.create_task(database.read(ask))
        for _ in range(turns):  # the question has not left, is on its way, or was answered
            await asyncio.sleep(0)
        time.sleep(pools.CHECK_TIMEOUT_S + beyond_s)  # noqa: ASYNC251  # just that
        assert await asked == before
    finally:
        await database.close()


async def test_a_connection_that_was_cut_as_it_answered_is_not_lent(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "TRUSTED_S", 0.0)
    check = AsyncConnectionPool.check_connection
    cut: list[Connection] = []

    async def answered(connection: Connection) -> None:
        await check(connection)
        if not cut:
            cut.append(connection)
            await asyncio.sleep(
                pools.CHECK_TIMEOUT_S + pools.UNREAD_S + 0.1
            )  # its limit comes right behind

    monkeypatch.setattr(AsyncConnectionPool, "check_connection", staticmethod(answered))
    database = Database(database_url, size=1)
    await database.open()
    try:
        assert await database.read(_one) == 1
        assert cut
    finally:
        await database.close()


async def _one(connection: Connection) -> int:
    row = await (await connection.execute(b"SELECT 1")).fetchone()
    assert row is not None
    return int(row[0])


async def _wait_up(archive: Archive) -> None:
    """Wait for a real process, at most 10 s."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await archive.ping()
            except BackendDownError:
                await asyncio.sleep(0.05)


def test_an_address_that_cannot_be_read_is_named_without_its_password() -> None:
    with pytest.raises(ValueError, match="has to be like postgresql:") as caught:
        Archive("postgresql://viva:hunter2@[/x")
    assert "hunter2" not in str(caught.value)


async def test_a_loop_that_is_cancelled_just_as_it_gets_its_connection_ends(
    database_url: str,
) -> None:
    database, holding, leave = Database(database_url, size=1), asyncio.Event(), asyncio.Event()

    async def hold(_: Connection) -> None:
        holding.set()
        await leave.wait()

    async def ask(connection: Connection) -> None:
        await connection.execute(b"SELECT 1")

    async def ask_for_ever() -> None:
        while True:
            await database.read(ask)

    await database.open()
    try:
        holder = asyncio.create_task(database.read(hold))
        await holding.wait()
        loop = asyncio.create_task(ask_for_ever())
        await asyncio.sleep(0.05)
        leave.set()
        await holder  # its connection goes to the loop, which does not know yet
        loop.cancel()
        await asyncio.wait((loop,), timeout=5)
        assert loop.cancelled()
    finally:
        await database.close()
