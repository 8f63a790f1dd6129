"""Parked ratings between real stores and the fake provider, with any number of workers."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any

from ai.assessor import build_assessor
from ai.settings import AiSettings
from loadtest.fakeopenai import FakeOpenAI, Options
from protocol.assessment import Report
from protocol.ledger import LedgerEntry
from protocol.scalars import Mode
from protocol.session import Session
from server.assessing.batcher import Batcher, build_batcher
from server.assessing.groups import Hours, Pace
from server.assessing.shelf import PostgresShelf
from server.budgetbook import BudgetBook
from storage.budgets import Caps
from storage.postgres.archive import Archive
from storage.postgres.batches import Batches
from storage.redis.budgets import RedisBudgets
from storage.redis.connect import connect
from storage.redis.store import RedisStore
from tests.support.databases import flush_redis
from tests.support.ended import ended
from tests.support.interviews import archive_on, rows_of
from tests.support.speeches import Rows
from tests.support.workshop import Workshop

QUICK = Pace(0.2)
PENDING = "SELECT count(*) FROM rating_requests WHERE reply IS NULL AND code IS NULL"
LONG = "We were late. I cut the scope in two and told the client on the same day. It worked. " * 3
"""Enough words for communication to be rated, too."""


class Meter:
    """Counts what is measured."""

    def __init__(self) -> None:
        self.ends: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.batches: Counter[str] = Counter()

    def job_ended(self, kind: str, end: str) -> None:
        assert kind in ("rate", "report")
        self.ends[end] += 1

    def jobs_waiting(self, waiting: int, dead: int, waited_s: float) -> None: ...

    def called(self, entry: LedgerEntry) -> None: ...

    def budget_refused(self, scope: str) -> None:
        self.refused[scope] += 1

    def batch_ended(self, end: str) -> None:
        self.batches[end] += 1

    def parked(self, waiting: int, sent: int) -> None: ...


class Night(Workshop):
    """A deployment that rates in batches: stores, a fake provider, workers."""

    def __init__(self, store: RedisStore, archive: Archive, url: str, fake: FakeOpenAI) -> None:
        super().__init__(store, archive, defers=True)
        self.url, self.fake = url, fake
        self.settings = AiSettings(api_key="k", base_url=fake.url, assessor_timeout_s=5.0)
        self.caps = Caps()
        self.hours: Hours | None = Hours(0, 24)
        self.parks = True
        self.live = Rows()
        """Rows of calls that were made live."""
        self.meter = Meter()
        self.budgets = RedisBudgets(store)
        self.batches = Batches(archive.database)

    def batcher(self, store: Any = None, *, lease_s: float = 3.0) -> Batcher:
        """One worker's batcher."""
        return build_batcher(
            self.settings,
            store=store or self.batches,
            ledger=self.archive,
            budgets=self.budgets,
            caps=self.caps,
            book=self.book,
            clock=self.clock,
            meter=self.meter,
            pace=QUICK,
            hours=self.hours,
            lease_s=lease_s,
        )

    @contextlib.asynccontextmanager
    async def rating(self, workers: int = 1, *, batchers: int = 1) -> AsyncGenerator[None]:
        """Work while the body runs."""
        budget = BudgetBook(self.budgets, self.caps, self.clock, self.meter)
        assessor = build_assessor(
            self.settings,
            self.live,
            self.clock,
            budget,
            shelf=PostgresShelf(self.batches, self.clock),
            parks=self.parks,
        )
        own = [self.batcher() for _ in range(batchers)]
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(budget.run()),
                *(
                    group.create_task(self.worker(n, assessor, self.meter).run())
                    for n in range(workers)
                ),
                *(group.create_task(each.run()) for each in own),
            ]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
        for each in own:
            await each.aclose()
        await assessor.aclose()

    async def ended(self, answers: int = 2, *, mode: Mode = "assessment") -> Session:
        """An interview that is over, and its report ordered."""
        said = (LONG,) * answers
        session = await ended(self.archive, self.clock.now(), mode=mode, answers=said)
        await self.book.consider(session)
        return session

    async def parked(self, calls: int) -> None:
        """Work until so many calls are parked."""
        async with self.rating(batchers=0):
            await self.until(PENDING, calls)

    async def reported(self, *interviews: str, seconds: float = 30) -> list[Report]:
        """Wait until all have their reports."""
        async with asyncio.timeout(seconds):
            while True:
                found = [await self.assessments.assessed(name) for name in interviews]
                reports = [each.report for each in found if each and each.report]
                if len(reports) == len(interviews):
                    return reports
                await asyncio.sleep(0.05)

    async def until(self, query: str, wanted: object) -> None:
        """Wait until the first column of a query's first row is ``wanted``."""
        async with asyncio.timeout(20):
            while self.rows(query)[0][0] != wanted:  # noqa: ASYNC110 - others write it
                await asyncio.sleep(0.02)

    def rows(self, query: str) -> list[Any]:
        """What PostgreSQL holds."""
        return rows_of(self.url, query)

    def ledger(self) -> list[Any]:
        """What the lines of batches cost."""
        return self.rows(
            "SELECT task, outcome, code, input_tokens, output_tokens, cost_micro_usd FROM ledger"
            " WHERE api = 'batch' ORDER BY interview_id, turn, task, attempt"
        )


@contextlib.asynccontextmanager
async def night(redis_url: str, database_url: str) -> AsyncGenerator[Night]:
    """A deployment on empty stores."""
    flush_redis(redis_url)
    client = connect(redis_url)
    try:
        async with (
            archive_on(database_url) as archive,
            FakeOpenAI(Options(first_token_s=0.0)).running() as fake,
        ):
            store = RedisStore(client)
            await store.prepare()
            yield Night(store, archive, database_url, fake)
    finally:
        await client.aclose()
