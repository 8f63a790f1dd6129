"""Calls that are made in spite of short outages."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from server.clock import Clock, backoff
from storage.errors import BackendDownError, OutOfMemoryError

T = TypeVar("T")


async def patiently(clock: Clock, call: Callable[[], Awaitable[T]], patience_s: float) -> T:
    """Make a call, again and again while the store is down or full, for ``patience_s`` seconds.

    Raises:
        BackendDownError, OutOfMemoryError: it was tried for so long.
    """
    started, attempt = clock.monotonic(), 0
    while True:
        try:
            return await call()
        except (BackendDownError, OutOfMemoryError):
            if clock.monotonic() - started > patience_s:
                raise
            await backoff(clock, attempt)
            attempt += 1
