"""Latencies in HdrHistograms: three digits from 1 µs to two minutes, merged without loss."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from hdrh.histogram import HdrHistogram  # type: ignore[reportMissingTypeStubs]

from loadtest.load.figures import PERCENTILES

LONGEST_US = 120_000_000
_DIGITS = 3
_STEP = 3
"""What comes in numbers is counted in steps of 8 µs first: recording costs 2 µs, counting 0.2."""


def histogram() -> Any:
    """Return an empty one."""
    return HdrHistogram(1, LONGEST_US, _DIGITS)


class Latencies:
    """Values by name, since they were last taken; recording is cheap, taking does the work."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, list[int]] = defaultdict(list)

    def many(self, name: str) -> list[int]:
        """Return the list of microseconds that belongs to ``name``, to be appended to."""
        return self._waiting[name]

    def record(self, name: str, seconds: float) -> None:
        """Record one."""
        self._waiting[name].append(int(seconds * 1e6))

    def take(self) -> dict[str, str]:
        """Return histograms of what was recorded, encoded, and begin anew."""
        taken: dict[str, str] = {}
        for name, values in self._waiting.items():
            if values:
                taken[name] = _encoded(values)
                values.clear()
        return taken


def _encoded(values: list[int]) -> str:
    made = histogram()
    for steps, count in Counter([value >> _STEP for value in values]).items():
        made.record_value(min(LONGEST_US, max(1, (steps << _STEP) + (1 << _STEP - 1))), count)
    encoded: bytes = made.encode()
    return encoded.decode()


def merged(parts: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Return the histograms of all ``parts`` together, by name."""
    whole: dict[str, Any] = {}
    for part in parts:
        for name, encoded in part.items():
            add(whole, name, encoded)
    return whole


def add(whole: dict[str, Any], name: str, encoded: str) -> None:
    """Add an encoded histogram to that of ``name``."""
    if name not in whole:
        whole[name] = histogram()
    whole[name].decode_and_add(encoded.encode())


def percentiles(held: Any) -> dict[str, float]:
    """Return the percentiles that are shown, in milliseconds, and ``count``."""
    shares = list(PERCENTILES.values())
    found: dict[float, int] = held.get_percentile_to_value_dict(shares)
    told = {name: round(found[share] / 1000, 3) for name, share in PERCENTILES.items()}
    return {**told, "count": float(held.get_total_count())}
