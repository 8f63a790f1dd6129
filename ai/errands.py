"""Small things done in passing, owned by somebody: few, bounded, ended with their owner."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

MAX_ERRANDS = 256
PATIENCE_S = 3.0

_log = structlog.get_logger()


class Errands:
    """Runs coroutines beside the work that asked for them."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def run(self, errand: Coroutine[Any, Any, Any]) -> None:
        """Run ``errand``, which bounds its own time; too many, or late ones, are dropped."""
        if self._closed or len(self._tasks) >= MAX_ERRANDS:
            errand.close()
            _log.warning("errand dropped", running=len(self._tasks))
            return
        task = asyncio.get_running_loop().create_task(errand)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def aclose(self) -> None:
        """Wait a moment for what still runs, then cancel it."""
        self._closed = True
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=PATIENCE_S)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=PATIENCE_S)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("errand failed", error=type(task.exception()).__name__)
