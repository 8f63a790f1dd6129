"""Many instances, clients and faults in virtual time. `VIVA_SIM_SEED` repeats a run."""

import logging
import os
from collections.abc import Generator

import pytest
import structlog

from tests.simulation.story import Story
from tests.support.virtual_time import run_virtual

SEED = int(os.environ.get("VIVA_SIM_SEED", "1"))
RUNS = int(os.environ.get("VIVA_SIM_RUNS", "6"))
INTERVIEWS = 6


@pytest.fixture(autouse=True)
def quiet() -> Generator[None]:
    """Thousands of faults would be logged."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


def _play(seed: int) -> None:
    async def main() -> None:
        report = await Story(seed, INTERVIEWS).run()
        print(f"VIVA_SIM_SEED={seed}: {report}")  # noqa: T201 - pytest shows it where a run fails
        assert report.faults == []
        assert report.turns >= 10 * INTERVIEWS
        assert report.fenced_writes > 100

    run_virtual(main())


@pytest.mark.parametrize("seed", range(SEED, SEED + RUNS))
def test_nothing_is_lost_whatever_fails(seed: int) -> None:
    _play(seed)


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(1000, 1300))
def test_nothing_is_lost_in_many_more_runs(seed: int) -> None:
    _play(seed)
