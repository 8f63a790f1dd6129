"""`storage.cache.Cache` over Redis Functions, on the sessions' Redis or one of its own."""

from collections.abc import Sequence
from typing import Any

from storage.cache import GENERATION_MS, OVERHEAD, SHARE, Found, Size
from storage.redis.store import RedisStore

_PREFIX = "viva:{cache}:"
CACHE_KEYS = tuple(f"{_PREFIX}{name}" for name in ("entries", "dues", "bytes"))
"""In the order the Lua source names them."""


class RedisCache:
    """One deployment's cache, bounded by ``budget`` bytes."""

    def __init__(self, store: RedisStore, budget: int) -> None:
        self._store = store
        self._bounds = (budget, SHARE, OVERHEAD)

    async def find(self, group: str, names: Sequence[str]) -> Found:
        """See `Cache.find`."""
        generation, *values = await self._call("cache_find", group, *names)
        return Found(tuple(values), generation.decode())

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
        """See `Cache.keep`."""
        entry = (group, name, value, ttl_ms, generation, version, quiet_ms)
        return bool(await self._call("cache_keep", *self._bounds, *entry))

    async def write(
        self, group: str, name: str, value: bytes, *, ttl_ms: int, version: int
    ) -> bool:
        """See `Cache.write`."""
        entry = (group, name, value, ttl_ms, version)
        return bool(await self._call("cache_write", *self._bounds, GENERATION_MS, *entry))

    async def drop(self, groups: Sequence[str]) -> None:
        """See `Cache.drop`."""
        await self._call("cache_drop", *self._bounds, GENERATION_MS, *groups)

    async def claim(self, name: str, ttl_ms: int) -> bool:
        """See `Cache.claim`."""
        return bool(await self._call("cache_claim", *self._bounds, name, ttl_ms))

    async def release(self, name: str) -> None:
        """See `Cache.release`."""
        await self._call("cache_release", OVERHEAD, name)

    async def size(self) -> Size:
        """See `Cache.size`."""
        entries, size = await self._call("cache_size", OVERHEAD)
        return Size(entries, size)

    async def _call(self, name: str, *arguments: Any) -> Any:
        return await self._store.function(name, CACHE_KEYS, *arguments)
