"""Which readings of the instances a figure is made of."""

import pytest

from loadtest.load.readings import Noted, Readings
from loadtest.load.scenario import Scenario, Users
from loadtest.load.scrape import Reading

SCENARIO = Scenario(duration_s=20, users=Users(count=1, ramp_s=10))
"""Measured from second 10 to second 30."""
FAST, SLOW = "0.01", "0.5"


def reading(reads: float = 0.0, fast: float = 0.0, slow: float = 0.0) -> Reading:
    edges = {FAST: fast, SLOW: fast + slow, "+Inf": fast + slow}
    return Reading(reads=reads, answered=1, edges={"viva_database_seconds": edges})


def noted(at_s: float, told: Reading, took_s: float = 0.1) -> Noted:
    return Noted(at_s, at_s + took_s, told)


def figures(
    *held: Noted, struck_s: float = 0.0, survivors: Noted | None = None
) -> dict[str, float]:
    readings = Readings(SCENARIO)
    for one in held:
        if struck_s and one.told_s > struck_s:
            readings.strike(struck_s, survivors)
        readings.note(one)
    return readings.figures()


def test_one_reading_says_nothing() -> None:
    assert figures(noted(2, reading(5))) == {}


def test_percentiles_are_those_of_the_measured_time_and_a_little_around_it() -> None:
    ramp, settling = reading(slow=50), reading(slow=150, fast=100)
    within = (noted(8, ramp), noted(12, reading(slow=50, fast=50)), noted(31, reading(0, 100, 50)))
    assert figures(noted(2, reading()), *within, noted(40, settling))["database_p95_ms"] == 10
    wider = (noted(2, reading()), noted(9.95, ramp), noted(29.95, ramp), noted(31, settling))
    assert figures(*wider)["database_p95_ms"] == 500, "one on the edge is not yet around it"


def test_where_nobody_was_asked_around_the_measured_time_the_outermost_count() -> None:
    assert figures(noted(11, reading(slow=9)), noted(29, reading(0, 50, 9)))[
        "database_p95_ms"
    ] == pytest.approx(10)


def test_what_is_read_in_the_run_counts_without_a_strike() -> None:
    told = (noted(2, reading(100)), noted(12, reading(103)), noted(40, reading(900)))
    assert figures(*told)["database_reads"] == 3


def test_what_is_read_counts_from_what_the_survivors_told_before_the_kill() -> None:
    told = (noted(14, reading(1_000)), noted(16, reading(450)), noted(18, reading(460)))
    survivors = noted(14.9, reading(400))
    assert figures(*told, struck_s=15, survivors=survivors)["database_reads"] == 60


@pytest.mark.parametrize("survivors", [noted(14.9, reading(400)), None])
def test_a_reading_that_was_asked_for_before_a_kill_counts_for_nothing_behind_it(
    survivors: Noted | None,
) -> None:
    both = noted(14.8, reading(1_000), took_s=0.5)
    told = (noted(12, reading(990)), both, noted(16, reading(450)), noted(18, reading(460)))
    found = figures(*told, struck_s=15, survivors=survivors)["database_reads"]
    assert found == (60 if survivors else 10)


def test_behind_a_strike_percentiles_are_those_of_who_is_left() -> None:
    before = (noted(8, reading(slow=900)), noted(14, reading(slow=950)))
    since = (noted(16, reading(0, 60, 50)), noted(31, reading(0, 90, 50)))
    survivors = noted(14.9, reading(slow=50))
    found = figures(*before, *since, struck_s=15, survivors=survivors)
    assert found["database_p95_ms"] == 10


def test_a_strike_that_nobody_tells_of_leaves_no_figure() -> None:
    told = (noted(2, reading(1)), noted(4, reading(2)), noted(14.99, reading(3)))
    assert figures(*told, struck_s=15) == {}
