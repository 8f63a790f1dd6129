import re
from collections import deque
from pathlib import Path

import msgspec
import pytest

from loadtest.load import charts, knee
from loadtest.load.charts import Chart, drawn
from loadtest.load.compare import differences, rows, told
from loadtest.load.course import Course
from loadtest.load.page import page
from loadtest.load.progress import line
from loadtest.load.result import Bound, Point, Result, ResultError, Step, Verdict, read, write
from loadtest.load.scenario import Knee, Scenario, Users, changed
from loadtest.load.summary import told as summary
from loadtest.load.tally import Tick

FIGURES = {
    "errors": 3.0, "interviews": 2.0, "answers": 4.0, "turns": 9.0, "reconnects": 1.0,
    "transcripts": 2.0, "tokens_per_second": 120.0, "requests_per_second": 5.0, "streaming": 4.0,
    "connected": 2.0, "server_cpu": 0.5,
}  # fmt: skip
ADDED = {"p50_ms": 3.0, "p90_ms": 5.0, "p95_ms": 6.0, "p99_ms": 9.0, "max_ms": 12.0, "count": 99.0}


def result(verdict: Verdict = "broken", users: int = 2, **changes: object) -> Result:
    made = Result(
        name="mine",
        scenario=Scenario(duration_s=3, users=Users(count=users, ramp_s=1)),
        started_at=1_795_000_000.0,
        target="own servers",
        verdict=verdict,
        figures=dict(FIGURES),
        latencies={"added": dict(ADDED)},
        bounds=[Bound(figure="errors", at_most=True, bound=0, found=3, held=False)],
        errors={"http 503": 3},
        samples={"http 503": ["<script>alert(1)</script>"]},
        points=[
            Point(second=n, counts={"tokens": 100 + n}, connected=2, errors={"http 503": 1},
                  latencies={"added": ADDED}, server_cpu=0.5, server_memory_mb=90.0, busy=0.4)
            for n in range(5)
        ],
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def test_the_page_stands_alone_and_shows_every_chart() -> None:
    text = page(result())
    assert text.count("<svg width") >= 7
    for part in ("A threshold broke", "http 503", "errors", "mine", "own servers"):
        assert part in text
    assert "<script" not in text
    assert not re.search(r"(?:src|href)=", text)


def test_a_void_run_says_so() -> None:
    text = page(result("void", void=["the machine was busy"]))
    assert "says nothing about the server" in text
    assert "the machine was busy" in text
    assert "void    the machine was busy" in summary(result("void", void=["the machine was busy"]))


def test_the_summary_names_what_broke() -> None:
    text = summary(result())
    assert "BROKEN  errors was 3, at most 0 is allowed" in text
    assert "3 of http 503" in text


def test_a_line_is_broken_where_nothing_is_known() -> None:
    chart = drawn(Chart(series={"x": [1.0, 2.0, None, 4.0]}, measured=(1.0, 3.0)))
    assert chart.count("<polyline") == 2
    assert chart.count("<rect") == 2
    assert "Nothing was measured" in drawn(Chart(series={"x": [None]}))


@pytest.mark.parametrize("logarithmic", [False, True])
def test_lines_stay_within_the_chart(logarithmic: bool) -> None:  # noqa: FBT001
    values = [0.0, 0.004, 3.0, 1234.5]
    chart = drawn(Chart(series={"x": values}, logarithmic=logarithmic))
    (points,) = re.findall(r'points="([^"]+)"', chart)
    heights = [float(point.split(",")[1]) for point in points.split()]
    assert all(0 <= height <= 1 for height in heights)
    assert heights == sorted(heights, reverse=True)
    assert charts.HEIGHT > 100


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    write(result(), path)
    assert read(path) == result()


@pytest.mark.parametrize("text", ["{}", "no JSON", '{"version": 1'])
def test_what_is_no_result_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(ResultError, match="is no result of viva load"):
        read(path)
    with pytest.raises(ResultError, match="cannot be read"):
        read(tmp_path / "absent.json")


def test_a_comparison_tells_better_from_worse() -> None:
    faster = {"added": {**ADDED, "p99_ms": 4.0, "count": 1000.0}}
    b = result(latencies=faster, figures={**FIGURES, "tokens_per_second": 60.0, "errors": 3.0})
    a = result(latencies={"added": {**ADDED, "count": 2000.0}})
    words = {row.figure: row.told for row in rows(a, b)}
    assert words["added.p99_ms"] == "better"
    assert words["tokens_per_second"] == "worse"
    assert words["errors"] == words["added.p50_ms"] == ""
    assert "added.p99_ms" in told(result(), b)


def test_what_cannot_be_compared_is_named() -> None:
    found = list(differences(result(), result("void", users=9, void=["busy"])))
    assert found == ["the scenarios differ in users", "B is void: busy"]
    assert list(differences(result(), result())) == []
    kept, slept, old = (result(awake=awake) for awake in (True, False, None))
    assert list(differences(slept, kept)) == ["B alone kept idle cores awake"]
    assert list(differences(kept, slept)) == ["A alone kept idle cores awake"]
    assert list(differences(kept, old)) == []


def test_idle_cores_that_were_kept_awake_are_told_of() -> None:
    for made in (page, summary):
        told_of = {awake: "kept awake" in made(result(awake=awake)) for awake in (True, False)}
        assert told_of == {True: True, False: False}


def test_progress_is_one_line() -> None:
    course = Course(Scenario(duration_s=60, users=Users(count=2, ramp_s=5)))
    for second in range(3):
        course.add(Tick(second=second, counts={"tokens": 7}, connected=2, users=2))
    text = line(Scenario(duration_s=60, users=Users(count=2, ramp_s=5)), course)
    assert "\n" not in text
    assert text.startswith("0:03 of 1:05 · 2 users · 2 connected")


# --- the knee ---


async def climbed(held: list[bool], told: Knee) -> tuple[Result, list[float]]:
    answers = deque(held)

    async def attempt(scenario: Scenario) -> Result:
        verdict: Verdict = "held" if answers.popleft() else "broken"
        return result(verdict, users=scenario.users.count)

    scenario = Scenario(users=Users(count=1))
    best, steps = await knee.climb(scenario, told, attempt)
    assert not answers, "every step was made"
    return best, [step.load for step in steps]


@pytest.mark.anyio
async def test_loads_grow_until_one_breaks_and_the_gap_is_halved() -> None:
    told = Knee(start=100, factor=2, steps=9, finer=2)
    best, loads = await climbed([True, True, False, True, False], told)
    assert loads == [100, 200, 400, 300, 350]
    assert (best.verdict, best.scenario.users.count) == ("held", 300)


@pytest.mark.anyio
async def test_where_nothing_breaks_the_steps_end() -> None:
    best, loads = await climbed([True, True, True], Knee(start=10, factor=1.5, steps=3))
    assert loads == [10, 15, 22.5]
    assert best.scenario.users.count == 22


@pytest.mark.anyio
async def test_where_the_first_breaks_it_is_shown_as_broken() -> None:
    best, loads = await climbed([False], Knee(start=10, factor=2, steps=9))
    assert (loads, best.verdict) == ([10], "broken")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("verdicts", "loads", "highest"),
    [
        (["held", "void", "held", "broken"], [10, 20, 20, 40], 20),
        (["held", "void", "void"], [10, 20, 20], 10),
        (["held", "broken"], [10, 20], 10),
    ],
)
async def test_a_step_that_is_void_is_made_once_more(
    verdicts: list[Verdict], loads: list[float], highest: float
) -> None:
    answers = deque(verdicts)

    async def attempt(scenario: Scenario) -> Result:
        return result(answers.popleft(), users=scenario.users.count)

    told = Knee(start=10, factor=2, steps=9, finer=0)
    best, steps = await knee.climb(Scenario(users=Users(count=1)), told, attempt)
    assert not answers
    assert [step.load for step in steps] == loads
    assert knee.highest(steps) == best.scenario.users.count == highest
    assert f"knee    {highest:g} users hold" in summary(msgspec.structs.replace(best, steps=steps))


@pytest.mark.anyio
async def test_what_must_never_happen_ends_the_climb_and_is_what_it_comes_to() -> None:
    answers: deque[tuple[Verdict, str]] = deque(
        [("held", ""), ("broken", "errors"), ("broken", "gaps"), ("held", "")]
    )

    async def attempt(scenario: Scenario) -> Result:
        verdict, figure = answers.popleft()
        bound = Bound(figure=figure, at_most=True, bound=0, found=1, held=False)
        users = scenario.users.count
        return result(verdict, users=users, bounds=[bound] if figure else [])

    told = Knee(start=100, factor=2, steps=9, finer=2)
    worst, steps = await knee.climb(Scenario(users=Users(count=1)), told, attempt)
    assert [step.load for step in steps] == [100, 200, 150]
    assert (worst.verdict, worst.scenario.users.count) == ("broken", 150)
    climbed = msgspec.structs.replace(worst, steps=steps)
    assert "knee    not found: what must never happen did with 150 users: gaps" in summary(climbed)
    assert "this page shows the run in which it did" in page(climbed)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("verdicts", "told"),
    [
        (
            ["held", "void", "void"],
            "knee    100 users hold; of 200 nothing is known: the run was void",
        ),
        (["held", "void", "void", "broken"], "knee    100 users hold, 150 do not; of 200 nothing"),
        (["void", "void"], "knee    not known: all was void with 100 users"),
    ],
)
async def test_of_a_load_that_was_void_twice_nothing_is_known(
    verdicts: list[Verdict], told: str
) -> None:
    answers = deque(verdicts)

    async def attempt(scenario: Scenario) -> Result:
        return result(answers.popleft(), users=scenario.users.count)

    climb = Knee(start=100, factor=2, steps=3, finer=len(verdicts) - 3 if "held" in verdicts else 0)
    best, steps = await knee.climb(Scenario(users=Users(count=1)), climb, attempt)
    assert not answers
    text = summary(msgspec.structs.replace(best, steps=steps))
    assert told in text
    assert text.count("do not") == verdicts.count("broken")


def test_knees_are_compared() -> None:
    def found(*held: float) -> Result:
        steps = [Step(load=load, verdict="held", figures={}, broken=[]) for load in held]
        return result(steps=steps)

    row = next(iter(rows(found(100, 150), found(100, 150, 225))))
    assert (row.figure, row.a, row.b, row.told) == ("knee", 150, 225, "better")


def test_what_is_set_aside_is_told_with_its_reason() -> None:
    aside = Bound(
        figure="added.p99_ms", at_most=True, bound=50, found=None, held=True, aside="<no> stamps"
    )
    other = msgspec.structs.replace(aside, figure="added.p50_ms")
    held = result("held", bounds=[aside, other])
    text = summary(held)
    assert "every threshold held, but for those set aside" in text
    assert "aside   added.p99_ms, added.p50_ms: <no> stamps" in text
    shown = page(held)
    assert shown.count("set aside</span> <small>&lt;no&gt; stamps") == 2
    assert "Every threshold held, but for those set aside" in shown
    assert "set aside" not in summary(result("held")) + page(result("held"))


def test_that_nobody_told_of_the_instances_is_said() -> None:
    silent = result(no_metrics="<several> answer")
    assert "no CPU or memory of the instances: <several> answer" in summary(silent)
    assert "no CPU or memory: &lt;several&gt; answer." in page(silent)
    assert "CPU or memory" not in summary(result()) + page(result())


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("held", "told"),
    [
        ([True, False, False, True], "knee    125 users hold, 150 do not"),
        ([True, True, True], "knee    not reached: 400 users hold, more were not tried"),
        ([False], "knee    below 100 users: the first step did not hold"),
    ],
)
async def test_the_knee_is_told(held: list[bool], told: str) -> None:
    answers = deque(held)

    async def attempt(scenario: Scenario) -> Result:
        return result("held" if answers.popleft() else "broken", users=scenario.users.count)

    climb = Knee(start=100, factor=2, steps=3, finer=2)
    best, steps = await knee.climb(Scenario(users=Users(count=1)), climb, attempt)
    text = summary(msgspec.structs.replace(best, steps=steps))
    assert told in text
    assert text.count("  step  ") == len(held)


def test_a_percentile_of_few_is_neither_better_nor_worse() -> None:
    few = {"added": {**ADDED, "p50_ms": 99.0, "p99_ms": 99.0, "count": 999.0}}
    many = {"added": {**ADDED, "count": 10_000.0}}
    words = {row.figure: row.told for row in rows(result(latencies=many), result(latencies=few))}
    assert (words["added.p50_ms"], words["added.p99_ms"]) == ("worse", "")


def test_slower_cores_are_told_and_are_no_fault_of_the_server() -> None:
    slow = result(figures={**FIGURES, "yardstick_us": 300.0})
    fast = result(figures={**FIGURES, "yardstick_us": 200.0})
    assert list(differences(fast, slow)) == [
        "the cores were 1.50 times as slow in B, by yardstick_us"
    ]
    assert {row.told for row in rows(fast, slow)} == {""}
    assert not list(differences(fast, fast))


def test_what_may_be_a_secret_is_not_kept(tmp_path: Path) -> None:
    settings = {
        "OPENAI_API_KEY": "sk-1",
        "REDIS_URL": "redis://:sk-2@127.0.0.1",
        "VIVA_JWT_SECRET": "sk-3",
        "VIVA_MODEL": "small",
    }
    run = result()
    run.scenario = changed(run.scenario, "server", settings=settings)
    write(run, tmp_path / "r.json")
    assert b"sk-" not in (tmp_path / "r.json").read_bytes()
    assert read(tmp_path / "r.json").scenario.server.settings["VIVA_MODEL"] == "small"
    assert run.scenario.server.settings == settings, "the run goes on with them"
