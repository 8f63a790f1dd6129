"""What is made of readings: medians, ratios, slopes, and which rounds count."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from loadtest.awake import REFUSED

MOST_FOREIGN_CORES = 0.2
"""With more of other people's work on the machine, a round says nothing."""
MOST_STOLEN = 0.05
CARRIED = 0.95
"""A server carries a load where so much of what the provider is to say arrives."""


class Noise(NamedTuple):
    """What the machine did besides, while something was measured."""

    foreign_cores: float
    stolen: float
    awake: bool = True
    """Whether idle cores were kept awake, as was to be tried."""

    @property
    def void(self) -> str:
        """Why what was measured does not count; empty where it does."""
        if self.foreign_cores > MOST_FOREIGN_CORES:
            return f"other processes used {self.foreign_cores:.2f} cores"
        if self.stolen > MOST_STOLEN:
            asleep = "" if self.awake else f"; {REFUSED}"
            return f"other guests took {self.stolen:.0%} of the machine{asleep}"
        return ""


class Line(NamedTuple):
    """A straight line through points."""

    slope: float
    start: float


def line(points: Sequence[tuple[float, float]]) -> Line:
    """Return the line of least squares.

    Raises:
        ValueError: fewer than two places along the way.
    """
    xs, ys = [x for x, _ in points], [y for _, y in points]
    if len(set(xs)) < 2:
        raise ValueError("a line needs two places")
    fit = statistics.linear_regression(xs, ys)
    return Line(fit.slope, fit.intercept)


def median(values: Iterable[float]) -> float | None:
    """Return the median, None of nothing."""
    held = list(values)
    return statistics.median(held) if held else None


def spread(values: Iterable[float]) -> float | None:
    """Return how far the values lie apart, as a share of their median; None of fewer than two."""
    held = list(values)
    if len(held) < 2:
        return None
    middle = statistics.median(held)
    return (max(held) - min(held)) / middle if middle else 0.0


def cheapest(costs: Mapping[int, float]) -> int | None:
    """Return the load at which a token costs least, None where none was carried."""
    return min(costs, key=lambda load: (costs[load], load)) if costs else None


def ratio(ours: Sequence[float | None], theirs: Sequence[float | None]) -> float | None:
    """Return the median of the rounds' ratios: only what was measured side by side is compared."""
    pairs = zip(ours, theirs, strict=True)
    return median(a / b for a, b in pairs if a is not None and b)


def carried(tokens: int, streams: int, per_second: float, seconds: float) -> bool:
    """Whether nearly everything arrived that the provider was to say."""
    return tokens >= CARRIED * streams * per_second * seconds
