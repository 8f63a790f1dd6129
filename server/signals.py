"""SIGTERM and SIGINT of a process that serves: noted from the first moment, taken by its loop."""

import asyncio
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """Notes both signals while the program is put together; `taken` hands them to the loop.

    They are noted by handlers, not blocked: a mask holds for one thread only and goes over to
    child processes, and an exception raised by a handler may be lost in a callback. The loop's own
    handlers do not take over: uvloop's would tell of a signal again that was noted a moment before,
    and behind them a further one would end the process at once.
    """

    def __init__(self) -> None:
        self._noted = 0
        self._told: Callable[[], object] | None = None
        self._before: list[Any] = []

    def __enter__(self) -> Self:
        self._before = [signal.signal(number, self._note) for number in SIGNALS]
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in zip(SIGNALS, self._before, strict=True):
            signal.signal(number, before)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self._told is None:
            self._noted += 1
        else:
            self._told()

    @contextmanager
    def taken(self, told: Callable[[], object]) -> Generator[None]:
        """Call ``told`` on the running loop for each signal, those noted before included."""
        loop = asyncio.get_running_loop()
        self._told = lambda: loop.call_soon_threadsafe(told)  # which wakes it, too
        for _ in range(self._noted):
            told()
        try:
            yield
        finally:
            self._told = None
