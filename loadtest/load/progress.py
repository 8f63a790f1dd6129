"""How far a run is: one line in place on a terminal, plain lines now and then in a pipe."""

import sys
import time

from loadtest.load.course import Course
from loadtest.load.scenario import Scenario

QUIET_S = 10.0


class Progress:
    """Tells on standard error."""

    def __init__(self) -> None:
        self._told_at = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def __call__(self, scenario: Scenario, course: Course) -> None:
        """Tell what the last second brought."""
        now = time.monotonic()
        if self._terminal:
            sys.stderr.write(f"\r\x1b[2K{line(scenario, course)}")
        elif now - self._told_at >= QUIET_S:
            self._told_at = now
            sys.stderr.write(f"{line(scenario, course)}\n")
        sys.stderr.flush()

    def end(self) -> None:
        """Leave the line."""
        if self._terminal:
            sys.stderr.write("\n")


def line(scenario: Scenario, course: Course) -> str:
    """Return the state of a run as a line."""
    second = len(course.points)
    point = course.points[-2] if second > 1 else course.at(0)
    added = course.latest_us("added", 99)
    p99 = f"added p99 {added / 1000:.1f} ms · " if added else ""
    requests = point.counts.get("requests", 0)
    rest = f"{requests:,} requests/s · " if requests else ""
    busy = f" · machine {point.busy:.0%}" if point.busy is not None else ""
    phase = "" if second <= scenario.ends_s else " settling ·"
    return (
        f"{_clock(second)} of {_clock(scenario.ends_s)} ·{phase} {point.users:,} users ·"
        f" {point.connected:,} connected · {point.streaming:,} streaming ·"
        f" {point.counts.get('tokens', 0):,} tokens/s · {p99}{rest}"
        f"{course.errors.total():,} errors{busy}"
    )


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
