"""Interviews that share wordings, on two real instances: what is asked of the model, and told."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg
import pytest

from loadtest.candidate import Candidate
from loadtest.fakeopenai import Options
from loadtest.processes import migrate
from loadtest.rig import Config, Report, Rig
from loadtest.sources import speaking

pytestmark = pytest.mark.anyio

MODEL = Options(tokens=15, tokens_per_second=200.0, first_token_s=0.05)
PLAN: dict[str, Any] = {"type": "coding", "role": "Quokka keeper", "duration_minutes": 15}


async def test_interviews_share_the_wordings_of_their_questions(
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
            settings={**spoken, "VIVA_QUESTION_CACHE": "1", "VIVA_MODEL_CALLS": "3"},
        )
        rig = Rig(config, Report(seed=1))
        async with rig.running(), asyncio.timeout(180):
            first = rig.newcomer({**PLAN, "mode": "assessment", "language": "de"})
            await first.run()
            others = [
                rig.newcomer({**PLAN, "mode": "assessment", "language": "de"}) for _ in range(3)
            ]
            personal = rig.newcomer({**PLAN, "resume": "I kept quokkas for years."})
            await asyncio.gather(*(each.run() for each in (*others, personal)))
            await rig.judge()
            asked = [await _questions(candidate) for candidate in others]
            alone = await _questions(personal)
            rows = await _ledger(database_url)
    assert rig.report.faults == []
    for questions in asked:
        assert Counter(source for source, _ in questions)["cache"] == len(questions) == 4
    spoken_texts = [[text.rsplit("geht", 1)[-1] for _, text in questions] for questions in asked]
    assert len({questions[1][-60:] for questions in ([t for _, t in q] for q in asked)}) == 1
    assert any("Quokka keeper" in text for text in spoken_texts[0]), "the slot was filled in"
    assert {source for source, _ in alone} == {"model"}
    cached = [row for row in rows if row[0] == "cache"]
    assert len(cached) >= 12
    assert {(cost, tokens, task) for _, cost, tokens, task in cached} == {(0, 0, "speak")}
    words = [row for row in rows if row[3] == "word"]
    assert 1 <= len(words) <= 3
    assert all(cost > 0 for _, cost, _, _ in words)


async def _questions(candidate: Candidate) -> list[tuple[str, str]]:
    turns = await candidate.transcript()
    return [(turn["source"], turn["text"]) for turn in turns if turn["kind"] == "question"]


async def _ledger(database_url: str) -> list[tuple[str, int, int, str]]:
    """Every row, once the outbox is empty."""
    rows: list[Any] = []
    while True:
        async with await psycopg.AsyncConnection.connect(database_url) as connection:
            cursor = await connection.execute(
                "SELECT api, cost_micro_usd, input_tokens + output_tokens, task FROM ledger"
            )
            before, rows = rows, await cursor.fetchall()
        if len(rows) == len(before):
            return rows
        await asyncio.sleep(1.0)
