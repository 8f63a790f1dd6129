"""When parked ratings go, and how many together. All of it is decided here, by fixed rules."""

from collections.abc import Sequence
from typing import NamedTuple

from storage.postgres.batches import Waits

CALLS = 500
"""A full group; the provider takes 50,000 calls."""
BYTES = 8 * 1024 * 1024
"""Of prompts, in one group; the provider takes 200 MB, but one worker has it in its memory."""
FIRST_LOOK_S = 60.0
LAST_LOOK_S = 600.0
"""How long a batch is left alone at most between two looks."""
_HOUR_MS = 3_600_000


class Hours(NamedTuple):
    """The hours of a day of UTC in which batches are sent: from ``first`` until ``until``."""

    first: int
    until: int

    def open(self, now_ms: int) -> bool:
        """Whether batches are sent at this time."""
        hour = now_ms // _HOUR_MS % 24
        if self.first < self.until:
            return self.first <= hour < self.until
        return hour >= self.first or hour < self.until


class Pace(NamedTuple):
    """How long a group waits for more calls, and how big it may get."""

    wait_s: float
    calls: int = CALLS
    size: int = BYTES

    @property
    def look_s(self) -> float:
        """How often it is looked whether there is something to do."""
        return min(15.0, max(0.05, self.wait_s / 4))

    def next_look_s(self, age_s: float) -> float:
        """Return when to look at a batch again that is ``age_s`` old: the older, the later."""
        least = min(FIRST_LOOK_S, max(0.05, self.wait_s / 4))
        return min(LAST_LOOK_S, max(least, age_s / 10))

    def group(self, waiting: Sequence[Waits]) -> Sequence[str]:
        """Return which of the calls that wait, the oldest first, are to be sent together now.

        They are as many as fit, once the group is full or its oldest has waited long enough.
        """
        fitting: list[str] = []
        room = self.size
        for call in waiting[: self.calls]:
            room -= call.size
            if room < 0 and fitting:
                break
            fitting.append(call.request_id)
        full = len(fitting) < len(waiting) or len(fitting) >= self.calls
        return fitting if full or (waiting and waiting[0].age_s >= self.wait_s) else ()
