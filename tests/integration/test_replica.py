"""A replica that really follows the primary: how far it is behind, and when it is read."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from math import inf

import pytest

from server.embedded import PostgresServer
from storage.postgres.archive import Archive
from storage.postgres.migrate import migrate
from storage.postgres.pool import LOOK_S, Kind
from tests.support.interviews import (
    bring,
    interview_id,
    opened,
    rows_of,
    session,
    state,
    turn,
)
from tests.support.standby import standby_of

pytestmark = pytest.mark.anyio


class Pair:
    """An archive on two servers, the second of which follows the first."""

    def __init__(self, primary: PostgresServer, standby: PostgresServer) -> None:
        self.primary = primary
        self.standby = standby
        self._asked: list[Kind] = []
        self.archive = Archive(
            primary.url,
            replica_url=standby.url,
            timed=lambda kind, _: self._asked.append(kind),
        )

    async def look(self) -> float:
        return await self.archive.database.look()

    async def caught_up(self) -> None:
        """Wait until the replica is read; at most for 20 s."""
        async with asyncio.timeout(20):
            while await self.look() != 0:  # noqa: ASYNC110  # a real server
                await asyncio.sleep(0.01)

    def replay(self, verb: str) -> None:
        """Let the replica ``pause`` or ``resume`` what comes from the primary."""
        rows_of(self.standby.url, f"SELECT pg_wal_replay_{verb}()")

    async def listed(self) -> int:
        return (await self.archive.list(None, limit=0)).total

    async def asked(self) -> list[Kind]:
        """Return how eight lists that are wanted at once are read."""
        self._asked.clear()
        await asyncio.gather(*(self.listed() for _ in range(8)))
        return self._asked


@pytest.fixture(scope="module")
async def servers(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncGenerator[tuple[PostgresServer, PostgresServer]]:
    place = tmp_path_factory.mktemp("pair")
    async with contextlib.AsyncExitStack() as at_last:
        primary = PostgresServer(place / "primary", password="x", durable=False)
        at_last.push_async_callback(primary.stop)
        await primary.start()
        await migrate(primary.url)
        standby = await standby_of(primary, place / "standby", password="x")
        at_last.push_async_callback(standby.stop)
        yield primary, standby


@pytest.fixture
async def pair(servers: tuple[PostgresServer, PostgresServer]) -> AsyncGenerator[Pair]:
    pair = Pair(*servers)
    pair.replay("resume")
    await pair.archive.open()
    try:
        yield pair
    finally:
        await pair.archive.close()


async def test_a_replica_that_stands_still_is_left_alone(pair: Pair) -> None:
    await pair.archive.create_interview(session())
    await pair.caught_up()
    before = await pair.listed()
    pair.replay("pause")
    await pair.archive.create_interview(session())
    assert await pair.look() == 0  # it has what was written before the last look
    assert await pair.listed() == before
    assert LOOK_S <= await pair.look() < inf
    assert await pair.listed() == before + 1
    pair.replay("resume")
    await pair.caught_up()
    pair.replay("pause")
    await pair.archive.create_interview(session())
    assert await pair.listed() == before + 1


async def test_a_transcript_that_the_replica_does_not_know_yet_is_the_primarys(pair: Pair) -> None:
    await pair.caught_up()
    pair.replay("pause")
    new = session()
    assert await bring(pair.archive, state(new, 1, 2, turn(1)))
    assert await pair.archive.transcript(new.interview_id) == (turn(1),)
    assert await pair.archive.transcript(interview_id()) == ()


async def test_nobody_but_the_look_waits_for_a_replica_that_is_down(pair: Pair) -> None:
    assert await pair.asked() == ["read"] * 8  # nobody knows yet
    await pair.caught_up()
    assert await pair.asked() == ["lagging"] * 8
    await pair.standby.kill()
    try:
        await pair.asked()
        for _ in range(2):
            assert await pair.asked() == ["read"] * 8
            assert await pair.look() == inf
        await pair.standby.start()
        await pair.caught_up()
        assert await pair.asked() == ["lagging"] * 8
        await pair.standby.kill()
        assert await pair.look() == inf
        assert await pair.asked() == ["read"] * 8
    finally:
        await pair.standby.start()


async def test_while_the_primary_is_away_a_replica_that_has_all_of_it_is_read(pair: Pair) -> None:
    await pair.caught_up()
    await pair.primary.kill()
    try:
        for _ in range(2):
            assert await pair.look() == 0
        assert await pair.asked() == ["lagging"] * 8
    finally:
        await pair.primary.start()


async def test_a_server_is_not_behind_itself(database_url: str) -> None:
    async with opened(database_url, replica_url=database_url) as archive:
        assert await archive.database.look() == inf  # it takes two looks
        assert await archive.database.look() == 0


async def test_where_there_is_no_replica_nothing_is_behind(database_url: str) -> None:
    async with opened(database_url) as archive:
        assert await archive.database.look() == 0
