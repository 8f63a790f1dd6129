"""What a relayed token costs the server, beside a plain relay in the same run: a ratio, no time.

The peer is FastAPI with the openai client's ``stream=True``: it keeps nothing. viva has everything
on: log, lease, group commit, resumable clients, metrics. Only the servers' own CPU is counted.
"""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import psutil
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from loadtest.fakeopenai import FakeOpenAI, Options
from loadtest.processes import environment, free_port, migrate
from loadtest.rig import Config, Report, Rig

pytestmark = pytest.mark.anyio

STREAMS = 50
MEASURED_S = 10.0
ENDLESS = Options(tokens=3_000, tokens_per_second=30.0, first_token_s=0.05)
ROUNDS = 2


def _cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


async def _cost(pid: int, fake: FakeOpenAI) -> float:
    """Microseconds of CPU for each token that the provider sent meanwhile."""
    cpu, tokens = _cpu(pid), sum(call.tokens for call in fake.bill.calls)
    await asyncio.sleep(MEASURED_S)
    spent = _cpu(pid) - cpu
    relayed = sum(call.tokens for call in fake.bill.calls) - tokens
    assert relayed > 0.7 * STREAMS * ENDLESS.tokens_per_second * MEASURED_S
    return 1e6 * spent / relayed


async def _viva(redis_url: str, database_url: str, directory: Path) -> float:
    async with FakeOpenAI(ENDLESS).running() as fake:
        settings = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": fake.url}
        config = Config(
            redis_url=redis_url,
            database_url=database_url,
            directory=directory,
            instances=1,
            settings=settings,
        )
        rig = Rig(config, Report(seed=1))
        async with rig.running():
            tasks = [asyncio.create_task(rig.newcomer().run()) for _ in range(STREAMS)]
            await _streaming(fake)
            for candidate in rig.candidates:
                candidate.leaves_after = 0  # from now on it only listens, as the peer's do
            cost = await _cost(rig.served[0].pid, fake)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    return cost


@contextlib.asynccontextmanager
async def _peer(fake: FakeOpenAI) -> AsyncGenerator[tuple[int, int]]:
    port = free_port()
    settings = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": fake.url, "PORT": str(port)}
    process = subprocess.Popen(  # noqa: ASYNC220 - it forks and returns at once
        [sys.executable, "-m", "tests.support.fastapi_relay"],
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


async def _plain() -> float:
    async with FakeOpenAI(ENDLESS).running() as fake, _peer(fake) as (pid, port):
        tasks = [asyncio.create_task(_listen(port)) for _ in range(STREAMS)]
        await _streaming(fake)
        cost = await _cost(pid, fake)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return cost


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
    for number in range(ROUNDS):
        directory = tmp_path / str(number)
        directory.mkdir()
        ours = await _viva(redis_url, database_url, directory)
        peer = await _plain()
        ratios.append(ours / peer)
        print(  # noqa: T201
            f"{STREAMS} streams: viva {ours:.0f} µs of CPU a token, FastAPI {peer:.0f} µs,"
            f" ratio {ratios[-1]:.2f}"
        )
    assert min(ratios) <= 0.5
