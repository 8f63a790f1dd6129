"""The gate on real instances: no call too many, turns that wait say so, the dead give way."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from loadtest.fakeopenai import FakeOpenAI, Options
from loadtest.processes import migrate
from loadtest.rig import Config, Report, Rig
from loadtest.sources import speaking
from protocol import events as e

pytestmark = pytest.mark.anyio

MODEL = Options(tokens=24, tokens_per_second=20.0, first_token_s=0.3)
PLAN = {"type": "mixed", "role": "Engineer", "duration_minutes": 15}
CALLS = 1


async def _watch(fake: FakeOpenAI, seen: list[int]) -> None:
    while True:
        seen.append(fake.bill.running)
        await asyncio.sleep(0.02)


async def test_no_more_calls_than_allowed_and_who_waits_is_told(
    redis_url: str, database_url: str, tmp_path: Path
) -> None:
    await migrate({"DATABASE_URL": database_url})
    async with speaking("chat", MODEL) as (spoken, fake):
        assert fake is not None
        config = Config(
            redis_url=redis_url,
            database_url=database_url,
            directory=tmp_path,
            instances=2,
            settings={**spoken, "VIVA_MODEL_CALLS": str(CALLS), "VIVA_WORKER_JOBS": "0"},
        )
        rig = Rig(config, Report(seed=1))
        heard: list[e.ServerMessage] = []
        seen: list[int] = []
        async with rig.running(), asyncio.timeout(240):
            watching = asyncio.create_task(_watch(fake, seen))
            candidates = [rig.newcomer(PLAN) for _ in range(3)]
            for candidate in candidates:
                candidate.heard = heard.append
            running = [asyncio.create_task(candidate.run()) for candidate in candidates]
            await _until(lambda: len(fake.bill.calls) >= 9 and _told(heard))
            for task in (*running, watching):
                task.cancel()
            await asyncio.gather(*running, watching, return_exceptions=True)
    print(f"at most {max(seen)} of {CALLS} calls, {len(fake.bill.calls)} in all")  # noqa: T201
    assert max(seen) == CALLS
    assert not [notice for notice in heard if isinstance(notice, e.Notice)], "nobody gave up"


def _told(heard: list[e.ServerMessage]) -> bool:
    return any(isinstance(message, e.Thinking) for message in heard)


async def test_a_dead_instances_call_lapses(
    redis_url: str, database_url: str, tmp_path: Path
) -> None:
    await migrate({"DATABASE_URL": database_url})
    slow = replace(MODEL, tokens=300, tokens_per_second=10.0)
    async with speaking("chat", slow) as (spoken, fake):
        assert fake is not None
        config = Config(
            redis_url=redis_url,
            database_url=database_url,
            directory=tmp_path,
            instances=2,
            settings={**spoken, "VIVA_MODEL_CALLS": "1", "VIVA_WORKER_JOBS": "0"},
        )
        rig = Rig(config, Report(seed=1))
        async with rig.running(), asyncio.timeout(60):
            candidate = rig.newcomer(PLAN)
            running = asyncio.create_task(candidate.run())
            await _until(lambda: fake.bill.running == 1)
            await asyncio.sleep(5.0)  # longer than it would take to lapse
            calls = len(fake.bill.calls)
            rig.served[rig.runner[candidate.interview_id]].kill()
            killed = asyncio.get_running_loop().time()
            await _until(lambda: len(fake.bill.calls) > calls)
            waited = asyncio.get_running_loop().time() - killed
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    print(f"called again {waited:.1f} s after the kill")  # noqa: T201 - the figure
    assert calls == 1
    assert waited < 8.0


async def _until(happened: Callable[[], bool]) -> None:
    while not happened():  # noqa: ASYNC110  # nothing tells of it
        await asyncio.sleep(0.02)
