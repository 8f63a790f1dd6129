"""What a relayed token costs the server, beside a plain relay in the same run: a ratio, no time.

The peer is FastAPI with the openai client's ``stream=True``: it keeps nothing. viva has everything
on: log, lease, group commit, resumable clients, metrics. Only the servers' own CPU is counted, in
rounds that take turns, and the median of their ratios counts.
"""

import asyncio
import contextlib
import statistics
import subprocess
import sys
from collections.abc import AsyncGenerator, Coroutine, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from loadtest.candidate import Candidate
from loadtest.fakeopenai import FakeOpenAI, Options
from loadtest.processes import environment, free_port, migrate
from loadtest.rig import Config, Report, Rig
from tests.support.databases import flush_redis

pytestmark = pytest.mark.anyio

STREAMS = 50
MEASURED_S = 8.0
ENDLESS = Options(tokens=4_000, tokens_per_second=30.0, first_token_s=0.05)
ROUNDS = 3


class Side(NamedTuple):
    """A server under test, and the provider that only it is asked."""

    pid: int
    fake: FakeOpenAI

    def reading(self) -> tuple[float, int]:
        times = psutil.Process(self.pid).cpu_times()
        tokens = sum(call.tokens for call in self.fake.bill.calls)
        return float(times.user + times.system), tokens


async def _cost(side: Side) -> float:
    """Microseconds of CPU for each token relayed."""
    cpu, tokens = side.reading()
    await asyncio.sleep(MEASURED_S)
    cpu_now, tokens_now = side.reading()
    relayed = tokens_now - tokens
    assert relayed > 0.7 * STREAMS * ENDLESS.tokens_per_second * MEASURED_S
    return 1e6 * (cpu_now - cpu) / relayed


@contextlib.asynccontextmanager
async def _viva(
    redis_url: str, database_url: str, directory: Path, seed: int
) -> AsyncGenerator[Side]:
    async with FakeOpenAI(ENDLESS).running() as fake:
        settings = {
            "OPENAI_API_KEY": "k",
            "OPENAI_BASE_URL": fake.url,
            "VIVA_QUESTION_CACHE": "0",
        }
        config = Config(
            redis_url=redis_url,
            database_url=database_url,
            directory=directory,
            seed=seed,
            instances=1,
            settings=settings,
        )
        rig = Rig(config, Report(seed=seed))
        async with rig.running(), _tasks(_listener(rig).run() for _ in range(STREAMS)):
            await _streaming(fake)
            yield Side(rig.served[0].pid, fake)


def _listener(rig: Rig) -> Candidate:
    """A candidate who only listens, as the peer's do."""
    candidate = rig.newcomer()
    candidate.interrupts = 0.0
    return candidate


@contextlib.asynccontextmanager
async def _tasks(work: Iterable[Coroutine[Any, Any, None]]) -> AsyncGenerator[None]:
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def _peer(fake: FakeOpenAI) -> AsyncGenerator[tuple[int, int]]:
    port = free_port()
    settings = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": fake.url, "PORT": str(port)}
    process = subprocess.Popen(  # noqa: ASYNC220 - it forks and returns at once
        [sys.executable, "-m", "loadtest.bench.servers.fastapi_relay"],
        env={**environment(settings), "PYTHONPATH": str(Path.cwd())},
    )
    try:
        yield process.pid, port
    finally:
        process.kill()
        process.wait()


async def _listen(port: int) -> None:
    async with asyncio.timeout(20):
        while not await _answers(port):  # noqa: ASYNC110 - a process starts
            await asyncio.sleep(0.1)
    async with connect(f"ws://127.0.0.1:{port}/relay", proxy=None) as socket:
        await socket.send("Ask me.")
        with contextlib.suppress(ConnectionClosed):
            while True:
                await socket.recv()


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@contextlib.asynccontextmanager
async def _plain() -> AsyncGenerator[Side]:
    async with (
        FakeOpenAI(ENDLESS).running() as fake,
        _peer(fake) as (pid, port),
        _tasks(_listen(port) for _ in range(STREAMS)),
    ):
        await _streaming(fake)
        yield Side(pid, fake)


async def _streaming(fake: FakeOpenAI) -> None:
    """Wait until every stream runs, and a little longer."""
    async with asyncio.timeout(60):
        while sum(call.tokens > 0 for call in fake.bill.calls) < STREAMS:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await asyncio.sleep(2.0)


@pytest.mark.torture
async def test_a_token_costs_half_of_a_plain_relays(
    redis_url: str, database_url: str, tmp_path: Path
) -> None:
    await migrate({"DATABASE_URL": database_url})
    ratios: list[float] = []
    for number in range(1, ROUNDS + 1):
        directory = tmp_path / str(number)
        directory.mkdir()
        async with _viva(redis_url, database_url, directory, number) as side:
            ours = await _cost(side)
        flush_redis(redis_url)  # what was broken off is not to be taken over in the next round
        async with _plain() as side:
            peer = await _cost(side)
        ratios.append(ours / peer)
        print(  # noqa: T201
            f"{STREAMS} streams: viva {ours:.0f} µs of CPU a token, FastAPI {peer:.0f} µs,"
            f" ratio {ratios[-1]:.2f}"
        )
    assert statistics.median(ratios) <= 0.5
