"""Rounds: the sides in turn, again for each round in which the machine was busy."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from loadtest.bench.findings import Cost, Join
from loadtest.bench.plan import Run

_Reading = TypeVar("_Reading", Cost, Join)


async def in_rounds(
    run: Run,
    into: list[_Reading],
    side: Callable[[str, int, Run], Awaitable[Sequence[_Reading]]],
) -> None:
    """Measure until enough rounds count, or as many were begun as may be."""
    good = 0
    for number in range(1, run.plan.tries + 1):
        readings: list[_Reading] = []
        for name in turned(run.plan.sides, number):
            readings += await side(name, number, run)
        into += readings
        good += not any(reading.void for reading in readings)
        if good >= run.plan.rounds:
            return


def turned(names: Sequence[str], number: int) -> list[str]:
    """Return the sides in another order each round: none has always the same neighbour."""
    place = (number - 1) % max(1, len(names))
    return [*names[place:], *names[:place]]
