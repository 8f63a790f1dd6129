"""Somebody's presence over the twin, in virtual time: one Redis and two instances."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from protocol import commands as c
from protocol.ids import ORIGIN
from protocol.machine import Finished, Received, transition
from protocol.session import Session
from server.hub import Hub
from server.presence import LAPSE_S, PULSE_S, Presence
from server.sessions import Sessions
from storage.errors import BackendDownError
from storage.live import PARTITIONS, Attendance, Attendant, Restore, State, partition_of
from storage.twin import Twin, TwinNotifier, TwinServer
from tests.support.clocks import LoopClock
from tests.support.interviews import session
from tests.support.speeches import Rows, interviewer
from tests.support.virtual_time import run_virtual

GRACE_MS = 600_000
LAPSES = LAPSE_S + 3 * PULSE_S
"""By then an absence has been noticed."""


class Socket:
    """Somebody's, who is heard all the time, or not."""

    def __init__(self, clock: LoopClock) -> None:
        self._clock = clock
        self.silent_since: float | None = None

    @property
    def heard(self) -> float:
        return self._clock.monotonic() if self.silent_since is None else self.silent_since


class Archive:
    """Holds what was parked."""

    def __init__(self) -> None:
        self.restores: dict[str, Restore] = {}
        self.fault: Exception | None = None
        """What reading an interview that is not here meets."""

    async def rebuild(self, interview_id: str) -> Restore | None:
        if self.fault is not None and interview_id not in self.restores:
            raise self.fault
        return self.restores.get(interview_id)

    async def overdue(self, now: int, limit: int) -> tuple[str, ...]:
        assert now
        return ("unknown", *self.restores)[:limit]


class Slow(Twin):
    """Takes its time over each call of `attend`, and may fail then."""

    def __init__(self, server: TwinServer, latency_s: float) -> None:
        super().__init__(server)
        self.fails: int | None = None
        """The partition whose calls fail."""
        self.fails_from = PARTITIONS
        """The first of the partitions whose calls fail, too."""
        self.refuses: int | None = None
        """The partition that cannot be told."""
        self.hangs_until = 0.0
        """Until then calls fail after a while."""
        self.asked: list[tuple[float, list[int]]] = []
        self.told: list[Attendant] = []
        self.lapsed: list[str] = []
        self._latency_s = latency_s

    async def attend(
        self, attendants: Mapping[int, Sequence[Attendant]], lapse_ms: int, limit: int
    ) -> list[Attendance | None]:
        self.asked.append((asyncio.get_running_loop().time(), list(attendants)))
        self.told += [each for part in attendants.values() for each in part]
        await asyncio.sleep(self._latency_s)
        if asyncio.get_running_loop().time() < self.hangs_until:
            await asyncio.sleep(4)
            raise BackendDownError
        if self.fails in attendants or max(attendants) >= self.fails_from:
            raise BackendDownError
        heard = {number: told for number, told in attendants.items() if number != self.refuses}
        answers = iter(await super().attend(heard, lapse_ms, limit))
        told = [None if number == self.refuses else next(answers) for number in attendants]
        self.lapsed += [name for each in told if each for name, _ in each.lapsed]
        return told


class Far:
    """A way on which what belongs to one interview takes long."""

    async def request(self, client: str, operation: str) -> None:
        if client == "" and operation != "attend":
            await asyncio.sleep(0.2)

    async def reply(self, client: str, operation: str) -> None: ...


class Scene:
    """One Redis and two instances, each with its own client."""

    def __init__(self, latency_s: float = 0.0) -> None:
        self.clock = LoopClock()
        self.server = TwinServer(self.clock.now)
        self.archive = Archive()
        self.sessions = [self._sessions(), self._sessions()]
        self.stores = [Slow(self.server, latency_s) for _ in self.sessions]
        self.instances = [
            Presence(store, each, self.clock, grace_ms=GRACE_MS)
            for store, each in zip(self.stores, self.sessions, strict=True)
        ]
        self.running: list[asyncio.Task[None]] = []

    def _sessions(self) -> Sessions:
        store = Twin(self.server)
        hub = Hub(store, TwinNotifier(self.server), self.clock)
        speaker = interviewer(None, Rows())
        return Sessions(
            store, self.archive, hub, self.clock, speaker, idle_ms=10**7, grace_ms=GRACE_MS
        )

    def begun(self, partition: int | None = None) -> Session:
        """A session whose candidate is to answer; in any partition, or in that one."""
        at = self.clock.now()
        new = replace(session(), created_at=at)
        while partition not in (None, partition_of(new.interview_id)):
            new = replace(session(), created_at=at)
        start = c.InterviewStart(id="start", consent=c.Consent(version="1", at=at))
        started = transition(new, Received(command=start, at=at)).session
        asked = Finished(turn=1, attempt=1, text="Why?", at=at, source="bank")
        return transition(started, asked).session

    async def interview(self, partition: int | None = None) -> str:
        begun = self.begun(partition)
        await Twin(self.server).create(Restore(session=begun, version=0, head=ORIGIN, tick=10**15))
        return begun.interview_id

    async def found(self, name: str) -> Session:
        state = await Twin(self.server).load(name)
        assert isinstance(state, State)
        return state.session

    def play(self, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            self.running = [asyncio.create_task(each.run()) for each in self.instances]
            try:
                await story()
            finally:
                for task in self.running:
                    task.cancel()
                ends = await asyncio.gather(*self.running, return_exceptions=True)
                assert all(isinstance(end, asyncio.CancelledError) for end in ends)

        run_virtual(main())
