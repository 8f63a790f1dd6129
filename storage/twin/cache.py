"""`storage.cache.Cache` in memory, for simulations; the suite compares it with the functions."""

from collections.abc import Callable, Sequence

from msgspec import Struct

from storage.cache import GENERATION_MS, OVERHEAD, SHARE, Found, Size


class _Entry(Struct, frozen=True):
    value: bytes
    due: int
    generation: str = ""
    version: int = 0

    @property
    def length(self) -> int:
        # As Redis lays it out: the generation and the version stand before the value.
        return len(self.value) + len(f"{self.generation} {self.version} ")


class TwinCache:
    """A cache that any number of instances share. ``now_us`` tells the time in microseconds."""

    def __init__(self, now_us: Callable[[], int], budget: int) -> None:
        self._now = now_us
        self._budget = budget
        self._entries: dict[str, _Entry] = {}

    async def find(self, group: str, names: Sequence[str]) -> Found:
        """See `Cache.find`."""
        generation = self._generation(group)
        entries = [self._held(_field(group, name)) for name in names]
        values = (
            e.value if e is not None and e.generation == generation else None for e in entries
        )
        return Found(tuple(values), generation)

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
        present = self._generation(group)
        quiet = bool(present) and self._now() - int(present) < quiet_ms * 1000
        if present != generation or quiet:
            return False
        due = self._now() + ttl_ms * 1000
        return self._store(_field(group, name), _Entry(value, due, generation, version))

    async def write(
        self, group: str, name: str, value: bytes, *, ttl_ms: int, version: int
    ) -> bool:
        """See `Cache.write`."""
        kept = self._held(_field(group, name))
        if (
            kept is not None
            and kept.generation == self._generation(group)
            and kept.version >= version
        ):
            return False
        generation = self._begin(group)
        due = self._now() + ttl_ms * 1000
        self._store(_field(group, name), _Entry(value, due, generation, version))
        return True

    async def drop(self, groups: Sequence[str]) -> None:
        """See `Cache.drop`."""
        for group in groups:
            self._begin(group)

    async def claim(self, name: str, ttl_ms: int) -> bool:
        """See `Cache.claim`."""
        field = f"c:{name}"
        if self._held(field) is not None:
            return False
        return self._store(field, _Entry(b"1", self._now() + ttl_ms * 1000))

    async def release(self, name: str) -> None:
        """See `Cache.release`."""
        self._entries.pop(f"c:{name}", None)

    async def size(self) -> Size:
        """See `Cache.size`."""
        self._drop_lapsed()
        return Size(len(self._entries), self._total())

    def _generation(self, group: str) -> str:
        entry = self._held(f"g:{group}")
        return entry.value.decode() if entry is not None else ""

    def _begin(self, group: str) -> str:
        generation = str(max(self._now(), int(self._generation(group) or 0) + 1))
        due = self._now() + GENERATION_MS * 1000
        self._store(f"g:{group}", _Entry(generation.encode(), due))
        return generation

    def _held(self, field: str) -> _Entry | None:
        entry = self._entries.get(field)
        return entry if entry is not None and entry.due > self._now() else None

    def _store(self, field: str, entry: _Entry) -> bool:
        self._entries.pop(field, None)
        if _size(field, entry) > self._budget / SHARE:
            return False
        self._drop_lapsed()
        while self._total() + _size(field, entry) > self._budget:
            del self._entries[min(self._entries, key=lambda name: (self._entries[name].due, name))]
        self._entries[field] = entry
        return True

    def _drop_lapsed(self) -> None:
        now = self._now()
        for lapsed in [name for name, held in self._entries.items() if held.due <= now]:
            del self._entries[lapsed]

    def _total(self) -> int:
        return sum(_size(field, entry) for field, entry in self._entries.items())


def _field(group: str, name: str) -> str:
    return f"e:{group}:{name}"


def _size(field: str, entry: _Entry) -> int:
    length = entry.length if field.startswith("e:") else len(entry.value)
    return len(field.encode()) + length + OVERHEAD
