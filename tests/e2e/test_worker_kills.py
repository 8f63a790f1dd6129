"""`viva worker`, killed in the middle of its work: every rating once, none lost."""

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from loadtest.fakeopenai import FakeOpenAI, Options
from loadtest.fakeopenai.batches import Fate
from loadtest.processes import SECRET, environment, migrate
from protocol.assessment import Rating, verified
from protocol.scalars import Mode
from protocol.session import Session
from server.assessing.orders import OrderBook
from storage.jobs import PRIORITIES
from storage.postgres.archive import Archive
from storage.redis.connect import connect
from storage.redis.jobs import RedisJobs
from storage.redis.store import RedisStore
from tests.support.ended import ANSWER, ended
from tests.support.interviews import opened, rows_of

pytestmark = pytest.mark.anyio
_redis: Any = redis.Redis  # redis-py's commands are not typed strictly

IN_BATCHES = {
    "VIVA_RATINGS": "batch",
    "VIVA_BATCH_HOURS": "0-24",
    "VIVA_BATCH_WAIT_S": "0.5",
}
SEED = int(os.environ.get("VIVA_KILLS_SEED", "11"))


class _Worker:
    """A `viva worker` process and what it says."""

    def __init__(self, settings: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "server", "worker", "--jobs", "3"],
                env=environment(settings),
                stdout=said,
                stderr=said,
            )

    @property
    def consumer(self) -> str | None:
        """Whose jobs are this worker's, once it works."""
        for line in self._log.read_text().splitlines():
            if '"working"' in line:
                return json.loads(line)["consumer"]
        return None

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> int:
        """End it as an operator would, once it works; its exit code."""
        until = time.monotonic() + 30
        while "working" not in self._log.read_text() and time.monotonic() < until:
            time.sleep(0.1)
        self._process.terminate()
        return self._process.wait(20)


class _Workers:
    """Two workers, of which one is killed now and then."""

    def __init__(self, settings: dict[str, str], directory: Path) -> None:
        self._settings = settings
        self._directory = directory
        self._numbers = itertools.count()
        self._workers = [self._start(), self._start()]

    def _start(self) -> _Worker:
        return _Worker(self._settings, self._directory / f"worker-{next(self._numbers)}.log")

    def kill_one(self, place: int) -> None:
        self._workers[place].kill()
        self._workers[place] = self._start()

    def kill_busy(self, in_hand: Callable[[str], int], draw: random.Random) -> int:
        """Kill one in the middle of a job, some time after it took it; how many it had in hand."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            time.sleep(0.01)
            place = draw.randrange(len(self._workers))
            consumer = self._workers[place].consumer
            if consumer is None or not in_hand(consumer):
                continue
            time.sleep(draw.uniform(0, 0.3))
            if in_hand(consumer):
                self.kill_one(place)
                # Nobody else can have ended it: this is what the others have to find.
                if held := in_hand(consumer):
                    return held
        raise AssertionError("no worker takes a job")

    def stop(self) -> None:
        assert [worker.stop() for worker in self._workers] == [0, 0]


async def _run(
    redis_url: str,
    database_url: str,
    directory: Path,
    *,
    interviews: int,
    kills: int,
    batches: bool = False,
) -> None:
    print(f"VIVA_KILLS_SEED={SEED}")  # noqa: T201
    draw = random.Random(SEED)
    async with FakeOpenAI(Options(first_token_s=0.3)).running() as fake:
        settings = {
            "REDIS_URL": redis_url,
            "DATABASE_URL": database_url,
            "VIVA_JWT_SECRET": SECRET,
            "OPENAI_API_KEY": "k",
            "OPENAI_BASE_URL": fake.url,
            # What a killed worker has reserved is held for a while: that is tested elsewhere.
            "VIVA_BUDGET_INTERVIEW_USD": "10",
            "VIVA_BUDGET_USER_DAY_USD": "0",
            **(IN_BATCHES if batches else {}),
        }
        # Slow enough that most kills come in the middle of a call to it.
        fake.batches.fate = Fate(seconds=1.0, reply_s=0.4)
        await migrate({"DATABASE_URL": database_url})
        client = connect(redis_url)
        jobs = RedisJobs(RedisStore(client))
        async with opened(database_url) as archive:
            sessions = await _ended(archive, interviews, "assessment" if batches else "practice")
        names = [session.interview_id for session in sessions]
        # They come by and by: one batch would hold all of them, and workers would be done too soon.
        wave = -(-interviews // (kills + 1))
        await _order(jobs, sessions[:wave])
        workers, held = _Workers(settings, directory), 0
        try:
            async with asyncio.timeout(120):
                while batches and not fake.batches.batches:  # noqa: ASYNC110 - in others' hands
                    await asyncio.sleep(0.1)
            for number in range(kills):
                if batches:
                    await asyncio.sleep(draw.uniform(2.0, 4.0))
                    workers.kill_one(number % 2)
                else:
                    held += await asyncio.to_thread(workers.kill_busy, _in_hand(redis_url), draw)
                await _order(jobs, sessions[wave * (number + 1) :][:wave])
            async with asyncio.timeout(240):
                while len(_reports(database_url)) < interviews:  # noqa: ASYNC110 - in others' hands
                    await asyncio.sleep(0.5)
            async with asyncio.timeout(60):
                while not await _idle(jobs):  # noqa: ASYNC110
                    await asyncio.sleep(0.2)
        finally:
            await asyncio.to_thread(workers.stop)
            await client.aclose()
        paid = len(fake.bill.calls)
        sent = len(fake.batches.batches)
    rated = Counter(rows_of(database_url, "SELECT interview_id::text FROM ratings"))
    amid = f"{sent} batches" if batches else f"{held} jobs in hand"
    print(f"{kills} kills, {amid}, {interviews} interviews, {paid} calls")  # noqa: T201
    assert {name for (name,) in rated} == set(names)
    assert set(rated.values()) == {2}, "each answer once"
    await _all_verified(database_url)
    assert batches or 2 * interviews <= paid <= 2 * (interviews + held), "no other call twice"
    assert Counter(_reports(database_url)) == Counter(names)
    if batches:
        assert sent > 1
        assert paid == 2 * interviews, "each answer once, and none live"
        rows = rows_of(database_url, "SELECT count(*), count(DISTINCT id), min(api) FROM ledger")
        assert rows == [(paid, paid, "batch")]


async def _ended(archive: Archive, interviews: int, mode: Mode) -> list[Session]:
    at, sessions = 1_795_000_000_000, list[Session]()
    answers = (f"{ANSWER} quality:strong", f"{ANSWER} quality:middling")
    for number in range(interviews):
        sessions.append(await ended(archive, at + number, mode=mode, answers=answers))
    return sessions


async def _order(jobs: RedisJobs, sessions: Sequence[Session]) -> None:
    book = OrderBook(jobs)
    for session in sessions:
        await book.consider(session)


async def _all_verified(database_url: str) -> None:
    """Each rating that is stored quotes what stands in the stored transcript."""
    rows = rows_of(database_url, "SELECT interview_id::text, rating::text FROM ratings")
    async with opened(database_url) as archive:
        for name, text in rows:
            rating = msgspec.json.decode(text, type=Rating)
            assert rating.score is not None
            assert verified(rating, await archive.transcript(name))


def _in_hand(redis_url: str) -> Callable[[str], int]:
    """Tells how many jobs a consumer has taken and not ended, as the queue knows it."""
    client = _redis.from_url(redis_url)

    def count(consumer: str) -> int:
        held = 0
        for priority in PRIORITIES:
            with contextlib.suppress(redis.ResponseError):  # nobody took one of these yet
                found = client.xpending(f"viva:{{jobs}}:{priority}", "workers")
                named = {each["name"]: each["pending"] for each in found["consumers"]}
                held += named.get(consumer.encode(), 0)
        return held

    return count


async def _idle(jobs: RedisJobs) -> bool:
    backlog = await jobs.backlog()
    return not sum(backlog.waiting.values()) and not backlog.later


def _reports(database_url: str) -> list[str]:
    rows = rows_of(
        database_url,
        "SELECT interview_id::text FROM interviews WHERE session -> 'report' ->> 'report_id'"
        " IN (SELECT report_id::text FROM reports)",
    )
    return [name for (name,) in rows]


async def test_a_killed_workers_orders_are_done_by_another(
    redis_url: str, database_url: str, tmp_path: Path
) -> None:
    await _run(redis_url, database_url, tmp_path, interviews=10, kills=2)


@pytest.mark.torture
async def test_fifty_kills(redis_url: str, database_url: str, tmp_path: Path) -> None:
    await _run(redis_url, database_url, tmp_path, interviews=150, kills=50)


async def test_a_killed_workers_batches_are_gone_on_with_by_another(
    redis_url: str, database_url: str, tmp_path: Path
) -> None:
    await _run(redis_url, database_url, tmp_path, interviews=8, kills=3, batches=True)


@pytest.mark.torture
async def test_fifty_kills_among_batches(redis_url: str, database_url: str, tmp_path: Path) -> None:
    await _run(redis_url, database_url, tmp_path, interviews=150, kills=50, batches=True)
