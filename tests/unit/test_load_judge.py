import pytest

from loadtest.load.judge import bounds, verdict, void
from loadtest.load.result import Bound, Point
from loadtest.load.scenario import Machine, Scenario, Users, read

USERS = "[users]\ncount = 1\n"
SCENARIO = read(
    f"{USERS}[at_most]\nerrors = 0\nadded.p99_ms = 50\n[at_least]\ntokens = 10\n", name="x"
)
NEVER = ("gaps", "repeats", "corrupt", "lost", "doubled")
GOOD = {"errors": 0.0, "tokens": 10.0, **dict.fromkeys(NEVER, 0.0)}
FAST = {"added": {"p99_ms": 50.0}}


def judged(figures: dict[str, float], latencies: dict[str, dict[str, float]]) -> dict[str, bool]:
    return {bound.figure: bound.held for bound in bounds(SCENARIO, figures, latencies)}


def test_a_bound_holds_up_to_its_value() -> None:
    named = {"errors": True, "added.p99_ms": True, "tokens": True}
    assert judged(GOOD, FAST) == named | dict.fromkeys(NEVER, True)


@pytest.mark.parametrize("figure", NEVER)
def test_what_must_never_happen_needs_no_bound_to_break(figure: str) -> None:
    scenario = read(USERS, name="x")
    judged = bounds(scenario, {**GOOD, figure: 1.0}, {})
    assert [bound.figure for bound in judged if not bound.held] == [figure]
    assert verdict(["the machine was busy"], judged) == "broken"
    allowed = read(f"{USERS}[at_most]\n{figure} = 1\n", name="x")
    assert all(bound.held for bound in bounds(allowed, {**GOOD, figure: 1.0}, {}))


@pytest.mark.parametrize(
    ("figures", "latencies", "broken"),
    [
        ({**GOOD, "errors": 1.0}, FAST, "errors"),
        ({**GOOD, "tokens": 9.0}, FAST, "tokens"),
        (GOOD, {"added": {"p99_ms": 50.1}}, "added.p99_ms"),
        (GOOD, {}, "added.p99_ms"),
        ({name: GOOD[name] for name in GOOD if name != "tokens"}, FAST, "tokens"),
    ],
)
def test_a_bound_breaks_beyond_it_and_where_nothing_was_measured(
    figures: dict[str, float], latencies: dict[str, dict[str, float]], broken: str
) -> None:
    found = judged(figures, latencies)
    assert [figure for figure, held in found.items() if not held] == [broken]


def points(*busy: float, stolen: float = 0.0) -> list[Point]:
    return [Point(second=n, busy=share, stolen=stolen) for n, share in enumerate(busy)]


def test_a_busy_machine_voids_a_run_and_a_busy_second_does_not() -> None:
    machine = Machine()
    assert list(void(machine, points(*[0.5] * 30, 1.0, *[0.5] * 30))) == []
    (reason,) = void(machine, points(*[0.5] * 30, *[0.95] * 10, *[0.5] * 30), others=1.2)
    assert "95% busy" in reason
    assert "1.2 cores of it" in reason


def test_stolen_time_and_a_late_generator_void_it() -> None:
    (stolen,) = void(Machine(), points(*[0.5] * 10, stolen=0.05))
    assert stolen.endswith("took 5.0% of its CPU away")
    (slept,) = void(Machine(), points(*[0.5] * 10, stolen=0.05), awake=False)
    assert slept.endswith("; this run could not keep idle cores awake (/dev/cpu_dma_latency)")
    (chosen,) = void(Machine(awake=False), points(*[0.5] * 10, stolen=0.05), awake=False)
    assert chosen.endswith("took 5.0% of its CPU away")
    (late,) = void(Machine(), points(0.5), 250.0)
    assert "250 ms late" in late


def test_a_fake_provider_at_its_limit_voids_it() -> None:
    (full,) = void(Machine(), points(0.5), provider=0.97)
    assert "used 0.97 of it" in full
    assert not list(void(Machine(), points(0.5), provider=0.5))


def test_what_is_not_known_of_the_machine_voids_nothing() -> None:
    assert list(void(Machine(), [Point(second=0)])) == []


def bound(figure: str, *, held: bool) -> Bound:
    return Bound(figure=figure, at_most=True, bound=0, found=1, held=held)


def test_the_verdict() -> None:
    good, slow, lost = bound("x", held=True), bound("x", held=False), bound("lost", held=False)
    assert verdict([], [good]) == "held"
    assert verdict([], [good, slow]) == "broken"
    assert verdict(["busy"], [good]) == "void"
    assert verdict(["busy"], [slow]) == "void", "a slow machine makes it slow"
    assert verdict(["busy"], [lost]) == "broken", "no machine is so busy that answers may be lost"


def test_a_scenario_has_a_time_that_is_measured() -> None:
    scenario = Scenario(duration_s=10, users=Users(count=1, ramp_s=5))
    assert (scenario.begins_s, scenario.ends_s) == (5, 15)
