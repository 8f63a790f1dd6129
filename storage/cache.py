"""The cache: what can be had again from elsewhere, kept for a while within a budget of bytes.

Nothing depends on it. What is kept belongs to a group, and a group has a generation: dropping the
group begins a new one, and whoever read from elsewhere before that can keep nothing any more. So no
reader brings back what a writer has just replaced. When the budget is used up, what would have
lapsed first makes room.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

GENERATION_MS = 900_000
"""How long a generation is remembered. What belongs to a group that is ever dropped lapses before:
then it also makes room before its generation does, and cannot outlive it."""
SHARE = 16
"""No entry takes more than the budget divided by this."""
OVERHEAD = 160
"""What an entry counts for beside its name and value, in bytes; about what it takes in Redis."""


class Found(Struct, frozen=True):
    """The values asked for, None for each that is not there, and the group's generation."""

    values: tuple[bytes | None, ...]
    generation: str


class Size(Struct, frozen=True):
    """How much is kept, in entries and bytes; generations and claims count too."""

    entries: int
    size: int


class Cache(Protocol):
    """One deployment's cache. Every method may raise `StorageError`; nobody needs to repeat it."""

    async def find(self, group: str, names: Sequence[str]) -> Found:
        """Return what is kept of a group."""
        ...

    async def keep(
        self,
        group: str,
        name: str,
        value: bytes,
        *,
        ttl_ms: int,
        generation: str = "",
        version: int = 0,
        quiet_ms: int = 0,
    ) -> bool:
        """Keep what was read elsewhere after `find` told the generation.

        False: the group was dropped since, or less than ``quiet_ms`` ago (what was read may come
        from a replica that lags so much), or the value is too large.
        """
        ...

    async def write(
        self, group: str, name: str, value: bytes, *, ttl_ms: int, version: int
    ) -> bool:
        """Keep what was just written elsewhere, and begin a new generation of its group.

        False, without any effect: a version as new is kept already.
        """
        ...

    async def drop(self, groups: Sequence[str]) -> None:
        """Forget everything of these groups. Works when memory is out."""
        ...

    async def claim(self, name: str, ttl_ms: int) -> bool:
        """Take on a work that only one is to do; False: somebody has it. It lapses by itself."""
        ...

    async def release(self, name: str) -> None:
        """Give a claimed work back, done or not."""
        ...

    async def size(self) -> Size:
        """Return how much is kept, once what lapsed is gone: where nobody keeps more, it stays."""
        ...
