"""Heartbeats: a socket that was not heard for too long is closed (PROTOCOL.md, 4009).

What a look at a socket touches has gone from the processor's cache by then, thousands of times
over. So one that was heard in time is not looked at again before it could be late.
"""

import asyncio
import itertools
from collections.abc import Iterable
from typing import Protocol

from protocol.closes import Close
from protocol.limits import HEARTBEAT_MS, HEARTBEATS_MISSED
from server.clock import Clock

HEARTBEAT_S = HEARTBEAT_MS / 1000 * HEARTBEATS_MISSED
"""A socket from which nothing came for longer is closed."""
LOOK_S = 1.0
PARTS = 15
"""Each socket is looked at every so many looks; one that could be late by the next, at each."""
LATE_S = HEARTBEAT_S - (PARTS + 1) * LOOK_S
"""One that was silent for so long may be late before the next look at its part."""


class Beating(Protocol):
    """A socket."""

    @property
    def heard(self) -> float:
        """The monotonic time of its last frame."""
        ...

    def abort(self, code: Close) -> None:
        """Close it now."""
        ...


class Heartbeats:
    """The sockets of one instance."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._parts: tuple[dict[Beating, None], ...] = tuple({} for _ in range(PARTS))
        self._next = itertools.cycle(self._parts)
        self._late: dict[Beating, None] = {}

    def enter(self, socket: Beating) -> None:
        """Look at a socket from now on."""
        next(self._next)[socket] = None

    def leave(self, socket: Beating) -> None:
        """Look at it no more."""
        for part in (*self._parts, self._late):
            part.pop(socket, None)

    async def run(self) -> None:
        """Look for ever; owned by the instance's task group."""
        parts = itertools.cycle(self._parts)
        looked = self._clock.monotonic()
        while True:
            await asyncio.sleep(LOOK_S)
            now = self._clock.monotonic()
            due = round((now - looked) / LOOK_S)  # more than one where the loop was late
            looked += due * LOOK_S
            for part in itertools.islice(parts, min(due, PARTS)):
                self._look(part, now)

    def _look(self, part: Iterable[Beating], now: float) -> None:
        for socket in part:
            if now - socket.heard > LATE_S:
                self._late[socket] = None
        for socket in tuple(self._late):
            silent_s = now - socket.heard
            if silent_s > HEARTBEAT_S:
                socket.abort(Close.HEARTBEAT_LOST)
            elif silent_s <= LATE_S:
                del self._late[socket]
