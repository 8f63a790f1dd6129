"""Progress is of scores that can be compared, and says what it left out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from protocol.assessment import Method, Report, Score
from server.reporting.progress import progress, slope
from tests.support.reports import Script, composed, guide, rate


def report(
    place: int, score: Score | None, method: Method = "model", name: str = "Depth"
) -> Report:
    script = Script()
    script.answer("core-1", "some words of an answer")
    quotes = () if score is None else ("some words",)
    rating = rate(script.turns, "core-1", name, score, *quotes, method=method)
    made = composed(script.turns, guide(name), [rating], method=method).report
    return replace(
        made, created_at=1_000 + place, report_id=f"r-{place}", interview_id=f"i-{place}"
    )


def test_three_interviews_make_a_trend() -> None:
    found = progress([report(2, 4), report(0, 2), report(1, 3)])
    [depth] = found.competencies
    assert [(p.interview_id, p.score) for p in depth.points] == [
        ("i-0", 2.0),
        ("i-1", 3.0),
        ("i-2", 4.0),
    ]
    assert depth.trend == 1.0
    assert found.overall.trend == 1.0
    assert found.interviews == 3


def test_two_make_none() -> None:
    found = progress([report(0, 2), report(1, 5)])
    assert found.competencies[0].trend is None
    assert found.overall.trend is None


def test_offline_and_unrated_are_counted_and_left_out() -> None:
    found = progress([report(0, 2), report(1, 5, "offline"), report(2, None), report(3, 2)])
    [depth] = found.competencies
    assert [point.score for point in depth.points] == [2.0, 2.0]
    assert (depth.offline, depth.unrated) == (1, 1)
    assert (found.overall.offline, found.overall.unrated) == (1, 1)


def test_an_overall_score_of_too_little_is_left_out_though_a_report_has_one() -> None:
    """Reports of earlier versions do, and are kept as they are."""
    made = report(0, 5)
    assert made.composite == 5.0
    early = replace(made, coverage=replace(made.coverage, planned=3))
    found = progress([early, report(1, 2)])
    assert [point.score for point in found.overall.points] == [2.0]
    assert found.overall.unrated == 1
    assert [point.score for point in found.competencies[0].points] == [5.0, 2.0]


def test_a_competency_is_one_however_it_is_written() -> None:
    found = progress([report(0, 2, name="Depth"), report(1, 3, name="DEPTH")])
    assert [series.competency for series in found.competencies] == ["DEPTH"]
    assert len(found.competencies[0].points) == 2


def test_an_offline_rating_keeps_its_report_out_of_the_overall_trend() -> None:
    made = report(0, 3)
    mixed = replace(made, ratings=(replace(made.ratings[0], method="offline"),))
    found = progress([mixed])
    assert found.overall.offline == 1
    assert found.competencies[0].offline == 1


def test_nothing_comes_of_nothing() -> None:
    found = progress([])
    assert found.competencies == ()
    assert found.overall.points == ()
    assert found.overall.trend is None


@given(st.lists(st.integers(1, 5), min_size=3, max_size=20))
def test_the_slope_is_that_of_the_best_line(scores: list[int]) -> None:
    found = slope([float(score) for score in scores])
    assert found is not None
    assert slope([float(score) + 1 for score in scores]) == pytest.approx(found, abs=0.002)
    assert slope([float(score) for score in reversed(scores)]) == pytest.approx(-found, abs=0.002)


@given(st.integers(3, 20), st.sampled_from((-0.5, 0.0, 0.25, 2.0)))
def test_a_straight_line_has_its_own_slope(size: int, rise: float) -> None:
    assert slope([3 + rise * place for place in range(size)]) == pytest.approx(rise)
