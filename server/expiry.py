"""Ends what time should have ended while it was parked: nothing ticks in PostgreSQL.

Every instance asks now and then which interviews are overdue, and brings them back into Redis.
Their timer is due there at once, and a sweeper ends them like any other. Who brings one back first
wins; for the others it is there.
"""

import asyncio
from typing import Protocol

import structlog

from server.clock import Clock
from server.sessions import Sessions
from storage.errors import (
    BackendDownError,
    ErasedError,
    MissingError,
    OutOfMemoryError,
    StorageError,
)

EVERY_S = 600.0
LIMIT = 200
"""At most so many are brought back at a time: each takes room in Redis until it is parked again."""

_log = structlog.get_logger()


class Overdue(Protocol):
    """What is asked of PostgreSQL."""

    async def overdue(self, now: int, limit: int) -> tuple[str, ...]:
        """Return interviews that time should have ended by ``now``."""
        ...


class Expiry:
    """One instance's part in it."""

    def __init__(self, archive: Overdue, sessions: Sessions, clock: Clock) -> None:
        self._archive = archive
        self._sessions = sessions
        self._clock = clock

    async def run(self) -> None:
        """Look for ever; owned by the instance's task group."""
        while True:
            await asyncio.sleep(EVERY_S * (0.5 + self._clock.random()))
            try:
                await self._look()
            except StorageError as error:
                _log.warning("nothing expired", error=type(error).__name__)

    async def _look(self) -> None:
        for interview_id in await self._archive.overdue(self._clock.now(), LIMIT):
            try:
                await self._sessions.load(interview_id)
            except (MissingError, ErasedError):
                continue
            except (BackendDownError, OutOfMemoryError):
                raise
            except Exception:  # noqa: BLE001  # each look of each instance would end at this one
                _log.exception("not expired", interview=interview_id)
