"""Latencies in HdrHistograms: three digits from 1 µs to two minutes, merged without loss.

Who receives only counts. To put a second of values into a histogram takes so long (16 ms at the
peak) that what comes meanwhile would seem late; the process that merges has that time.
"""

from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from hdrh.histogram import HdrHistogram  # type: ignore[reportMissingTypeStubs]

from loadtest.load.figures import PERCENTILES

LONGEST_US = 120_000_000
_DIGITS = 3
_STEP = 3
"""Values are counted in steps of 8 µs."""

Counted = Mapping[str, bytes]
"""By name, microseconds and how many were of them, in turn, each as an unsigned 32-bit number."""


def histogram() -> Any:
    """Return an empty one."""
    return HdrHistogram(1, LONGEST_US, _DIGITS)


class Latencies:
    """Values by name, since they were last taken."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, list[int]] = defaultdict(list)

    def many(self, name: str) -> list[int]:
        """Return the list of microseconds that belongs to ``name``, to be appended to."""
        return self._waiting[name]

    def record(self, name: str, seconds: float) -> None:
        """Record one."""
        self._waiting[name].append(int(seconds * 1e6))

    def take(self) -> dict[str, bytes]:
        """Return what was recorded, counted, and begin anew."""
        taken: dict[str, bytes] = {}
        for name, values in self._waiting.items():
            if values:
                taken[name] = _counted(values)
                values.clear()
        return taken


def _counted(values: list[int]) -> bytes:
    steps = Counter([value >> _STEP for value in values])
    middles = ((step << _STEP) + (1 << _STEP - 1) for step in steps)
    bounded = [min(LONGEST_US, max(1, value)) for value in middles]
    return array("I", chain.from_iterable(zip(bounded, steps.values(), strict=True))).tobytes()


def _add(counts: Counter[int], counted: bytes) -> None:
    numbers = array("I", counted)
    for value, count in zip(numbers[::2], numbers[1::2], strict=True):
        counts[value] += count


def merged(parts: Sequence[Counted]) -> dict[str, Any]:
    """Return the histograms of all ``parts`` together, by name."""
    whole: dict[str, Counter[int]] = defaultdict(Counter)
    for part in parts:
        for name, counted in part.items():
            _add(whole[name], counted)
    return {name: _histogram(counts) for name, counts in whole.items()}


def percentile_us(parts: Sequence[Counted], name: str, share: float) -> int | None:
    """Return one percentile of ``name``, without a histogram; None where there is nothing."""
    counts = Counter[int]()
    for part in parts:
        _add(counts, part.get(name, b""))
    left = counts.total() * share / 100
    for value in sorted(counts):
        left -= counts[value]
        if left <= 0:
            return value
    return None


def _histogram(counts: Mapping[int, int]) -> Any:
    made = histogram()
    for value, count in counts.items():
        made.record_value(value, count)
    return made


def percentiles(held: Any) -> dict[str, float]:
    """Return the percentiles that are shown, in milliseconds, and ``count``."""
    shares = list(PERCENTILES.values())
    found: dict[float, int] = held.get_percentile_to_value_dict(shares)
    told = {name: round(found[share] / 1000, 3) for name, share in PERCENTILES.items()}
    return {**told, "count": float(held.get_total_count())}
