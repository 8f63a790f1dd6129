"""Commands that start servers of their own, and must not leave them behind."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
TERMINATED = 128 + signal.SIGTERM


class TerminatedError(Exception):
    """SIGTERM came; what was started is stopped."""


def run_to_end(main: Coroutine[Any, Any, T]) -> T:
    """Run it; SIGTERM cancels it, as SIGINT does without this.

    Raises:
        TerminatedError: SIGTERM came.
    """
    told: list[None] = []

    async def watched() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one

        def end() -> None:
            if not told:  # a second one would break off the stop
                told.append(None)
                task.cancel()

        loop.add_signal_handler(signal.SIGTERM, end)
        return await main

    try:
        return asyncio.run(watched())
    except BaseException as error:
        if told:
            raise TerminatedError from error
        raise
