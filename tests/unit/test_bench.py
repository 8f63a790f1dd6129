import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from loadtest.awake import REFUSED
from loadtest.bench import arithmetic, drawing, gauge, page, summary
from loadtest.bench import findings as f
from loadtest.bench.arithmetic import Noise
from loadtest.bench.findings import Cost, Join, Part
from loadtest.bench.gauge import Meter
from loadtest.bench.listeners import Place
from loadtest.bench.plan import Plan, Run
from loadtest.bench.rounds import in_rounds
from loadtest.bench.servers.floor import frame
from loadtest.bench.sides import Ground, Side
from server.frames import frame as frame_of_viva
from tests.support.bench import cost, found, held

BUSY = "other processes used 1.20 cores"


# --- arithmetic ---


def test_a_line_goes_through_what_lies_on_it() -> None:
    line = arithmetic.line([(100.0, 5_000.0), (300.0, 9_000.0), (500.0, 13_000.0)])
    assert line.slope == pytest.approx(20.0)
    assert line.start == pytest.approx(3_000.0)


def test_one_place_makes_no_line() -> None:
    with pytest.raises(ValueError, match="two places"):
        arithmetic.line([(100.0, 1.0), (100.0, 2.0)])


def test_a_ratio_is_the_median_of_the_rounds_and_not_that_of_the_medians() -> None:
    ours, theirs = [10.0, 20.0, 60.0], [100.0, 400.0, 120.0]
    assert arithmetic.ratio(ours, theirs) == pytest.approx(0.1)
    assert arithmetic.ratio([None, 20.0], [100.0, 40.0]) == pytest.approx(0.5)
    assert arithmetic.ratio([], []) is None


def test_the_spread_is_a_share_of_the_median() -> None:
    assert arithmetic.spread([90.0, 100.0, 110.0]) == pytest.approx(0.2)
    assert arithmetic.spread([90.0]) is arithmetic.spread([]) is None


@pytest.mark.parametrize(
    ("noise", "why"),
    [
        (Noise(0.1, 0.0), ""),
        (Noise(1.2, 0.0), BUSY),
        (Noise(0.0, 0.2), "other guests took 20% of the machine"),
        (Noise(0.0, 0.2, awake=False), f"other guests took 20% of the machine; {REFUSED}"),
        (Noise(0.0, 0.0, awake=False), ""),
    ],
)
def test_a_busy_machine_makes_a_reading_void(noise: Noise, why: str) -> None:
    assert noise.void == why


def test_what_hardly_arrives_is_not_carried() -> None:
    assert arithmetic.carried(2_900, 50, 30.0, 2.0)
    assert not arithmetic.carried(2_800, 50, 30.0, 2.0)


# --- rounds ---


async def measured(plan: Plan, busy: set[int]) -> list[Cost]:
    """Measure where other processes work in the rounds ``busy``."""
    run = Run(
        plan=plan,
        ground=Ground(directory=Path(), urls={}),
        found=found(),
        tell=lambda _: None,
    )

    async def side(name: str, number: int, _: Run) -> list[Cost]:
        return [cost(name, number, 50.0, void=BUSY if number in busy and name == "viva" else "")]

    await in_rounds(run, run.found.relay, side)
    return run.found.relay


@pytest.mark.anyio
async def test_a_void_round_is_made_up_for() -> None:
    plan = Plan(sides=("floor", "viva"), rounds=2, spare=3)
    costs = await measured(plan, {1})
    assert [(each.side, each.round) for each in costs] == [
        ("floor", 1), ("viva", 1), ("viva", 2), ("floor", 2), ("floor", 3), ("viva", 3),
    ]  # fmt: skip
    assert f.rounds_of(costs)[0] == {2, 3}


@pytest.mark.anyio
async def test_there_is_an_end_to_it_where_the_machine_stays_busy() -> None:
    costs = await measured(Plan(sides=("viva",), rounds=2, spare=1), {1, 2, 3, 4, 5})
    assert [each.round for each in costs] == [1, 2, 3]


# --- what is made of a run ---


def test_one_void_reading_spoils_its_round_for_all() -> None:
    costs = [
        cost("viva", 1, 500.0, void=BUSY), cost("fastapi", 1, 300.0),
        cost("viva", 2, 50.0), cost("fastapi", 2, 300.0),
    ]  # fmt: skip
    assert f.rounds_of(costs) == ({2}, {1: BUSY})
    assert f.countable(costs) == costs[2:]


def test_where_no_round_counts_there_are_figures_and_a_warning() -> None:
    run = found(relay=[cost("viva", 1, 50.0, void=BUSY), cost("fastapi", 1, 300.0)])
    assert f.short(run) == {"relay": (0, 1)}
    told = summary.told(run)
    assert "VOID" in told
    assert "50.0 µs" in told


def test_fewer_rounds_than_were_asked_for_are_too_few() -> None:
    rounds = [cost("viva", 1, 50.0, void=BUSY), cost("viva", 2, 50.0), cost("viva", 3, 50.0)]
    assert f.short(found(relay=rounds, asked={"relay": 3})) == {"relay": (2, 3)}
    assert not f.short(found(relay=rounds, asked={"relay": 2, "peak": 2}))
    assert "relay: 2 of 3 rounds count" in summary.told(found(relay=rounds, asked={"relay": 3}))
    whole = f.merged([found(relay=rounds, asked={"relay": 3}), found(asked={"parts": 1})])
    assert f.short(whole) == {"relay": (2, 3)}


def test_cores_count_as_kept_awake_where_they_were_for_all_that_is_shown() -> None:
    kept, slept = (found(relay=[cost("viva", 1, 50.0)], awake=awake) for awake in (True, False))
    assert f.merged([slept, kept]).awake
    assert not f.merged([kept, slept]).awake
    assert f.merged([found(), kept]).awake
    assert not f.merged([found()]).awake
    assert "kept awake" in summary.told(kept)
    assert "kept awake" not in summary.told(slept)


def test_what_went_wrong_in_readings_that_are_shown_no_more_is_told_no_more() -> None:
    rounds = [cost("viva", 1, 50.0)]
    old, new = found(relay=rounds, wrong={"viva: gap": 2}), found(relay=rounds)
    assert f.merged([old, new]).wrong == {}
    assert f.merged([new, old]).wrong == {"viva: gap": 2}


def test_each_side_is_taken_at_its_own_best_load() -> None:
    costs = [
        *(cost("viva", number, us, 25) for number, us in ((1, 90.0), (2, 80.0))),
        *(cost("viva", number, us, 100) for number, us in ((1, 50.0), (2, 60.0))),
        *(cost("fastapi", number, us, 25) for number, us in ((1, 300.0), (2, 320.0))),
        cost("fastapi", 1, 200.0, 50),
        cost("fastapi", 2, 100.0, 50, carried=False),
    ]
    ours, peer = f.best(costs, "viva"), f.best(costs, "fastapi")
    assert ours is not None
    assert peer is not None
    assert (ours.streams, ours.us) == (100, {"server": 55.0, "redis": 27.5})
    assert peer.streams == 25  # what broke down in one round is no load that it carries
    assert f.ratio(ours, peer) == pytest.approx((50 / 300 + 60 / 320) / 2)
    assert f.best(costs, "pipecat") is None


def test_a_load_that_broke_down_rules_out_those_that_were_not_tried_behind_it() -> None:
    costs = [
        *(cost("viva", 1, 90.0, 25), cost("viva", 1, 60.0, 50), cost("viva", 1, 40.0, 75)),
        *(cost("viva", 2, 80.0, 25), cost("viva", 2, 70.0, 50, carried=False)),
        *(cost("viva", 3, 70.0, 25), cost("viva", 3, 50.0, 50), cost("viva", 3, 30.0, 75)),
    ]
    chosen = f.best(costs, "viva")
    assert chosen is not None
    assert (chosen.streams, len(chosen.by_round)) == (25, 3)
    busy = [msgspec.structs.replace(each, void=BUSY * (each.round == 2)) for each in costs]
    freed = f.best(busy, "viva")
    assert freed is not None
    assert (freed.streams, len(freed.by_round)) == (75, 2)


def test_one_round_has_no_spread() -> None:
    rounds = [cost("viva", 1, 50.0), cost("viva", 2, 60.0)]
    assert "±" in summary.told(found(relay=rounds))
    assert "±" not in summary.told(found(relay=rounds[:1]))


def test_memory_is_a_slope_so_that_what_a_server_holds_anyhow_does_not_count() -> None:
    points = [
        *(held(count, 10_000_000 + 24_000 * count) for count in (100, 300, 500)),
        *(held(count, 90_000_000 + 26_000 * count, number=2) for count in (100, 300, 500)),
        held(100, 7, streaming=True),
    ]
    slope = f.per_interview(points, "viva", streaming=False)
    assert slope["rss"] == pytest.approx(25_000)
    assert slope["uss"] == pytest.approx(12_500)
    assert f.per_interview(points, "viva", streaming=True) == {}


def test_the_summary_has_ratios_both_ways_round() -> None:
    run = found(
        relay=[cost("floor", 1, 25.0), cost("viva", 1, 50.0), cost("fastapi", 1, 400.0)],
        joins=[Join(side="viva", round=1, what="join", count=9, us={"server": 700.0})],
        memory=[held(100, 2_500_000), held(200, 5_000_000)],
        growth=[cost("viva", 1, 50.0, 100), cost("viva", 1, 55.0, 1_000)],
        parts=[Part(group="redis", name="one append", us=100.0, redis_us=20.0)],
        wrong={"viva: gap": 2},
    )
    told = summary.told(run)
    assert "viva to floor: 2.00" in told
    assert "viva to fastapi: 0.12, or 1/8.0" in told
    assert "25.0 KB" in told
    assert "50.0 with 100, 55.0 with 1,000" in told
    assert "one append: 100.00 µs, Redis 20.00" in told
    assert "2 of viva: gap" in told
    assert not f.short(run)


def test_a_number_of_interviews_that_broke_down_in_one_round_is_none_that_a_side_carries() -> None:
    run = found(
        growth=[
            cost("viva", 1, 50.0, 100), cost("viva", 1, 70.0, 1_000),
            cost("viva", 2, 60.0, 100), cost("viva", 2, 20.0, 1_000, carried=False),
        ]
    )  # fmt: skip
    assert summary.growth_of(run) == {"viva": {100: 55.0}}


def test_the_peak_tells_how_late_words_are_beside_the_floors() -> None:
    def late(side: str, number: int, p99: float, void: str = "") -> Cost:
        made = cost(side, number, 50.0, 300, void=void)
        return msgspec.structs.replace(made, delay_ms=[1.0, p99])

    run = found(
        peak=[
            *(late("floor", 1, 4.0), late("viva", 1, 8.0)),
            *(late("viva", 2, 18.0), late("floor", 2, 6.0)),
            *(late("floor", 3, 4.0), late("viva", 3, 16.0)),
            *(late("floor", 4, 1.0), late("viva", 4, 99.0, "busy")),
        ]
    )
    floor, viva = f.late(run.peak)
    assert (floor.side, floor.p99, floor.to_floor) == ("floor", 4.0, 1.0)
    assert (viva.side, viva.p99, viva.to_floor) == ("viva", 16.0, 3.0)
    assert "p99 16.0 ms, 3.0 times the floor's" in summary.told(run)


# --- what is kept of it ---


def test_only_what_is_between_the_marks_is_written_anew(tmp_path: Path) -> None:
    run = found(relay=[cost("floor", 1, 25.0), cost("viva", 1, 50.0), cost("fastapi", 1, 400.0)])
    kept = tmp_path / "performance.md"
    page.write(run, tmp_path)
    first = kept.read_text(encoding="utf-8")
    assert "| `fastapi` | 50 | 400 |  |  |  | 1 | 2 | 8.00 |" in first
    kept.write_text(first + "\n## Profiles\n\nBy hand.\n", encoding="utf-8")
    costs = [cost("viva", 1, 51.0), cost("fastapi", 1, 401.0)]
    page.write(found(relay=costs, wrong={"fastapi: silent": 3}), tmp_path)
    second = kept.read_text(encoding="utf-8")
    assert "401" in second
    assert "400" not in second
    assert "all rounds and loads together: 3 of fastapi: silent." in second
    assert "went wrong" not in first
    assert second.endswith("## Profiles\n\nBy hand.\n")
    assert second.startswith("# Performance\n")


def test_how_long_all_had_been_there_is_told_where_it_is_known(tmp_path: Path) -> None:
    run = found(growth=[cost("viva", 1, 50.0, 100), cost("viva", 1, 55.0, 1_000)])
    page.write(run, tmp_path)
    told = "All came 15 s before the first token."
    assert told in (tmp_path / "performance.md").read_text(encoding="utf-8")
    del run.options["growth_rest_s"]  # as in earlier ones
    page.write(run, tmp_path)
    assert "before the first token" not in (tmp_path / "performance.md").read_text(encoding="utf-8")


def test_charts_are_well_formed_and_tell_their_figures(tmp_path: Path) -> None:
    run = found(
        relay=[cost("floor", 1, 25.0), cost("viva", 1, 50.0)],
        memory=[held(100, 2_500_000), held(200, 5_000_000)],
        growth=[cost("viva", 1, 50.0, 100), cost("viva", 1, 55.0, 1_000)],
    )
    page.write(run, tmp_path)
    drawn = {path.stem: path for path in (tmp_path / "performance").glob("*.svg")}
    assert set(drawn) == {"relay", "memory", "growth"}
    for path in drawn.values():
        assert ET.parse(path).getroot().tag.endswith("svg")  # noqa: S314 - it was just written
    assert "viva 75 µs" in drawn["relay"].read_text(encoding="utf-8")


def test_a_bar_is_as_long_as_its_share() -> None:
    root = ET.fromstring(  # noqa: S314 - it was just drawn
        drawing.bars("T", "µs", {"a": {"x": 10.0}, "b": {"x": 15.0, "y": 5.0}})
    )
    bars = [e for e in root.iter("{http://www.w3.org/2000/svg}rect") if e.get("height") == "20"]
    widths = [float(e.get("width", "")) for e in bars]
    assert widths[1] + widths[2] == pytest.approx(2 * widths[0], rel=0.01)


# --- readings ---


def test_a_process_that_came_meanwhile_is_counted_whole() -> None:
    pids: list[int] = []
    meter = Meter(lambda: {"server": pids}, "")
    work = "import time\nwhile time.process_time() < 0.1: pass\nprint(flush=True)\ninput()"
    process = subprocess.Popen(
        [sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        pids.append(process.pid)
        assert meter.used().cpu["server"] >= 0.09
    finally:
        process.kill()
        process.communicate()


def test_a_meter_counts_what_a_process_of_the_run_used_as_its_own() -> None:
    work = "import time\ninput()\nwhile time.process_time() < 5: pass\ninput()"
    process = subprocess.Popen([sys.executable, "-c", work], stdin=subprocess.PIPE)
    try:
        meter = Meter(lambda: {"server": [process.pid]}, "")
        assert process.stdin is not None
        process.stdin.write(b"\n")  # what it works from here on is counted
        process.stdin.flush()
        while meter.used().cpu["server"] < 0.2:
            assert process.poll() is None
        assert process.pid in gauge.family("")
        holds = gauge.memory(process.pid)
        assert holds.whole > holds.own > 0
    finally:
        process.kill()
        process.communicate()
    assert gauge.memory(process.pid) == (0, 0)


@pytest.mark.parametrize("awake", [True, False])
def test_a_reading_knows_whether_idle_cores_are_kept_awake(*, awake: bool) -> None:
    ground = Ground(directory=Path("/none"), urls={})
    run = Run(plan=Plan(), ground=ground, found=found(awake=awake), tell=lambda _: None)
    place = Place(dialect="plain", url="http://test")
    side = Side(name="floor", pid=os.getpid(), place=place, provider_url="http://test")
    assert run.meter(side).used().noise.awake is awake


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535])
def test_the_floor_frames_as_viva_does(size: int) -> None:
    payload = b"x" * size
    assert frame(payload) == frame_of_viva(payload, text=True)
