import statistics
from itertools import pairwise

from msgspec.structs import replace

from loadtest.load.arrival import arrivals, poisson
from loadtest.load.scenario import Scenario, Users

FIXED = Scenario(users=Users(count=10, ramp_s=5.0))
OPEN = Scenario(duration_s=90.0, users=Users(per_second=20.0, ramp_s=10.0))


def test_a_fixed_number_comes_evenly_over_the_ramp() -> None:
    came = list(arrivals(FIXED))
    assert [one.number for one in came] == list(range(10))
    assert [one.at for one in came] == [0.5 * number for number in range(10)]


def test_processes_share_the_schedule_whatever_their_number() -> None:
    for scenario in (FIXED, OPEN):
        whole = list(arrivals(scenario))
        for workers in (2, 3):
            parts = [one for w in range(workers) for one in arrivals(scenario, w, workers)]
            assert sorted(parts) == whole


def test_the_seed_decides_and_nothing_else_does() -> None:
    assert list(arrivals(OPEN)) == list(arrivals(OPEN))
    assert list(arrivals(OPEN)) != list(arrivals(replace(OPEN, seed=2)))


def test_arrivals_have_their_rate_and_are_not_even() -> None:
    times = [one.at for one in arrivals(OPEN)]
    assert times == sorted(times)
    assert max(times) < OPEN.ends_s
    behind = [at for at in times if at >= 10]
    assert abs(len(behind) / 90 - 20) < 1.5
    gaps = [b - a for a, b in pairwise(behind)]
    spread = statistics.stdev(gaps) / statistics.mean(gaps)
    assert 0.9 < spread < 1.1, "exponential: as wide as its mean"


def test_the_rate_rises_over_the_ramp() -> None:
    times = list(poisson("s", 100.0, 20.0, 20.0))
    early = sum(at < 10 for at in times)
    assert abs(len(times) - 1000) < 120, "half of the full rate on average"
    assert 0.18 < early / len(times) < 0.32, "a quarter comes in the first half"


def test_without_a_ramp_the_full_rate_is_there_at_once() -> None:
    early = sum(at < 5 for at in poisson("s", 100.0, 0.0, 10.0))
    assert abs(early - 500) < 80
