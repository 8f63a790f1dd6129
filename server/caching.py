"""The cache as the instance uses it: it may speed things up, and can stop nothing.

A call that fails or takes too long counts as a miss, and for a moment nobody asks again. What could
not be dropped meanwhile is owed: this instance does not read it from the cache until it is dropped,
others may for as long as the entry lives.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol, TypeVar

import msgspec
import structlog
from msgspec import Struct

from server.clock import Clock, backoff
from storage.cache import Cache
from storage.errors import BadDataError, StorageError

LIMIT_S = 0.3
"""How long the cache may take to answer."""
PAUSE_S = 1.0
"""How long nobody asks a cache that did not answer."""
LOOK_S = 15.0
"""How often it is looked how much is kept, and what lapsed is let go."""
OWED = 10_000
"""Groups that are yet to be dropped; beyond it the oldest are left to lapse."""
BATCH = 100
PROFILE_S = 300.0
LIST_S = 60.0
"""Lists and progress change with every turn that is stored."""
ONE_S = 10.0
"""An interview that is looked at again and again, while one waits for it to be over, say."""
JITTER = 0.4
"""By so much of its time an entry may lapse earlier than others."""
QUIET_S = 3.0
"""How long after a write a list is not kept: it may come from a replica that lags, which is left
alone before long; see `storage.postgres.pool.LOOK_S`."""

T = TypeVar("T")

_log = structlog.get_logger()


def _always(_: Any) -> bool:
    return True


class CacheMeter(Protocol):
    """What is measured of the cache."""

    def cache_asked(self, cache: str, answer: str) -> None:
        """Count a question to the ``cache`` of that name: ``hit``, ``miss`` or ``error``."""

    def cache_seconds(self, seconds: float) -> None:
        """Observe how long an answer took."""

    def cache_holds(self, entries: int, size: int) -> None:
        """Set how much all caches together hold, in entries and bytes."""


class Kept(Struct, frozen=True):
    """How one kind of thing is cached. ``form`` is the type it is read back as.

    What is not ``fit`` is not kept: it is loaded each time.
    """

    name: str
    ttl_s: float
    form: Any
    quiet_s: float = 0.0
    fit: Callable[[Any], bool] = _always


class Caching:
    """One instance's way to the cache."""

    def __init__(self, cache: Cache, clock: Clock, meter: CacheMeter) -> None:
        self._cache = cache
        self._clock = clock
        self._meter = meter
        self.answers = False
        """Whether it did when it was asked last."""
        self._asked_from = float("-inf")
        self._owed: dict[str, None] = {}
        self._wanted = asyncio.Event()

    async def read(self, kept: Kept, group: str, name: str, load: Callable[[], Awaitable[T]]) -> T:
        """Return what is cached, else what ``load`` returns, which is cached then."""
        if group in self._owed:
            self._meter.cache_asked(kept.name, "error")
            return await load()
        found = await self.ask(kept.name, lambda: self._cache.find(group, [name]))
        if found is not None and found.values[0] is not None:
            try:
                value: Any = msgspec.json.decode(found.values[0], type=kept.form)
            except ValueError:  # of msgspec, or of bytes that are no UTF-8
                _log.warning("an entry of another form", cache=kept.name)
            else:
                self._meter.cache_asked(kept.name, "hit")
                return value
        if found is None:
            return await load()
        self._meter.cache_asked(kept.name, "miss")
        value = await load()
        if group not in self._owed and kept.fit(value):
            await self.ask(
                kept.name,
                lambda: self._cache.keep(
                    group,
                    name,
                    msgspec.json.encode(value),
                    # Never longer than is told, and not all at once: what came together goes apart.
                    ttl_ms=int(kept.ttl_s * 1000 * (1 - JITTER * self._clock.random())),
                    generation=found.generation,
                    quiet_ms=int(kept.quiet_s * 1000),
                ),
            )
        return value

    async def written(self, kept: Kept, group: str, name: str, value: object, version: int) -> None:
        """Write through what is in PostgreSQL by now; later versions win."""
        done = await self.ask(
            kept.name,
            lambda: self._cache.write(
                group,
                name,
                msgspec.json.encode(value),
                ttl_ms=int(kept.ttl_s * 1000),
                version=version,
            ),
        )
        if done is None:
            self.stale((group,))

    async def dropped(self, *groups: str) -> None:
        """Drop groups now if the cache answers, else as soon as it does."""
        if await self.ask("drop", lambda: self._dropped(groups)) is None:
            self.stale(groups)

    def stale(self, groups: Iterable[str]) -> None:
        """Drop groups soon; neither blocks nor raises."""
        for group in groups:
            self._owed[group] = None
        while len(self._owed) > OWED:
            del self._owed[next(iter(self._owed))]
        self._wanted.set()

    async def run(self) -> None:
        """Drop what is owed, and tell how much is kept, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._drop_owed())
            group.create_task(self._look())

    async def _drop_owed(self) -> None:
        attempt = 0
        while True:
            self._wanted.clear()
            while self._owed:
                batch = list(self._owed)[:BATCH]
                try:
                    await self._cache.drop(batch)
                except BadDataError:
                    _log.error("the cache refuses to drop")
                except StorageError:
                    await backoff(self._clock, attempt, cap_s=2.0)
                    attempt += 1
                    continue
                attempt = 0
                for group in batch:
                    self._owed.pop(group, None)
            await self._wanted.wait()

    async def _look(self) -> None:
        while True:
            held = await self.ask("size", self._cache.size)
            if held is not None:
                self._meter.cache_holds(held.entries, held.size)
            await asyncio.sleep(LOOK_S * (0.5 + self._clock.random()))

    async def ask(self, name: str, call: Callable[[], Awaitable[T]]) -> T | None:
        """Return the cache's answer; None where it has none in time, or is not asked."""
        began = self._clock.monotonic()
        if began < self._asked_from:
            self._meter.cache_asked(name, "error")
            return None
        try:
            async with asyncio.timeout(LIMIT_S):
                answer = await call()
        except (StorageError, TimeoutError) as error:
            self._meter.cache_asked(name, "error")
            if self._clock.monotonic() >= self._asked_from:
                _log.warning("the cache does not answer", error=type(error).__name__)
            self._asked_from = self._clock.monotonic() + PAUSE_S
            self.answers = False
            return None
        self.answers = True
        self._meter.cache_seconds(self._clock.monotonic() - began)
        return answer

    async def _dropped(self, groups: Iterable[str]) -> bool:
        await self._cache.drop(list(groups))
        return True


def lists_of(user_id: str) -> str:
    """Return the group of what is listed of a user's interviews."""
    return f"lists:{_hidden(user_id)}"


def progress_of(user_id: str) -> str:
    """Return the group of a user's progress."""
    return f"progress:{_hidden(user_id)}"


def profile_of(user_id: str) -> str:
    """Return the group of a user's profile."""
    return f"profile:{_hidden(user_id)}"


def _hidden(user_id: str) -> str:
    """Return a name for a user that tells nothing: an id may be an address."""
    return hashlib.sha256(user_id.encode()).hexdigest()[:32]
