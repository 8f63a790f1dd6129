"""A whole interview on a tiny budget: it is completed, by the question bank, within its cap."""

import asyncio
from collections import Counter
from pathlib import Path

import psycopg
import pytest

from loadtest.fakeopenai import Options
from loadtest.processes import migrate
from loadtest.rig import Config, Report, Rig
from loadtest.sources import speaking
from protocol import events as e

pytestmark = pytest.mark.anyio

CAP_USD = "0.0051"
CAP = 5_100
MODEL = Options(tokens=40, tokens_per_second=400.0, first_token_s=0.01)


async def test_an_interview_goes_on_without_the_model(
    redis_url: str, database_url: str, tmp_path: Path
) -> None:
    await migrate({"DATABASE_URL": database_url})
    async with speaking("chat", MODEL) as (spoken, fake):
        assert fake is not None
        config = Config(
            redis_url=redis_url,
            database_url=database_url,
            directory=tmp_path,
            instances=1,
            settings={
                **spoken,
                "VIVA_BUDGET_INTERVIEW_USD": CAP_USD,
                "VIVA_BUDGET_SOFT": "0.3",
                "VIVA_ASSESSOR_MODEL": "gpt-5.4-mini",
                "VIVA_BANK_PACE": "0",
            },
        )
        rig = Rig(config, Report(seed=1))
        async with rig.running(), asyncio.timeout(180):
            candidate = rig.newcomer({"type": "mixed", "role": "Engineer", "duration_minutes": 15})
            heard: list[e.ServerMessage] = []
            candidate.heard = heard.append
            await candidate.run()
            await rig.judge()
            words = Counter(
                turn["source"] for turn in await candidate.transcript() if turn.get("source")
            )
            calls = len(fake.bill.calls)
            cost, rows = await _ledger(database_url, calls)
    notices = [message.code for message in heard if isinstance(message, e.Notice)]
    assert rig.report.faults == []
    assert min(words["model"], words["bank"]) > 1, words
    assert notices.count("budget_low") == 1
    assert notices.count("fallback_in_use") == 1
    assert notices.index("budget_low") < notices.index("fallback_in_use")
    assert rows == calls
    assert 0 < cost <= CAP


async def _ledger(database_url: str, calls: int) -> tuple[int, int]:
    """The interview's cost and calls, as stored; the last rows may take a moment."""
    query = (
        "SELECT coalesce(sum(cost_micro_usd), 0)::bigint, count(*) FROM ledger WHERE api <> 'bank'"
    )
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        for _ in range(50):
            row = await (await connection.execute(query)).fetchone()
            assert row is not None
            if row[1] >= calls:
                return row
            await asyncio.sleep(0.1)
    raise AssertionError("rows are missing")
