"""Every fault of the model, in interviews on a real server: they never stall, and lose nothing."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from loadtest.candidate import Candidate
from loadtest.fakeopenai import Options
from loadtest.fakeopenai.faults import Fault
from loadtest.processes import migrate
from loadtest.rig import Config, Report, Rig
from loadtest.sources import Source, speaking
from tests.support.ended import ANSWER

pytestmark = pytest.mark.anyio

MODEL = Options(tokens=15, tokens_per_second=60.0, first_token_s=0.02)
TIMEOUT_S = "1.5"
SILENT_S = 12.0
"""The longest that a candidate may wait for words: a few attempts with `TIMEOUT_S` each."""

# What breaks behind words does so every third time: ratings count, too, so that of every second
# both attempts at a turn could break, and three such turns in a row are an outage for everybody.
FAULTS: dict[str, Fault] = {
    "limited": Fault(kind="status", status=429, retry_after="0.3", every=2),
    "broken": Fault(kind="status", status=500, every=2),
    "down": Fault(kind="status", status=503),
    "quota": Fault(kind="quota"),
    "slow": Fault(kind="slow", seconds=30.0, every=2),
    "stalling": Fault(kind="stall", seconds=30.0, tokens=3, every=3),
    "cut": Fault(kind="cut", tokens=4, every=3),
    "endless": Fault(kind="no_end", tokens=5, every=3),
    "malformed": Fault(kind="malformed", tokens=2, every=3),
    "failing": Fault(kind="failed", tokens=3, every=3),
    "refusing": Fault(kind="refused", tokens=0, every=2),
    "empty": Fault(kind="empty", every=2),
    "surrogate": Fault(kind="surrogate", tokens=1),
    "nul": Fault(kind="nul", tokens=1),
}
LASTING = {"down", "quota"}
"""Where no call succeeds the question bank carries the interview on, for the whole account."""
PASSING = tuple(name for name in FAULTS if name not in LASTING)


@pytest.mark.parametrize(
    ("source", "names"),
    [("chat", PASSING), ("responses", PASSING), ("chat", ("down",)), ("chat", ("quota",))],
    ids=["chat", "responses", "down", "quota"],
)
async def test_each_fault_of_the_model(
    source: Source, names: Sequence[str], redis_url: str, database_url: str, tmp_path: Path
) -> None:
    await migrate({"DATABASE_URL": database_url})
    async with speaking(source, MODEL) as (spoken, fake):
        assert fake is not None
        fake.faults.set([replace(fault, prompt=f"fault-{name}") for name, fault in FAULTS.items()])
        timeouts = {"VIVA_FIRST_TOKEN_TIMEOUT_S": TIMEOUT_S, "VIVA_TOKEN_TIMEOUT_S": TIMEOUT_S}
        config = Config(
            redis_url=redis_url,
            database_url=database_url,
            directory=tmp_path,
            instances=1,
            settings={**spoken, **timeouts},
        )
        rig = Rig(config, Report(seed=1))
        async with rig.running(), asyncio.timeout(240):
            having = {
                name: rig.newcomer(
                    {"type": "mixed", "role": f"fault-{name}", "duration_minutes": 15}
                )
                for name in names
            }
            await asyncio.gather(*(candidate.run() for candidate in having.values()))
            await rig.judge()
            words = {name: await _words(candidate) for name, candidate in having.items()}
    print(rig.report)  # noqa: T201 - the figures
    for name, candidate in having.items():
        print(  # noqa: T201
            f"{name}: {FAULTS[name].kind}, silent at most {candidate.silence_s:.1f} s,"
            f" resets {dict(candidate.resets)}, words by {dict(words[name])}"
        )
        assert candidate.silence_s < SILENT_S
        assert set(words[name]) == {"bank"} if name in LASTING else words[name]["model"] > 2
    assert rig.report.faults == []
    assert set(fake.faults.applied) == {FAULTS[name].kind for name in names}


@pytest.mark.torture  # it waits for a minute, as ratings do after an outage
async def test_an_outage_of_a_whole_interview_delays_its_ratings_and_loses_none(
    redis_url: str, database_url: str, tmp_path: Path
) -> None:
    await migrate({"DATABASE_URL": database_url})
    async with speaking("chat", MODEL) as (spoken, fake):
        assert fake is not None
        fake.faults.set([Fault(kind="status", status=503)])
        config = Config(
            redis_url=redis_url,
            database_url=database_url,
            directory=tmp_path,
            instances=1,
            settings={**spoken, "VIVA_WORKER_JOBS": "2"},
        )
        rig = Rig(config, Report(seed=2))
        async with rig.running(), asyncio.timeout(240):
            candidate = rig.newcomer(
                {"type": "behavioral", "role": "Engineer", "duration_minutes": 15}
            )
            candidate.types, candidate.says = True, f"{ANSWER} quality:strong"
            await candidate.run()
            assert set(await _words(candidate)) == {"bank"}
            waiting = await candidate.report()
            assert waiting["status"] == "pending"
            assert not fake.bill.calls
            fake.faults.set([])
            while "report_id" not in (report := await candidate.report()):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
            await rig.judge()
            turns = await candidate.transcript()
    assert rig.report.faults == []
    assert report["method"] == "model"
    answered = {turn["question_id"] for turn in turns if turn["kind"] == "answer"}
    rated = [rating["question_id"] for rating in report["ratings"]]
    assert sorted(rated) == sorted(name for name in answered if name.startswith("core-"))
    assert all(rating["score"] and rating["evidence"] for rating in report["ratings"])
    print(f"pending for {waiting}, then {len(rated)} ratings")  # noqa: T201


async def _words(candidate: Candidate) -> Counter[str]:
    """Who spoke the turns; one that was interrupted before its first word was nobody's."""
    turns = await candidate.transcript()
    return Counter(turn["source"] for turn in turns if turn.get("source") and turn["text"])
