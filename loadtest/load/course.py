"""The course of a run, second by second, as all generator processes saw it; and its figures."""

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from loadtest.load.latencies import Counted, merged, percentile_us, percentiles
from loadtest.load.result import Point
from loadtest.load.scenario import Scenario, flat
from loadtest.load.tally import Tick

_SHOWN = ("p50_ms", "p95_ms", "p99_ms", "max_ms")
_SUMS = (
    "interviews", "turns", "answers", "transcripts", "reconnects", "tokens", "requests",
    "gaps", "repeats", "corrupt", "lost", "doubled", "unchecked", "stored", "bank_turns", "resets",
)  # fmt: skip
COMING = frozenset(("arrival", "join", "create", "ticket"))
"""How users come is measured while they come, too."""
_DONE = ("interviews", "answers", "reconnects", "requests", "turns")
"""What is counted as one thing done, for the share of errors."""


class Course:
    """Seconds of a run as they come in."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self.points: list[Point] = []
        self.errors: Counter[str] = Counter()
        self.closes: Counter[str] = Counter()
        self.samples: dict[str, list[str]] = {}
        self._parts: list[list[Counted]] = []

    def add(self, tick: Tick) -> None:
        """Take one second of one process."""
        point = self.at(tick.second)
        _sum(point.counts, tick.counts)
        _sum(point.errors, tick.errors)
        point.connected += tick.connected
        point.streaming += tick.streaming
        point.users += tick.users
        point.generator_cpu += tick.cpu_s
        self.errors.update(tick.errors)
        self.closes.update(tick.closes)
        for kind, told in tick.samples.items():
            self.samples.setdefault(kind, []).extend(told[: 5 - len(self.samples.get(kind, ()))])
        self._parts[tick.second].append(tick.latencies)

    def at(self, second: int) -> Point:
        """Return the point of a second, made where it is new."""
        while len(self.points) <= second:
            self.points.append(Point(second=len(self.points)))
            self._parts.append([])
        return self.points[second]

    def latest_us(self, name: str, share: float, seconds: int = 5) -> int | None:
        """Return a percentile of the last seconds, None where there is nothing."""
        parts = [part for parts in self._parts[-seconds:] for part in parts]
        return percentile_us(parts, name, share)

    @property
    def measured(self) -> list[Point]:
        """The seconds that count: behind the ramp, before the end."""
        return [point for point in self.points if self._scenario.measures(point.second)]

    def judged(self) -> list[Point]:
        """The seconds in which the machine has to be fit: those that a threshold is about."""
        figures = (*flat(self._scenario.at_most), *flat(self._scenario.at_least))
        if COMING.isdisjoint(figure.partition(".")[0] for figure in figures):
            return self.measured
        return [point for point in self.points if point.second < self._scenario.ends_s]

    def late_ms(self, points: Iterable[Point]) -> float:
        """Return how late the generator was in some seconds, at its 99th percentile."""
        parts = [part for point in points for part in self._parts[point.second]]
        return (percentile_us(parts, "lag", 99) or 0) / 1000

    def histograms(self) -> dict[str, Any]:
        """Return the histograms of the measured time, by name."""
        wanted: list[Counted] = []
        for second, parts in enumerate(self._parts):
            if self._scenario.measures(second):
                wanted += parts
            else:
                wanted += ({name: part[name] for name in COMING & part.keys()} for part in parts)
        return merged(wanted) | self._calm()

    def complete(self) -> None:
        """Write each second's percentiles into its point."""
        for point, parts in zip(self.points, self._parts, strict=True):
            for name, held in merged(parts).items():
                told = percentiles(held)
                point.latencies[name] = {key: told[key] for key in (*_SHOWN, "count")}

    def forget_servers(self) -> None:
        """Forget what the servers told of themselves: it was not always the same ones."""
        for point in self.points:
            point.server_cpu = point.server_memory_mb = None
            point.server_files = point.server_tasks = None

    def figures(self) -> dict[str, float]:
        """Return the figures that are no latencies."""
        whole = Counter[str]()
        for point in self.points:
            whole.update(point.counts)
        measured = self.measured or self.points
        seconds = max(1, len(measured))
        errors = float(self.errors.total())
        done = sum(whole[name] for name in _DONE)
        found = {name: float(whole[name]) for name in _SUMS}
        found |= {
            "errors": errors,
            "errors_share": errors / max(1.0, done + errors),
            "snapshots": float(whole["snapshots"]),
            "tokens_per_second": _mean(p.counts.get("tokens", 0) for p in measured),
            "requests_per_second": _mean(p.counts.get("requests", 0) for p in measured),
            "interviews_per_hour": 3600
            * sum(point.counts.get("interviews", 0) for point in measured)
            / seconds,
            "connected": float(min((point.connected for point in measured), default=0)),
            "streaming": _mean(point.streaming for point in measured),
        }
        return found | self._of_server(measured) | self._stall_ratio()

    def _of_server(self, measured: list[Point]) -> dict[str, float]:
        found: dict[str, float] = {}
        cpu = [point.server_cpu for point in measured if point.server_cpu is not None]
        memory = [p.server_memory_mb for p in measured if p.server_memory_mb is not None]
        growing = {
            "memory_growth": memory,
            "files_growth": [p.server_files for p in measured if p.server_files is not None],
            "tasks_growth": [p.server_tasks for p in measured if p.server_tasks is not None],
            "keys_growth": [p.redis_lasting for p in measured if p.redis_lasting is not None],
            "clients_growth": [p.redis_clients for p in measured if p.redis_clients is not None],
        }
        if cpu:
            found["server_cpu"] = statistics.mean(cpu)
            tokens = _mean(point.counts.get("tokens", 0) for point in measured)
            if tokens:
                found["server_cpu_us_per_token"] = 1e6 * found["server_cpu"] / tokens
        if yard := [point.yardstick_us for point in measured if point.yardstick_us is not None]:
            found["yardstick_us"] = statistics.median(yard)
        if memory:
            found["server_memory_mb"] = max(memory)
        if held := [point.redis_keys for point in measured if point.redis_keys is not None]:
            found["redis_keys"] = max(held)
        for name, values in growing.items():
            third = len(values) // 3
            if third:
                middle = statistics.mean(values[third : 2 * third])
                found[name] = statistics.mean(values[2 * third :]) / max(1.0, middle)
        return found

    # --- rounds with and without stalled readers ---

    def _rounds(self) -> Iterator[list[Counted]]:
        """Give the seconds of each whole round, without its first."""
        round_s = self._scenario.stalls.round_s
        begin, number = self._scenario.begins_s, 0
        while round_s and begin + (number + 1) * round_s <= self._scenario.ends_s:
            first = int(begin + number * round_s) + 1
            last = int(begin + (number + 1) * round_s)
            yield [part for parts in self._parts[first:last] for part in parts]
            number += 1

    def _calm(self) -> dict[str, Any]:
        parts = [part for parts in list(self._rounds())[::2] for part in parts]
        return merged([{"calm": part["added"]} for part in parts if "added" in part])

    def _stall_ratio(self) -> dict[str, float]:
        p99s = [percentile_us(parts, "added", 99) for parts in self._rounds()]
        ratios = [
            stalled / max(1, calm)
            for calm, stalled in zip(p99s[::2], p99s[1::2], strict=False)
            if calm is not None and stalled is not None
        ]
        return {"stall_ratio": statistics.median(ratios)} if ratios else {}


def _mean(values: Iterator[int] | Any) -> float:
    held = list(values)
    return statistics.mean(held) if held else 0.0


def _sum(into: dict[str, int], more: dict[str, int]) -> None:
    for name, count in more.items():
        into[name] = into.get(name, 0) + count
