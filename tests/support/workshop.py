"""What rates and reports between a real Valkey and a real PostgreSQL, without the assessor."""

from ai.assessor import Assessor
from server.assessing.desk import Desk
from server.assessing.orders import OrderBook
from server.assessing.worker import JobMeter, Worker
from server.clock import SystemClock
from server.hub import Hub
from server.sessions import Sessions
from storage.postgres.archive import Archive
from storage.postgres.assessments import Assessments
from storage.redis.connect import connect
from storage.redis.jobs import RedisJobs
from storage.redis.notify import RedisNotifier
from storage.redis.store import RedisStore
from tests.support.parts import OneSpeaker


class Workshop:
    """Orders, sessions and workers over stores; notifications go nowhere."""

    def __init__(self, store: RedisStore, archive: Archive, *, defers: bool = False) -> None:
        self.store, self.archive = store, archive
        self.clock = SystemClock()
        self.jobs = RedisJobs(store)
        self.book = OrderBook(self.jobs, defers=defers)
        self.assessments = Assessments(archive.database)
        self.hub = Hub(store, RedisNotifier(connect("redis://127.0.0.1:1")), self.clock)
        self.sessions = Sessions(
            store, archive, self.hub, self.clock, OneSpeaker(), idle_ms=3_600_000
        )

    def worker(self, number: int, assessor: Assessor, meter: JobMeter) -> Worker:
        """One of them; it has to be run."""
        desk = Desk(
            archive=self.assessments,
            assessor=assessor,
            sessions=self.sessions,
            publisher=self.store,
            clock=self.clock,
        )
        return Worker(
            jobs=self.jobs,
            book=self.book,
            desk=desk,
            archive=self.assessments,
            clock=self.clock,
            meter=meter,
            consumer=f"worker-{number}",
        )
