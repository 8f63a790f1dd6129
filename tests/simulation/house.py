"""Instances of the server in one process: everything but uvicorn, Redis, PostgreSQL and OpenAI."""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Any

from protocol.closes import Close
from protocol.codec import Encoding
from protocol.machine import Reported
from protocol.session import Session
from server.committer import Committer
from server.connection import Backends, Connection
from server.credentials import Credentials
from server.erasing import Eraser
from server.followers import Following
from server.heartbeats import Heartbeats
from server.hub import Hub
from server.joining import Door
from server.leases import Leases
from server.presence import Presence
from server.runner import TurnRunner
from server.sessions import GRACE_MS, Sessions
from server.sweeper import Sweeper
from server.turn import TurnWork
from server.writer import Writer
from storage.twin import TwinNotifier
from tests.simulation.speaker import Speaker
from tests.simulation.witness import LossyNotices, WatchedTwin, Witness
from tests.simulation.world import Network, SimArchive, SimClock

SECRET = "a simulated secret of enough bytes"
GONE = 1006
IN_FLIGHT = 16


class Meter:
    """Counts nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return _uncounted


def _uncounted(*_measured: Any) -> None:
    pass


class Reports:
    """Tells of each interview that is over, at once, that there is nothing to report.

    See `server.assessing.orders.Orders`.
    """

    def __init__(self, sessions: Sessions, clock: SimClock) -> None:
        self._sessions = sessions
        self._clock = clock

    async def consider(self, session: Session) -> None:
        if session.over and session.report is None:
            nothing = Reported(code="nothing_to_report", at=self._clock.now())
            await self._sessions.apply(session.interview_id, nothing)


class Pipe:
    """A socket: the server's `Wire` on one side, the client's frames on the other."""

    def __init__(
        self, name: str, network: Network, draw: random.Random, encoding: Encoding
    ) -> None:
        self._name = name
        self._network = network
        self._draw = draw
        self._text = encoding == "json"
        self._up: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._down: deque[str | bytes] = deque()
        self._room, self._news = asyncio.Event(), asyncio.Event()
        self._reading = asyncio.Event()
        self._reading.set()
        self._closed: int | None = None

    async def feed(self, connection: Connection) -> None:
        """Tell the server what the client sends, until one of them ends the socket."""
        while (frame := await self._up.get()) is not None:
            await self._network.running(self._name)
            await self._reading.wait()
            connection.take(frame)
        await self._network.running(self._name)
        connection.left()

    def pause_reading(self) -> None:
        self._reading.clear()

    def resume_reading(self) -> None:
        self._reading.set()

    async def send(self, frame: bytes) -> None:
        await self._network.running(self._name)
        while len(self._down) >= IN_FLIGHT and self._closed is None:
            self._room.clear()
            await self._room.wait()
        if self._closed is None:
            self._deliver(frame)

    def send_now(self, frame: bytes) -> bool:
        full = len(self._down) >= IN_FLIGHT or self._closed is not None
        if full or self._network.stopped(self._name):
            return False
        self._deliver(frame)
        return True

    def _deliver(self, frame: bytes) -> None:
        self._down.append(frame.decode() if self._text else frame)
        self._news.set()

    def close(self, code: int) -> None:
        """End the socket, from either side."""
        if self._closed is None:
            self._closed = code
            self._up.put_nowait(None)
            self._room.set()
            self._news.set()

    def push(self, frame: bytes) -> None:
        """The client sends a frame."""
        self._up.put_nowait(frame.decode() if self._text else frame)

    async def pull(self) -> str | bytes | int:
        """Wait for the server's next frame, or for the code of the close behind the last one."""
        await asyncio.sleep(self._draw.expovariate(1000))
        while not self._down and self._closed is None:
            self._news.clear()
            await self._news.wait()
        if self._down and self._closed != GONE:
            self._room.set()
            return self._down.popleft()
        assert self._closed is not None
        return self._closed


class SimInstance:
    """One instance, composed as `server.instance` does it."""

    def __init__(
        self,
        name: str,
        witness: Witness,
        network: Network,
        archive: SimArchive,
        seed: int,
        *,
        stored: bool,
    ) -> None:
        self.name = name
        self._network = network
        self._draw = random.Random(f"{seed} {name}")
        clock = SimClock(self._draw)
        store = WatchedTwin(witness, name, max_log=256)
        loop = asyncio.get_running_loop()
        self.notifier = TwinNotifier(witness, LossyNotices(self._draw, loop))
        self.hub = Hub(store, self.notifier, clock)
        self.heartbeats = Heartbeats(clock)
        meter: Any = Meter()
        idle_ms = 40_000
        speaker = Speaker(self._draw, stored=stored, faults=True)
        self.sessions = Sessions(store, archive, self.hub, clock, speaker, idle_ms=idle_ms)
        self.committer = Committer(store, self.hub, clock)
        self.leases = Leases(store, clock, self._suspended)
        self.runner = TurnRunner(
            store=store,
            leases=self.leases,
            work=TurnWork(
                sessions=self.sessions,
                committer=self.committer,
                interviewer=speaker,
                clock=clock,
                meter=meter,
            ),
            eraser=Eraser(store, speaker, clock),
            clock=clock,
            meter=meter,
        )
        reports = Reports(self.sessions, clock)
        self.writer = Writer(
            store, archive, reports, consumer=clock.nonce(), clock=clock, meter=meter
        )
        followers = Following(self.runner, self.writer)
        self.sessions.followers = followers
        self.sweeper = Sweeper(store, self.sessions, followers, clock, idle_ms=idle_ms)
        self.presence = Presence(store, self.sessions, clock, grace_ms=GRACE_MS)
        self.credentials = Credentials(SECRET, clock.now, clock.nonce)
        self._backends = Backends(
            store=store,
            sessions=self.sessions,
            hub=self.hub,
            door=Door(store, self.sessions, self.credentials, clock),
            followers=followers,
            clock=clock,
            meter=meter,
            presence=self.presence,
            heartbeats=self.heartbeats,
        )
        self._pipes: dict[Pipe, Connection] = {}
        self._group: asyncio.TaskGroup | None = None
        self._task: asyncio.Task[None] | None = None
        self._draining = False
        self.failure: BaseException | None = None

    @property
    def up(self) -> bool:
        """Whether a balancer would send it sockets."""
        return self._group is not None and not self._draining

    def start(self, owner: asyncio.TaskGroup) -> None:
        """Begin to work; ``owner`` owns the instance's task."""
        self._task = owner.create_task(self._run())

    async def kill(self) -> None:
        """As SIGKILL does: from now on the instance changes nothing and says nothing."""
        self._network.dead.add(self.name)
        self._group = None
        for pipe in self._pipes:
            pipe.close(GONE)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def drain(self) -> None:
        """As SIGTERM does."""
        self._draining = True
        draining = asyncio.ensure_future(self.runner.drain(5.0))
        for pipe in tuple(self._pipes):
            self._pipes[pipe].drain(int(self._draw.random() * 2000))
        await draining
        await asyncio.sleep(1.0)
        await self.kill()

    def open(self, interview_id: str, encoding: Encoding) -> Pipe:
        """Open a socket."""
        pipe = Pipe(self.name, self._network, self._draw, encoding)
        if self._group is None:
            pipe.close(GONE)
            return pipe
        connection = Connection(self._backends, pipe, interview_id, encoding)
        self._pipes[pipe] = connection
        self._group.create_task(self._serve(pipe, connection))
        return pipe

    async def _serve(self, pipe: Pipe, connection: Connection) -> None:
        feeding = asyncio.ensure_future(pipe.feed(connection))
        try:
            code = await connection.run()
        except Exception as error:  # noqa: BLE001 - kept for the verdict
            self.failure = error
            code = Close.INTERNAL
        finally:
            feeding.cancel()
            self._pipes.pop(pipe, None)
        pipe.close(GONE if code is None else int(code))

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for task in (
                    self.notifier.run(self.hub.hear),
                    self.hub.run(),
                    self.heartbeats.run(),
                    self.committer.run(),
                    self.leases.run(),
                    self.runner.run(),
                    self.sweeper.run(),
                    self.presence.run(),
                    self.writer.run(),
                ):
                    group.create_task(task)
        except BaseExceptionGroup as failure:
            self.failure = failure

    def _suspended(self) -> None:
        for connection in self._pipes.values():
            connection.abort(Close.RESYNCHRONISE)
