"""Every side of the bench really relays: its clients hear the provider's words, to the letter."""

import asyncio
from pathlib import Path

import pytest

from loadtest.bench import sides
from loadtest.bench.crew import Crew, crew
from loadtest.bench.listeners import Order, Told
from loadtest.bench.sides import Ground, Side, Speech
from loadtest.processes import migrate

pytestmark = pytest.mark.anyio

STREAMS = 3
SHORT = Speech(tokens=30, per_second=60.0, script="words")
PATIENCE_S = 30.0
INSTALLED = [name for name in sides.NAMES if not sides.missing(name)]
"""Pipecat is an extra of its own, for those who measure."""


async def _heard(clients: Crew, side: Side) -> Told:
    """Wait until every client has heard a whole turn."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            said = await _said(side)
            told = await clients.order(Order(do="texts"))
            if all(set(texts) & said for texts in told.texts):
                return told
            await asyncio.sleep(0.1)


async def _said(side: Side) -> set[str]:
    calls = (await sides.bill(side))["calls"]
    return {call["text"] for call in calls if call["outcome"] == "completed"}


@pytest.mark.parametrize("name", INSTALLED)
async def test_what_the_provider_says_arrives_to_the_letter(
    name: str, redis_url: str, database_url: str, tmp_path: Path
) -> None:
    urls = {"REDIS_URL": redis_url, "DATABASE_URL": database_url}
    await migrate(urls)
    ground = Ground(directory=tmp_path, urls=urls)
    async with sides.running(name, SHORT, ground) as side, crew(side.place) as clients:
        assert (await clients.open(STREAMS)).connected == STREAMS
        await clients.speak(STREAMS)
        told = await _heard(clients, side)
    assert len(told.texts) == STREAMS
    firsts = [texts[0] for texts in told.texts]
    assert len(set(firsts)) == STREAMS  # each got a completion of its own
    assert clients.wrong == {}


async def test_tokens_are_counted_and_their_way_is_timed(tmp_path: Path) -> None:
    ground = Ground(directory=tmp_path, urls={})
    async with sides.running("floor", Speech(), ground) as side, crew(side.place) as clients:
        await clients.open(STREAMS)
        await clients.speak(STREAMS)
        await clients.read()
        await asyncio.sleep(2)
        told = await clients.read()
        delivered = sum(call["tokens"] for call in (await sides.bill(side))["calls"])
    assert 0 < told.tokens <= delivered
    median_us, p99_us = told.delays_us
    assert 0 < median_us <= p99_us


async def test_a_resumed_client_is_there_again(
    redis_url: str, database_url: str, tmp_path: Path
) -> None:
    urls = {"REDIS_URL": redis_url, "DATABASE_URL": database_url}
    await migrate(urls)
    ground = Ground(directory=tmp_path, urls=urls)
    async with sides.running("viva", SHORT, ground) as side, crew(side.place) as clients:
        await clients.open(STREAMS)
        assert (await clients.order(Order(do="resume"))).connected == STREAMS
    assert clients.wrong == {}
