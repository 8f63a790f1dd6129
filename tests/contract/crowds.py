"""Many callers at once on a machine that may be busy: who gets no connection in time asks again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from storage.errors import BackendDownError

TRIES = 50
PAUSE_S = 0.1

T = TypeVar("T")


async def insist(ask: Callable[[], Awaitable[T]]) -> T:
    """Return what ``ask`` does, which may be repeated: one of the calls gets through."""
    for _ in range(TRIES):
        try:
            return await ask()
        except BackendDownError:
            await asyncio.sleep(PAUSE_S)
    return await ask()
