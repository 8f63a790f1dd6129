"""When users come: drawn from the seed alone, whatever the server does (open loop).

Every generator process draws the whole schedule and takes its own part of it, so that the same
seed has the same users come at the same times, by however many processes.
"""

import random
from collections.abc import Iterator
from typing import NamedTuple

from loadtest.load.scenario import Scenario


class Arrival(NamedTuple):
    """User ``number`` comes ``at`` seconds after the beginning."""

    number: int
    at: float


def arrivals(scenario: Scenario, worker: int = 0, workers: int = 1) -> Iterator[Arrival]:
    """Give the arrivals of one of ``workers`` processes, in order."""
    users = scenario.users
    if users.count:
        for number in range(worker, users.count, workers):
            yield Arrival(number, users.ramp_s * number / users.count)
    elif users.per_second:
        due = poisson(f"{scenario.seed} arrivals", users.per_second, users.ramp_s, scenario.ends_s)
        for number, at in enumerate(due):
            if number % workers == worker:
                yield Arrival(number, at)


def poisson(seed: str, per_second: float, ramp_s: float, until_s: float) -> Iterator[float]:
    """Give the times of a Poisson process whose rate rises to ``per_second`` over ``ramp_s``.

    Unit-rate arrivals are mapped by the inverse of the cumulative rate: rate · t² / 2r within the
    ramp r, rate · (t - r / 2) behind it.
    """
    draw = random.Random(seed)
    expected, at_ramp = 0.0, per_second * ramp_s / 2
    while True:
        expected += draw.expovariate(1.0)
        if expected < at_ramp:
            at = (2 * ramp_s * expected / per_second) ** 0.5
        else:
            at = expected / per_second + ramp_s / 2
        if at >= until_s:
            return
        yield at
