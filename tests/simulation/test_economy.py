"""What an hour of interviews costs: calls saved, nobody asked twice, a ledger that agrees."""

import logging
from collections.abc import Generator

import pytest
import structlog

from tests.simulation.hour import CALLS, Hour, Outcome, told
from tests.support.virtual_time import run_virtual

CENT = 10_000
"""In millionths of a US dollar."""


@pytest.fixture(autouse=True)
def quiet() -> Generator[None]:
    """Every tenth call fails, and would be logged."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


def play(seed: int, interviews: int, *, cached: bool = True) -> Outcome:
    outcome = run_virtual(Hour(seed, interviews, cached=cached).run())
    print(told(outcome, "shared" if cached else "each by itself"))  # noqa: T201 - the figures
    assert outcome.interviews == interviews
    assert outcome.repeated == 0
    assert outcome.faulty > outcome.rows * 0.08
    assert outcome.most_at_once <= CALLS
    assert max(outcome.costs.values()) <= 10 * CENT
    assert outcome.exact == outcome.told > 0, "what was told is booked to the micro-dollar"
    assert 0 < outcome.estimates < outcome.rows * 0.1
    assert abs(sum(outcome.costs.values()) - outcome.bills) < CENT
    return outcome


def test_a_few_minutes_of_it() -> None:
    outcome = play(1, 40)
    assert outcome.calls < 0.65 * outcome.questions, "little is shared yet among so few"


@pytest.mark.torture
def test_an_hour_of_five_hundred() -> None:
    shared, apart = play(7, 500), play(7, 500, cached=False)
    assert shared.calls <= 0.4 * shared.questions, "60 % are saved"
    assert apart.calls > apart.questions
    assert sum(shared.costs.values()) < sum(apart.costs.values())
