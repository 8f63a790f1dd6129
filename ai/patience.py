"""Waits with a due time, one after another, under one timer.

`asyncio.timeout_at` makes and cancels a timer for each wait. A stream waits for every chunk, and
nearly every chunk comes in time: here the timer stands, and when it rings it looks whether anything
is due by then.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")


class Patience:
    """The waits of one stream, one at a time, in one task. Close it when the stream ends."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._task: asyncio.Task[Any] | None = None
        self._expired = False

    async def wait(self, work: Awaitable[T], due: float) -> T:
        """Await ``work`` until ``due`` on the loop's clock.

        Raises:
            TimeoutError: it was not done by then, and is cancelled.
        """
        self._due = due
        if self._timer is None or self._timer.when() > due:
            self._arm()
        task = self._task = asyncio.current_task()
        assert task is not None, "coroutines are awaited in tasks"  # noqa: S101
        cancelling = task.cancelling()
        try:
            return await work
        except asyncio.CancelledError:
            # As `asyncio.timeout` does: a cancellation from elsewhere goes before ours.
            if self._expired and task.uncancel() <= cancelling:
                raise TimeoutError from None
            raise
        finally:
            self._task = None
            self._expired = False

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self.close()
        self._timer = self._loop.call_at(self._due, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._task is None:
            return  # the next wait arms it again
        if self._loop.time() < self._due:
            self._arm()
        else:
            self._expired = True
            self._task.cancel()
