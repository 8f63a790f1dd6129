"""What the instances tell of themselves at `/metrics`, in Prometheus' text format."""

import asyncio
import re
from collections.abc import Sequence

from msgspec import Struct

from loadtest.load.api import Api, ApiError

HISTOGRAMS = {
    "cache": "viva_cache_seconds",
    "database": "viva_database_seconds",
    "flush": "viva_flush_seconds",
}
"""The servers' histograms that have a figure, and its name."""

_LINE = re.compile(r"^(\w+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)
_EDGE = re.compile(r'le="([^"]+)"')
PATIENCE_S = 3.0


class Reading(Struct, kw_only=True):
    """All instances together. A counter of an instance that was killed is gone with it."""

    cpu_s: float = 0.0
    memory_mb: float = 0.0
    files: float = 0.0
    sockets: float = 0.0
    deltas: float = 0.0
    reads: float = 0.0
    """What was read of PostgreSQL: no resume of a live interview is to need it."""
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
            if text:
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
                return (await api.ask(0, "GET", "/metrics", b"")).body.decode()
        except (ApiError, TimeoutError):
            return ""


def add(reading: Reading, text: str) -> None:
    """Add what one instance tells to ``reading``."""
    for name, labels, value in _LINE.findall(text):
        number = float(value)
        match name:
            case "process_cpu_seconds_total":
                reading.cpu_s += number
            case "process_resident_memory_bytes":
                reading.memory_mb += number / 1e6
            case "process_open_fds":
                reading.files += number
            case "viva_sockets":
                reading.sockets += number
            case "viva_deltas_total":
                reading.deltas += number
            case "viva_database_seconds_count" if 'kind="write"' not in labels:
                reading.reads += number
            case _ if name.endswith("_seconds_bucket"):
                edges = reading.edges.setdefault(name.removesuffix("_bucket"), {})
                edge = _EDGE.search(labels)
                if edge is not None:
                    edges[edge[1]] = edges.get(edge[1], 0.0) + number
            case _:
                pass
