"""Who may have a PDF drawn, and how many at a time: each is seconds of work for this machine."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
import structlog

from protocol.assessment import Report
from protocol.session import Turn
from server.apart import GivenUpError, told_by

CHILD = Path(__file__).with_name("child.py")
WALL_S = 40.0
"""More than the seconds of CPU that the process has: the machine may be busy."""
MOST_BYTES = 16 * 1024 * 1024
"""What the process may say: as many pages as there may be, each of other Chinese characters, are
half of it."""
AT_ONCE = 2
"""Processes: an instance has its cores for interviews."""
INSIDE = 16
"""PDFs that are drawn or wait for that."""
PER_USER = 6
"""Of one user at a time: a reviewer opens some reports at once, and must not take all places."""
WAIT_S = 20.0
"""How long one may wait for its process."""

_log = structlog.get_logger()


class BusyError(Exception):
    """There is no place, or no time to draw it."""


async def drawn(
    report: Report, turns: Sequence[Turn], *, wall_s: float = WALL_S, child: Path = CHILD
) -> bytes:
    """Return the report as a PDF, drawn by a process of its own.

    Raises:
        BusyError: it took too long.
    """
    given = msgspec.json.encode((report, turns))
    try:
        return await told_by(child, given, most=MOST_BYTES, wall_s=wall_s)
    except GivenUpError as error:
        if error.code is not None and error.code > 0:
            raise  # nobody ended it: that is a fault of ours
        _log.warning("report given up", reason=error.reason, code=error.code, size=len(given))
        raise BusyError from None


class Drawing:
    """Has PDFs drawn, within bounds; keeps nothing of them."""

    def __init__(self, draws: Callable[[Report, Sequence[Turn]], Awaitable[bytes]] = drawn) -> None:
        self._draws = draws
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._users: Counter[str] = Counter()

    async def draw(self, user: str, report: Report, turns: Sequence[Turn]) -> bytes:
        """Return the report as a PDF.

        Raises:
            BusyError: this instance, or this user, has enough of them drawn, or it took too long.
        """
        if self._users.total() >= INSIDE or self._users[user] >= PER_USER:
            raise BusyError
        self._users[user] += 1
        try:
            return await self._in_turn(report, turns)
        finally:
            self._users[user] -= 1
            if not self._users[user]:
                del self._users[user]

    async def _in_turn(self, report: Report, turns: Sequence[Turn]) -> bytes:
        try:
            async with asyncio.timeout(WAIT_S):
                await self._turns.acquire()
        except TimeoutError:
            raise BusyError from None
        try:
            return await self._draws(report, turns)
        finally:
            self._turns.release()
