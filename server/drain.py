"""Leaving without harm: unready, no new turns, sockets sent elsewhere, turns finished."""

import asyncio
import math
from collections.abc import Sequence
from typing import Protocol

import structlog

from server.clock import Clock
from server.runner import TurnRunner
from server.socket import Connections

UNREADY_S = 1.5
"""How long everything goes on as before, so that balancers find out that this one is not ready.

Who was sent away before that would come back to this instance: it soon has the fewest sockets. The
balancer of ``deploy/`` takes 1.25 s at the longest.
"""
BATCHES = 20
BATCH_PAUSE_S = 0.1
GOODBYE_S = 5.0
RECONNECT_MS = 2_000
"""Clients are spread over this time, so that the next instance is not stormed."""

_log = structlog.get_logger()


class Book(Protocol):
    """What has to be written down before the process ends."""

    async def drained(self, patience_s: float) -> None:
        """Wait until it is, at most ``patience_s``."""
        ...


class Drain:
    """The instance's way out.

    ``draining`` is what readiness shows. ``leaving``: nobody is let in any more.
    """

    def __init__(
        self,
        connections: Connections,
        runner: TurnRunner,
        books: Sequence[Book],
        clock: Clock,
        *,
        turns_s: float,
    ) -> None:
        self._connections = connections
        self._runner = runner
        self._books = books
        self._clock = clock
        self._turns_s = turns_s
        self.draining = False
        self.leaving = False

    async def run(self) -> None:
        """Drain; returns when every socket has left and every turn is finished or released."""
        self.draining = True
        _log.info("draining", sockets=len(self._connections), turns=len(self._runner))
        if len(self._connections):
            await asyncio.sleep(UNREADY_S)
        self.leaving = True
        async with asyncio.TaskGroup() as group:
            group.create_task(self._runner.drain(self._turns_s))
            group.create_task(self._goodbyes())
        async with asyncio.TaskGroup() as group:
            for book in self._books:
                group.create_task(book.drained(GOODBYE_S))
        _log.info("drained")

    async def _goodbyes(self) -> None:
        sockets = tuple(self._connections.open)
        size = max(1, math.ceil(len(sockets) / BATCHES))
        for start in range(0, len(sockets), size):
            for socket in sockets[start : start + size]:
                socket.drain(int(self._clock.random() * RECONNECT_MS))
            await asyncio.sleep(BATCH_PAUSE_S)
        await self._connections.gone(GOODBYE_S)
