"""Instances killed at chosen moments, by the harness; `viva chaos` repeats a seed."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from loadtest.chaos import Chaos, Config, Report
from loadtest.fakeopenai import Options
from loadtest.processes import migrate
from loadtest.sources import Source, speaking

pytestmark = pytest.mark.anyio

Run = Callable[[Source, int, int], Awaitable[Report]]
SHORT = Options(tokens=25, tokens_per_second=40.0)


@pytest.fixture
def run(redis_url: str, database_url: str, tmp_path: Path) -> Run:
    """Run the harness on this test's servers."""

    async def chaos(source: Source, kills: int, seed: int) -> Report:
        await migrate({"REDIS_URL": redis_url, "DATABASE_URL": database_url})
        async with speaking(source, SHORT if kills < 50 else None) as (settings, _):
            config = Config(
                redis_url=redis_url,
                database_url=database_url,
                directory=tmp_path,
                kills=kills,
                seed=seed,
                settings=settings,
                resumable=source != "chat",
            )
            report = await Chaos(config).run()
        print(report)  # noqa: T201 - the figures of the run
        return report

    return chaos


def _judge(report: Report, kills: int) -> None:
    assert report.faults == []
    assert report.kills.total() == kills
    assert report.recoveries
    assert report.percentile(0.99) <= 4.0


@pytest.mark.parametrize(("source", "kills", "seed"), [("chat", 6, 3), ("responses", 4, 4)])
async def test_ten_kills_cost_nothing(run: Run, source: Source, kills: int, seed: int) -> None:
    _judge(await run(source, kills, seed), kills)


@pytest.mark.torture
@pytest.mark.parametrize(("source", "seed"), [("chat", 11), ("responses", 12), ("bank", 13)])
async def test_two_hundred_kills_cost_nothing(run: Run, source: Source, seed: int) -> None:
    _judge(await run(source, 200, seed), 200)
