"""What the instances tell of themselves at `/metrics`, in Prometheus' text format."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from redis import asyncio as redis

from loadtest.load.api import Api, ApiError

HISTOGRAMS = {
    "cache": "viva_cache_seconds",
    "database": "viva_database_seconds",
    "flush": "viva_flush_seconds",
}
"""The servers' histograms that have a figure, and its name."""

_SUMS = {
    "process_cpu_seconds_total": ("cpu_s", 1.0),
    "process_resident_memory_bytes": ("memory_mb", 1e6),
    "process_open_fds": ("files", 1.0),
    "viva_sockets": ("sockets", 1.0),
    "viva_tasks": ("tasks", 1.0),
    "viva_deltas_total": ("deltas", 1.0),
    "process_start_time_seconds": ("started", 1.0),
}
"""What is added up, by its name there: its field here, and what of it makes one."""

_LINE = re.compile(r"^(\w+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)
_EDGE = re.compile(r'le="([^"]+)"')
PATIENCE_S = 3.0


class Reading(Struct, kw_only=True):
    """All instances together. A counter of an instance that was killed is gone with it."""

    cpu_s: float = 0.0
    memory_mb: float = 0.0
    files: float = 0.0
    tasks: float = 0.0
    sockets: float = 0.0
    deltas: float = 0.0
    reads: float = 0.0
    """What was read of PostgreSQL: no resume of a live interview is to need it."""
    started: float = 0.0
    """When the instances that answered were started: other ones, another sum."""
    answered: int = 0
    """How many instances answered."""
    edges: dict[str, dict[str, float]] = {}
    """Of each histogram, how many observations are at most so long."""

    def p95_since(self, before: "Reading", name: str) -> float | None:
        """Return within which bucket's edge, in seconds, 95 % of what came since then are."""
        then = before.edges.get(name, {})
        now = {
            edge: count - then.get(edge, 0.0) for edge, count in self.edges.get(name, {}).items()
        }
        whole = now.get("+Inf", 0.0)
        if whole <= 0:
            return None
        return next(float(edge) for edge, count in now.items() if count >= 0.95 * whole)


def changed(before: Reading, now: Reading) -> bool:
    """Whether other processes answered than before, as behind a balancer; all did each time."""
    return before.started != now.started


class Scraper:
    """Reads the metrics of some addresses."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = urls
        self._apis = [Api([url]) for url in urls]

    async def read(self) -> Reading:
        """Read all of them; those that do not answer are left out."""
        texts = await asyncio.gather(*(self._text(api) for api in self._apis))
        reading = Reading(edges={})
        for text in texts:
            if "viva_" in text:  # a proxy may answer with a page of its own
                add(reading, text)
                reading.answered += 1
        return reading

    def close(self) -> None:
        """Close every connection."""
        for api in self._apis:
            api.close()

    async def _text(self, api: Api) -> str:
        try:
            async with asyncio.timeout(PATIENCE_S):
                return (await api.ask(0, "GET", "/metrics", b"")).body.decode(errors="replace")
        except (ApiError, TimeoutError):
            return ""


class Kept(Struct, frozen=True):
    """What Redis holds. None where it is not to be asked."""

    keys: int | None = None
    lasting: int | None = None
    """Those of the keys that have no end of their own: what is forgotten among them stays."""
    clients: int | None = None
    """Connections."""


class RedisScraper:
    """Reads how much a Redis holds; nothing where there is no address."""

    def __init__(self, url: str) -> None:
        self._client: Any = None
        if url:
            self._client = redis.from_url(url)
            self._database = self._client.connection_pool.connection_kwargs.get("db") or 0

    async def read(self) -> Kept:
        """Ask it; nothing is known of one that does not answer."""
        if self._client is None:
            return Kept()
        try:
            async with asyncio.timeout(PATIENCE_S):  # redis-py repeats a call ten times
                keyspace: Any = await self._client.info("keyspace")
                clients = (await self._client.info("clients"))["connected_clients"]
        except (redis.RedisError, TimeoutError):
            return Kept()
        held = keyspace.get(f"db{self._database}", {"keys": 0, "expires": 0})
        return Kept(held["keys"], held["keys"] - held["expires"], clients)

    async def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            await self._client.aclose()


def add(reading: Reading, text: str) -> None:
    """Add what one instance tells to ``reading``."""
    for name, labels, value in _LINE.findall(text):
        try:
            number = float(value)
        except ValueError:
            continue  # a page of somebody else's
        if name in _SUMS:
            field, unit = _SUMS[name]
            setattr(reading, field, getattr(reading, field) + number / unit)
        elif name == "viva_database_seconds_count" and 'kind="write"' not in labels:
            reading.reads += number
        elif name.endswith("_seconds_bucket"):
            edges = reading.edges.setdefault(name.removesuffix("_bucket"), {})
            edge = _EDGE.search(labels)
            if edge is not None:
                edges[edge[1]] = edges.get(edge[1], 0.0) + number
