"""Who may have a PDF drawn, and how many at a time: each takes seconds of this instance."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

AT_ONCE = 1
"""Threads: they have the interpreter in turns with all interviews of the instance."""
INSIDE = 16
"""PDFs that are drawn or wait for that."""
PER_USER = 2
"""Of one user at a time: they must not take all places."""
WAIT_S = 20.0
"""How long one may wait for its turn."""


class BusyError(Exception):
    """There is no place, or it did not get its turn in time."""


class Drawing:
    """Draws PDFs, within bounds; keeps nothing of them."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._users: Counter[str] = Counter()
        self._drawn: set[asyncio.Task[Any]] = set()

    async def draw(self, user: str, draws: Callable[[], T]) -> T:
        """Return what ``draws()`` returns, in a thread.

        Raises:
            BusyError: this instance, or this user, has enough of them drawn.
        """
        if self._users.total() >= INSIDE or self._users[user] >= PER_USER:
            raise BusyError
        self._users[user] += 1
        try:
            return await self._in_turn(draws)
        finally:
            self._users[user] -= 1
            if not self._users[user]:
                del self._users[user]

    async def _in_turn(self, draws: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(WAIT_S):
                await self._turns.acquire()
        except TimeoutError:
            raise BusyError from None
        drawn = asyncio.create_task(asyncio.to_thread(draws))
        # Who asked may be gone by then: the thread goes on, and the next one has to wait for it.
        self._drawn.add(drawn)
        drawn.add_done_callback(self._done)
        return await asyncio.shield(drawn)

    def _done(self, drawn: asyncio.Task[Any]) -> None:
        self._drawn.discard(drawn)
        self._turns.release()
