"""Waiting that costs nothing while there is nothing to wait for.

An instance holds thousands of sockets, nearly all of which rest. `asyncio.Event` and
`asyncio.Queue` come with a deque or three each, of 600 bytes and more, filled or not; these here
hold what they need when they need it.
"""

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Flag:
    """What `asyncio.Event` does, by the same names."""

    __slots__ = ("_set", "_waiting")

    def __init__(self) -> None:
        self._set = False
        self._waiting: list[asyncio.Future[None]] | None = None

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._set

    def set(self) -> None:
        """Set it; all who wait go on."""
        if not self._set:
            self._set = True
            for future in self._waiting or ():
                if not future.done():
                    future.set_result(None)

    def clear(self) -> None:
        """Reset it."""
        self._set = False

    async def wait(self) -> None:
        """Wait until it is set."""
        if self._set:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._waiting is None:
            self._waiting = []
        self._waiting.append(future)
        try:
            await future
        finally:
            self._waiting.remove(future)
            if not self._waiting:
                self._waiting = None


class Inbox(Generic[T]):
    """What an unbounded `asyncio.Queue` does for one who takes, by the same names."""

    __slots__ = ("_items", "_there")

    def __init__(self) -> None:
        self._items: deque[T] | None = None
        self._there = Flag()

    def empty(self) -> bool:
        """Whether nothing waits."""
        return self._items is None

    def put_nowait(self, item: T) -> None:
        """Add an item."""
        if self._items is None:
            self._items = deque()
        self._items.append(item)
        self._there.set()

    def taken(self) -> list[T]:
        """Take all that waits."""
        items, self._items = self._items, None
        return list(items or ())

    async def get(self) -> T:
        """Wait for the next item, and take it."""
        while self._items is None:
            self._there.clear()
            await self._there.wait()
        item = self._items.popleft()
        if not self._items:
            self._items = None
        return item
