"""Thresholds that nobody could keep in a run: which they are, and that no others are among them."""

import pytest

from loadtest.load.aside import SECONDS, USERS, Aside
from loadtest.load.figures import PERCENTILES
from loadtest.load.judge import bounds, verdict
from loadtest.load.scenario import load, read, shipped

OTHERS = Aside(foreign=True, metrics="nobody told")


@pytest.mark.parametrize(
    ("aside", "figure", "at_most", "word"),
    [
        (OTHERS, "added.p99_ms", True, "stamps"),
        (OTHERS, "stall_ratio", True, "stamps"),
        (OTHERS, "memory_growth", True, "nobody told"),
        (OTHERS, "database_p95_ms", True, "nobody told"),
        (OTHERS, "keys_growth", True, "Redis"),
        (Aside(options=[USERS]), "connected", False, USERS),
        (Aside(options=[USERS]), "answers", False, USERS),
        (Aside(options=[SECONDS]), "answers", False, SECONDS),
        (Aside(options=[SECONDS]), "requests", False, SECONDS),
        (Aside(options=[SECONDS]), "memory_growth", True, SECONDS),
    ],
)
def test_what_cannot_be_known_or_reached_does_not_count(
    aside: Aside,
    figure: str,
    at_most: bool,  # noqa: FBT001
    word: str,
) -> None:
    assert word in aside(figure, None, at_most=at_most)


@pytest.mark.parametrize(
    ("aside", "figure", "found", "at_most"),
    [
        (Aside(), "added.p99_ms", None, True),
        (Aside(), "memory_growth", None, True),
        (OTHERS, "added.p99_ms", 3.0, True),
        (OTHERS, "memory_growth", 2.0, True),
        (Aside(foreign=True), "memory_growth", None, True),
        (Aside(options=[USERS]), "memory_growth", 2.0, True),
        (Aside(), "stored", 0.0, False),
        (OTHERS, "accepted.p95_ms", None, True),
        (OTHERS, "errors", 3.0, True),
        (OTHERS, "connected", 3.0, False),
        (Aside(options=[USERS, SECONDS]), "errors", 3.0, True),
        (Aside(options=[USERS, SECONDS]), "requests_per_second", 3.0, False),
        (Aside(options=[USERS]), "requests", 3.0, False),
        (Aside(options=[SECONDS]), "connected", 3.0, False),
        (Aside(options=[SECONDS]), "tokens_per_second", 3.0, False),
    ],
)
def test_everything_else_counts(
    aside: Aside,
    figure: str,
    found: float | None,
    at_most: bool,  # noqa: FBT001
) -> None:
    assert not aside(figure, found, at_most=at_most)


def test_a_database_that_is_not_asked_is_not_short_of_interviews() -> None:
    assert "PostgreSQL" in OTHERS("stored", 0.0, at_most=False)


def test_a_threshold_set_aside_breaks_nothing_and_says_why() -> None:
    scenario = read(
        "[users]\ncount = 1\n[at_most]\nadded.p99_ms = 50\nerrors = 0\n[at_least]\nanswers = 9\n",
        name="x",
    )
    figures = dict.fromkeys(("gaps", "repeats", "corrupt", "lost", "doubled", "errors"), 0.0)
    found = {"answers": 1.0, **figures}
    judged = bounds(scenario, found, {}, Aside(foreign=True, options=[USERS]))
    assert verdict([], judged) == "held"
    assert {bound.figure for bound in judged if bound.aside} == {"added.p99_ms", "answers"}
    wrong = bounds(scenario, {**found, "lost": 1.0}, {}, Aside(foreign=True, options=[USERS]))
    assert verdict([], wrong) == "broken"


@pytest.mark.parametrize("name", shipped())
def test_shipped_scenarios_can_be_held_by_a_deployment_of_others(name: str) -> None:
    """With fewer users, and nothing known but what users see."""
    scenario = load(name)
    seen = (
        "errors",
        "errors_share",
        "gaps",
        "repeats",
        "corrupt",
        "lost",
        "doubled",
        "unchecked",
        "snapshots",
    )
    figures = dict.fromkeys(seen, 0.0) | {"requests_per_second": 1_000.0, "requests": 1.0}
    users = ("accepted", "join", "back", "rest", "first_words")
    latencies = {name: dict.fromkeys(PERCENTILES, 1.0) for name in users}
    aside = Aside(options=[USERS, SECONDS], foreign=True, metrics="nobody told")
    broken = [b.figure for b in bounds(scenario, figures, latencies, aside) if not b.held]
    assert not broken
