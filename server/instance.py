"""One instance, put together: the only place that knows every part.

Nothing is opened here; `Instance.running` opens pools, owns every background task and closes what
it opened. A task that fails ends the instance: others, and its successor, take its work over.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from ai.assessor import build_assessor
from ai.build import build_interviewer
from ai.lacks import read_answer
from ai.wording.maker import build_maker
from protocol.closes import Close
from server import garbage, hugepages
from server.api.limits import UserLimits
from server.assessing.batcher import Batcher, build_batcher
from server.assessing.desk import Desk
from server.assessing.groups import Hours, Pace
from server.assessing.orders import OrderBook
from server.assessing.shelf import PostgresShelf
from server.assessing.worker import Worker
from server.budgetbook import BudgetBook
from server.caching import Caching, progress_of
from server.circuits import CircuitBoard, account_of
from server.clock import Clock, SystemClock
from server.committer import Committer
from server.connection import Backends
from server.credentials import Credentials
from server.documents.reading import Documents
from server.drain import Drain
from server.erasing import Eraser
from server.expiry import Expiry
from server.followers import Following, Stored
from server.heartbeats import Heartbeats
from server.hub import Hub
from server.joining import Door
from server.leases import Leases
from server.ledgerbook import LedgerBook
from server.meters import Meters
from server.model_settings import ai_of, caps_of, in_batches, tell_unpriced
from server.presence import Presence
from server.reporting.drawing import Drawing
from server.runner import TurnRunner
from server.sessions import Sessions
from server.settings import Settings
from server.socket import Connections
from server.sweeper import Sweeper
from server.turn import TurnWork
from server.turnstile import Turnstile
from server.wordings import Wordings
from server.writer import Writer
from storage.errors import StorageError, UnmigratedError
from storage.gate import Limits
from storage.postgres.archive import Archive
from storage.postgres.assessments import Assessments
from storage.postgres.batches import Batches
from storage.postgres.pool import LOOK_S
from storage.postgres.profiles import Profiles
from storage.redis.budgets import RedisBudgets
from storage.redis.cache import RedisCache
from storage.redis.circuits import RedisCircuits
from storage.redis.connect import connect
from storage.redis.gate import RedisGate
from storage.redis.jobs import RedisJobs
from storage.redis.notify import RedisNotifier
from storage.redis.store import RedisStore

PARTITIONS_EVERY_S = 24 * 3600.0
PARTITIONS_RETRY_S = 30.0
MEMORY_EVERY_S = 15.0

Task = Coroutine[Any, Any, None]

_log = structlog.get_logger()


class Instance:
    """Everything one server process is made of."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.meters = Meters(CollectorRegistry())
        self.client = connect(settings.redis_url)
        self.store = RedisStore(self.client, max_log=settings.log_length)
        self.notifier = RedisNotifier(self.client)
        self.archive = Archive(
            settings.database_url,
            replica_url=settings.database_replica_url,
            timed=self.meters.queried,
        )
        self.cache_client = connect(settings.cache_url) if settings.cache_url else self.client
        self.cache = RedisCache(RedisStore(self.cache_client), settings.cache_bytes)
        self.caching = Caching(self.cache, self.clock, self.meters)
        self.profiles = Profiles(self.archive.database)
        self.credentials = Credentials(settings.jwt_secret, self.clock.now)
        self.documents = Documents(self.clock)
        self.drawing = Drawing()
        self.connections = Connections()
        self.hub = Hub(self.store, self.notifier, self.clock)
        self.heartbeats = Heartbeats(self.clock)
        idle_ms = int(settings.idle_s * 1000)
        self.book = LedgerBook(self.store, self.clock, self.meters)
        self.budgets = BudgetBook(
            RedisBudgets(self.store), caps_of(settings), self.clock, self.meters
        )
        grace_ms = int(settings.grace_s * 1000)
        self.turnstile = Turnstile(
            RedisGate(self.store),
            Limits(calls=settings.model_calls, tokens_per_minute=settings.model_tokens_per_minute),
            self.clock,
            self.meters,
        )
        self.circuits = CircuitBoard(
            RedisCircuits(self.store),
            self.clock,
            self.meters,
            account_of(settings.openai_base_url, settings.openai_api_key),
        )
        self.jobs = RedisJobs(self.store)
        self.orders = OrderBook(self.jobs, defers=in_batches(settings))
        self.wordings = self._wordings()
        self.interviewer = build_interviewer(
            ai_of(settings),
            self.book,
            self.clock,
            self.budgets,
            gate=self.turnstile,
            wordings=self.wordings if settings.question_cache else None,
            circuits=self.circuits.circuits,
        )
        self.sessions = Sessions(
            self.store,
            self.archive,
            self.hub,
            self.clock,
            self.interviewer,
            idle_ms=idle_ms,
            grace_ms=grace_ms,
            read=read_answer,
        )
        self.presence = Presence(self.store, self.sessions, self.clock, grace_ms=grace_ms)
        self.expiry = Expiry(self.archive, self.sessions, self.clock)
        self.committer = Committer(
            self.store, self.hub, self.clock, self.meters.flushed, time.thread_time
        )
        self.leases = Leases(self.store, self.clock, self._suspended)
        self.runner = TurnRunner(
            store=self.store,
            leases=self.leases,
            work=TurnWork(
                sessions=self.sessions,
                committer=self.committer,
                interviewer=self.interviewer,
                clock=self.clock,
                meter=self.meters,
            ),
            eraser=Eraser(self.store, self.interviewer, self.clock),
            clock=self.clock,
            meter=self.meters,
        )
        self.assessments = Assessments(self.archive.database)
        self.batches = Batches(self.archive.database)
        self.assessor = build_assessor(
            ai_of(settings),
            self.book,
            self.clock,
            self.budgets,
            self.turnstile,
            shelf=PostgresShelf(self.batches, self.clock),
            parks=in_batches(settings),
            circuits=self.circuits.circuits,
        )
        self.batcher = self._batcher()
        self.worker = Worker(
            jobs=self.jobs,
            book=self.orders,
            desk=Desk(
                archive=self.assessments,
                assessor=self.assessor,
                sessions=self.sessions,
                publisher=self.store,
                clock=self.clock,
                reported=lambda user: self.caching.stale((progress_of(user),)),
                wordings=self.wordings,
            ),
            archive=self.assessments,
            clock=self.clock,
            meter=self.meters,
            consumer=self.clock.nonce(),
            at_once=settings.worker_jobs,
        )
        self.writer = Writer(
            self.store,
            self.archive,
            Stored(self.orders, self.caching),
            consumer=self.clock.nonce(),
            clock=self.clock,
            meter=self.meters,
        )
        self.followers = Following(self.runner, self.writer)
        self.sessions.followers = self.followers
        self.sweeper = Sweeper(
            self.store,
            self.sessions,
            self.followers,
            self.clock,
            idle_ms=idle_ms,
            meter=self.meters,
        )
        self.drain = Drain(
            self.connections,
            self.runner,
            (self.book, self.budgets),
            self.clock,
            turns_s=settings.drain_s,
        )
        self.on_failure: Callable[[], None] = _nothing

    def _wordings(self) -> Wordings:
        settings = ai_of(self.settings)
        maker = None
        if settings.api_key is not None and self.settings.question_cache:
            maker = build_maker(
                settings,
                self.book,
                self.clock,
                self.budgets,
                gate=self.turnstile,
                circuits=self.circuits.circuits,
            )
        return Wordings(
            self.cache,
            caching=self.caching,
            orders=self.orders,
            clock=self.clock,
            meter=self.meters,
            maker=maker,
        )

    def _batcher(self) -> Batcher:
        settings = self.settings
        return build_batcher(
            ai_of(settings),
            store=self.batches,
            ledger=self.archive,
            budgets=RedisBudgets(self.store),
            caps=caps_of(settings),
            book=self.orders,
            clock=self.clock,
            meter=self.meters,
            pace=Pace(settings.batch_wait_s),
            hours=Hours(*settings.batch_hours) if in_batches(settings) else None,
        )

    @property
    def backends(self) -> Backends:
        """What the sockets need."""
        return Backends(
            store=self.store,
            sessions=self.sessions,
            hub=self.hub,
            door=Door(self.store, self.sessions, self.credentials, self.clock),
            followers=self.followers,
            clock=self.clock,
            meter=self.meters,
            presence=self.presence,
            heartbeats=self.heartbeats,
        )

    @property
    def limits(self) -> UserLimits:
        """How far a user may go."""
        settings = self.settings
        return UserLimits(
            interviews_per_hour=settings.max_interviews_per_user,
            interview_usd=settings.budget_interview_usd or None,
            day_usd=settings.budget_user_day_usd or None,
        )

    def admits(self) -> bool:
        """Whether one more socket is let in."""
        full = len(self.connections) >= self.settings.max_connections
        return not full and not self.drain.leaving

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Open, work, close. A failing task calls `on_failure`, which ends the process."""
        works = bool(self.settings.worker_jobs)
        assessing = [self.worker.run(), self.batcher.run()] if works else []
        watching = [self._replica()] if self.settings.database_replica_url else []
        everything = (
            self.notifier.run(self.hub.hear),
            self.hub.run(),
            self.heartbeats.run(),
            self.committer.run(),
            self.leases.run(),
            self.runner.run(),
            self.sweeper.run(),
            self.presence.run(),
            self.expiry.run(),
            self.writer.run(),
            self.book.run(),
            self.budgets.run(),
            self.caching.run(),
            self.turnstile.run(),
            self.circuits.run(),
            self._partitions(),
            self._memory(),
            garbage.run(lambda: len(self.leases)),
            hugepages.run(),
            *assessing,
            *watching,
        )
        async with self._opened(everything):
            yield

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[None]:
        """Make ratings and reports, and nothing else; see `running`."""
        tasks = (
            self.worker.run(),
            self.batcher.run(),
            self.writer.run(),
            self.sweeper.outboxes(),
            self.book.run(),
            self.budgets.run(),
            self.caching.run(),
            self.turnstile.run(),
            self.circuits.run(),
        )
        async with self._opened(tasks):
            yield

    @asynccontextmanager
    async def _opened(self, tasks: Sequence[Task]) -> AsyncGenerator[None]:
        async with AsyncExitStack() as opened:  # each is closed, even where another cannot be
            opened.push_async_callback(self.client.aclose)
            if self.cache_client is not self.client:
                opened.push_async_callback(self.cache_client.aclose)
            opened.push_async_callback(self.archive.close)
            opened.push_async_callback(self.interviewer.aclose)
            opened.push_async_callback(self.assessor.aclose)
            opened.push_async_callback(self.batcher.aclose)
            opened.push_async_callback(self.wordings.aclose)
            await self.archive.open()
            tell_unpriced(self.settings)
            work = asyncio.create_task(self._all(tasks))
            opened.push_async_callback(_cancelled, work)
            yield

    async def _partitions(self) -> None:
        """Keep the coming months' partitions made."""
        while True:
            try:
                await self.archive.check_schema()
                await self.archive.ensure_partitions()
            except UnmigratedError:
                _log.error("the database is not migrated: run `viva migrate`")
                await asyncio.sleep(PARTITIONS_RETRY_S)
            except StorageError as error:
                _log.warning("partitions not ensured", error=type(error).__name__)
                await asyncio.sleep(PARTITIONS_RETRY_S)
            else:
                await asyncio.sleep(PARTITIONS_EVERY_S)

    async def _memory(self) -> None:
        """Know how full Redis is: a full one refuses what candidates say."""
        while True:
            with suppress(StorageError):
                self.meters.redis_holds(await self.store.fullness())
            await asyncio.sleep(MEMORY_EVERY_S)

    async def _replica(self) -> None:
        """Know whether the replica may be read, and how far it is behind."""
        while True:
            self.meters.replica_lags(await self.archive.database.look())
            await asyncio.sleep(LOOK_S)

    async def _all(self, tasks: Sequence[Task]) -> None:
        async with asyncio.TaskGroup() as group:
            for task in tasks:
                group.create_task(task).add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            # At once, and before all else: nothing may keep the process from its end.
            self.on_failure()
            _log.critical("instance failed", exc_info=task.exception())

    def _suspended(self) -> None:
        """The process was stopped for so long that others have taken its place: start afresh."""
        self.connections.abort_all(Close.RESYNCHRONISE)


async def _cancelled(work: asyncio.Task[None]) -> None:
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


def _nothing() -> None:
    """Nobody is to be told."""
