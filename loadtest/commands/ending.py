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
    """Run it; SIGTERM or SIGINT cancels it, and a further one does not break off its clearing up.

    Raises:
        TerminatedError: SIGTERM came.
        KeyboardInterrupt: SIGINT did.
    """
    told: list[signal.Signals] = []

    async def watched() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one

        def end(number: signal.Signals) -> None:
            told.append(number)
            if len(told) == 1:
                task.cancel()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end, number)
        return await main

    try:
        return asyncio.run(watched())
    except BaseException as error:
        if not told:
            raise
        raise (TerminatedError if told[0] == signal.SIGTERM else KeyboardInterrupt) from error
