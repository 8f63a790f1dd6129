"""Pings at the protocol level (RFC 6455, §5.5.2), by one timer for all sockets of an instance."""

import asyncio
from typing import Protocol

import structlog

PING_S = 45
"""Between two pings of a socket; as long it has to answer. Who is gone is known sooner, by its own
heartbeat: this keeps open what lies between, which forgets the silent after a minute."""

_log = structlog.get_logger()


class Pinged(Protocol):
    """A socket."""

    def ping(self) -> None:
        """Send a ping, or end a socket that did not answer the last one."""


class Pings:
    """Second by second, those are pinged that came in that second of some `PING_S`."""

    def __init__(self) -> None:
        self._beats: list[set[Pinged]] = [set() for _ in range(PING_S)]
        self._now = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, socket: Pinged) -> set[Pinged]:
        """Ping a socket from now on, until it is discarded from the set that is returned."""
        beat = self._beats[self._now]
        beat.add(socket)
        if self._timer is None:
            self._next()
        return beat

    def _next(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(1.0, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._now = (self._now + 1) % PING_S
        if any(self._beats):
            self._next()
        for socket in tuple(self._beats[self._now]):
            try:
                socket.ping()
            except Exception:  # noqa: BLE001  # the others want theirs
                _log.exception("socket not pinged")
