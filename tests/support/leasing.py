"""Leases over the twin, in virtual time, on a wire that can be slow, hang or be read late."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from protocol import commands as c
from protocol.ids import ORIGIN
from protocol.machine import Received, transition
from server.leases import Leases
from storage.live import Acquired, Restore
from storage.twin import Twin, TwinServer
from tests.support.clocks import LoopClock
from tests.support.interviews import NOW, session
from tests.support.virtual_time import run_beside, stand_still

START = c.InterviewStart(id="c-1", consent=c.Consent(version="1", at=NOW))


class SlowWire:
    """Lets single operations hang, or answer late."""

    def __init__(self) -> None:
        self.hangs: set[str] = set()
        self.slow: dict[str, float] = {}
        self.stops: set[str] = set()
        """Operations during which the process is stopped, once."""
        self.passes = 0
        """How many passes of the loop each call takes."""
        self.unread: dict[str, float] = {}
        """Operations whose reply came long before it is read, once: by so many seconds."""

    async def request(self, client: str, operation: str) -> None:
        assert client in ("", "notifier")
        await asyncio.sleep(self.slow.get(operation, 0))
        for _ in range(self.passes):
            await asyncio.sleep(0)
        if operation in self.stops:
            self.stops.discard(operation)
            stand_still(10)
        if operation in self.hangs:
            await asyncio.sleep(1e6)

    async def reply(self, client: str, operation: str) -> None:
        """At once, but where the loop is too busy to read: its timers come first then."""
        assert client in ("", "notifier")
        if operation in self.unread:
            stand_still(self.unread.pop(operation))
            for _ in range(8):
                await asyncio.sleep(0)


class Scene:
    def __init__(self) -> None:
        self.clock = LoopClock()
        self.wire = SlowWire()
        self.server = TwinServer(self.clock.now, wire=self.wire)
        self.store = Twin(self.server)
        self.suspensions = 0
        self.leases = Leases(self.store, self.clock, self._suspended)

    def _suspended(self) -> None:
        self.suspensions += 1

    async def interview(self) -> str:
        """One whose interviewer's turn waits to be generated."""
        live = transition(session(), Received(command=START, at=NOW)).session
        await self.store.create(Restore(session=live, version=0, head=ORIGIN, tick=0))
        return live.interview_id

    async def hold(
        self,
        name: str,
        held: list[float],
        *,
        ending: bool = False,
        silent: bool = False,
        late: float = 0.0,
        cleanup: float = 0.0,
    ) -> None:
        """Hold the interview's turn; note when it began and when it was lost and cleaned up.

        ``late``: how long the acquisition took to come back, in seconds.
        """
        since = self.leases.awake() - late
        acquired = await self.store.acquire(name, self.clock.nonce())
        assert isinstance(acquired, Acquired)
        with self.leases.hold(name, 1, acquired.fence, since) as lease:
            lease.ending = ending
            lease.silent_since = self.clock.monotonic() if silent else None
            held.append(self.clock.monotonic() - late)
            try:
                await asyncio.sleep(1e6)
            finally:
                held.append(self.clock.monotonic())
                if cleanup:
                    await asyncio.sleep(cleanup)
                    held.append(self.clock.monotonic())

    def run(self, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
        run_beside(self.leases.run, story)


async def ended(working: list[asyncio.Task[None]]) -> None:
    for task in working:
        task.cancel()
    await asyncio.gather(*working, return_exceptions=True)
