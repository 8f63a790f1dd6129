"""What the instances told over a run, reading by reading, and the figures that are made of it."""

import itertools
from typing import NamedTuple

from loadtest.load.scenario import Scenario
from loadtest.load.scrape import HISTOGRAMS, Reading


class Noted(NamedTuple):
    """A reading that was asked for and answered at these seconds of the run."""

    asked_s: float
    told_s: float
    reading: Reading


class Readings:
    """All readings of a run. A strike parts them: counters of who is killed are gone with it."""

    def __init__(self, scenario: Scenario) -> None:
        self._begins_s = scenario.begins_s
        self._ends_s = scenario.ends_s
        self._held: list[Noted] = []
        self._struck_s: float | None = None
        self._survivors: Noted | None = None

    def __len__(self) -> int:
        return len(self._held)

    def note(self, noted: Noted) -> None:
        """Keep one of all instances."""
        self._held.append(noted)

    def strike(self, at_s: float, survivors: Noted | None) -> None:
        """Note when an instance is killed, and what those told right before it that are left."""
        self._struck_s, self._survivors = at_s, survivors

    def forget(self) -> None:
        """Forget everything: it was not always the same ones who told."""
        self._held.clear()

    def figures(self) -> dict[str, float]:
        """Return 95th percentiles of the measured time, by bucket, and what was read."""
        if len(self._held) < 2:
            return {}
        held = self._alike()
        reads = [noted.reading.reads for noted in held if int(noted.told_s) <= self._ends_s]
        found = self._percentiles(held)
        if len(reads) > 1:
            # Of an instance that was killed the count is gone, which takes nothing back.
            grown = (max(0.0, now - then) for then, now in itertools.pairwise(reads))
            found["database_reads"] = sum(grown)
        return found

    def _alike(self) -> list[Noted]:
        """Return the readings of the same instances: from the last strike on, if there was one.

        One that was asked for before it, and answered behind it, may be of all or of some.
        """
        if self._struck_s is None:
            return self._held
        since = [noted for noted in self._held if noted.asked_s >= self._struck_s]
        return since if self._survivors is None else [self._survivors, *since]

    def _percentiles(self, held: list[Noted]) -> dict[str, float]:
        """Return what the histograms tell of the measured time, and a little around it."""
        if not held:
            return {}
        before = [noted for noted in held if noted.told_s <= self._begins_s]
        behind = [noted for noted in held if noted.asked_s >= self._ends_s]
        first, last = (before[-1:] or held)[0].reading, (behind or held[-1:])[0].reading
        found: dict[str, float] = {}
        for name, histogram in HISTOGRAMS.items():
            p95 = last.p95_since(first, histogram)
            if p95 is not None:
                found[f"{name}_p95_ms"] = p95 * 1000
        return found
