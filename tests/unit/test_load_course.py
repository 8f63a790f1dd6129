import time

import msgspec
import pytest

from loadtest.load import machine
from loadtest.load.course import Course
from loadtest.load.latencies import Latencies, percentiles
from loadtest.load.scenario import Bounds, Scenario, Stalls, Users
from loadtest.load.tally import Tick

SCENARIO = Scenario(duration_s=4, users=Users(count=2, ramp_s=2))


def took(**seconds: float) -> dict[str, bytes]:
    latencies = Latencies()
    for name, value in seconds.items():
        latencies.record(name, value)
    return latencies.take()


def tick(second: int, tokens: int = 0, **more: object) -> Tick:
    return Tick(second=second, counts={"tokens": tokens}, **more)  # type: ignore[arg-type]


def test_processes_are_added_up_second_by_second() -> None:
    course = Course(SCENARIO)
    for _ in range(2):
        for second in range(6):
            course.add(tick(second, 100, connected=5, streaming=1, cpu_s=0.1))
    assert len(course.points) == 6
    assert course.points[3].counts["tokens"] == 200
    assert course.points[3].connected == 10
    assert course.points[3].generator_cpu == pytest.approx(0.2)
    assert course.figures()["tokens"] == 1200


def test_only_the_measured_time_counts_for_rates_and_latencies() -> None:
    course = Course(SCENARIO)
    for second, tokens in enumerate((1000, 1000, 10, 10, 10, 10, 1000)):
        slow = second in (0, 1, 6)
        course.add(tick(second, tokens, latencies=took(added=1.0 if slow else 0.01, join=0.3)))
    figures = course.figures()
    assert figures["tokens_per_second"] == 10
    held = course.histograms()
    assert percentiles(held["added"])["max_ms"] == pytest.approx(10, rel=0.01)
    assert held["join"].get_total_count() == 7, "users come before the measured time"


def test_the_yardstick_is_told_for_the_measured_time() -> None:
    course = Course(SCENARIO)
    for second, took_us in enumerate((9e6, 9e6, 400, 500, 900, 600, 9e6)):
        course.add(tick(second))
        course.at(second).yardstick_us = took_us
    assert course.figures()["yardstick_us"] == 550


def test_a_fixed_piece_of_work_takes_time_of_its_own_thread() -> None:
    began = time.thread_time()
    took_s = machine.yardstick() / 1e6
    assert 0 < took_s <= time.thread_time() - began


def test_errors_and_samples_are_kept_by_kind() -> None:
    course = Course(SCENARIO)
    course.add(tick(0, errors={"http 503": 2}))
    course.add(tick(1, errors={"http 503": 1, "gaps": 1}, samples={"gaps": ["missing"] * 9}))
    assert course.errors == {"http 503": 3, "gaps": 1}
    assert course.samples["gaps"] == ["missing"] * 5
    figures = course.figures()
    assert figures["errors"] == 4
    assert figures["errors_share"] == 1.0, "nothing else was done"


def test_what_grows_is_seen() -> None:
    course = Course(Scenario(duration_s=90, users=Users(count=1, ramp_s=0)))
    for second in range(90):
        course.add(tick(second))
        course.at(second).server_memory_mb = 100.0 if second < 60 else 150.0
        course.at(second).server_files = 40.0
        course.at(second).server_tasks = 30.0 if second < 60 else 33.0
        course.at(second).redis_keys, course.at(second).redis_lasting = 1_000 + second, 1_000
    figures = course.figures()
    assert figures["memory_growth"] == pytest.approx(1.5)
    assert figures["files_growth"] == pytest.approx(1.0)
    assert figures["tasks_growth"] == pytest.approx(1.1)
    assert figures["keys_growth"] == pytest.approx(1.0)
    assert figures["redis_keys"] == 1_089
    assert "clients_growth" not in figures, "nobody told"
    assert figures["server_memory_mb"] == 150.0


def test_rounds_with_stalled_readers_are_held_against_those_without() -> None:
    scenario = Scenario(
        duration_s=40, users=Users(count=1, ramp_s=0), stalls=Stalls(share=0.1, round_s=10)
    )
    course = Course(scenario)
    for second in range(40):
        stalled = (second // 10) % 2 == 1
        course.add(tick(second, latencies=took(added=0.03 if stalled else 0.02)))
    assert course.figures()["stall_ratio"] == pytest.approx(1.5, rel=0.01)
    calm = course.histograms()["calm"]
    assert percentiles(calm)["max_ms"] == pytest.approx(20, rel=0.01)


def test_without_rounds_there_is_no_ratio() -> None:
    course = Course(SCENARIO)
    course.add(tick(0))
    assert "stall_ratio" not in course.figures()
    assert "server_cpu" not in course.figures()


@pytest.mark.parametrize(
    ("at_most", "seconds"),
    [({"added": {"p99_ms": 50.0}}, [2, 3, 4, 5]), ({"join": {"p95_ms": 9.0}}, [0, 1, 2, 3, 4, 5])],
)
def test_the_machine_has_to_be_fit_where_a_threshold_looks(
    at_most: Bounds, seconds: list[int]
) -> None:
    course = Course(msgspec.structs.replace(SCENARIO, at_most=at_most))
    for second in range(8):
        course.add(tick(second, latencies=took(lag=0.5 if second == 1 else 0.001)))
    judged = course.judged()
    assert [point.second for point in judged] == seconds
    assert course.late_ms(judged) == pytest.approx(500 if 1 in seconds else 1, rel=0.01)


def test_what_other_servers_told_is_forgotten() -> None:
    course = Course(SCENARIO)
    for second in range(6):
        course.add(tick(second, 100))
        course.at(second).server_cpu, course.at(second).server_memory_mb = 0.5, 90.0
    assert course.figures()["server_cpu"] == 0.5
    course.forget_servers()
    assert course.figures().keys().isdisjoint({"server_cpu", "server_memory_mb", "memory_growth"})
