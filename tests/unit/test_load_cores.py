"""The CPU of a run's own processes, while some come and others go."""

import pytest

from loadtest.load.cores import Spent, others


class Processes:
    """By id: a name, and the seconds used."""

    def __init__(self, **used: float) -> None:
        self.used = dict(enumerate(used.values(), 1))
        self.names = dict(enumerate(used, 1))

    def listing(self) -> dict[int, str]:
        return {pid: self.names[pid] for pid in self.used}

    def cpu_of(self, pid: int) -> float:
        return self.used.get(pid, 0.0)


def test_only_what_was_used_since_counts_by_name() -> None:
    there = Processes(postgres=100.0, valkey=7.0)
    spent = Spent(there.listing, there.cpu_of)
    there.used |= {1: 101.0, 2: 7.5}
    spent.read()
    assert spent.seconds == {"postgres": 1.0, "valkey": 0.5}


def test_who_ends_keeps_what_it_had_used() -> None:
    there = Processes(postgres=100.0, instances=50.0)
    spent = Spent(there.listing, there.cpu_of)
    there.used |= {2: 53.0}
    spent.read()
    del there.used[2]
    spent.read()
    assert spent.seconds["instances"] == 3.0
    there.used[2] = 900.0  # another one that is none of the run's has its id
    spent.read()
    assert spent.seconds["instances"] == 3.0


def test_who_comes_later_counts_whole_from_the_next_listing_on() -> None:
    there = Processes(postgres=100.0)
    spent = Spent(there.listing, there.cpu_of)
    there.used[2], there.names[2] = 0.5, "postgres"
    spent.read()
    assert spent.seconds["postgres"] == 0.0
    there.used |= {2: 2.0}
    spent.read(anew=True)
    there.used |= {2: 2.5}
    spent.read(anew=True)
    assert spent.seconds["postgres"] == 2.5


def test_what_the_host_took_is_no_work_of_others() -> None:
    used = {"machine": 1.9, "instances": 0.7, "generator": 0.4, "viva load": 0.1}
    assert others(used, 0.0) == pytest.approx(0.7)
    assert others(used, 0.5) == pytest.approx(0.2)
    assert others(used, 1.5) == 0.0


def test_where_processes_are_not_known_nothing_is_known_of_others() -> None:
    assert others({"machine": 1.0, "generator": 0.5}, 0.0) is None
    assert others({"instances": 1.0}, 0.0) is None
