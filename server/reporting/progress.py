"""How somebody's scores went from interview to interview.

Only what a model rated makes a trend: an offline score is made by other means and would show the
change of means. What is left out is counted, so that a thin series cannot pass for a full one.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from protocol.assessment import Report, is_enough
from protocol.scalars import Count, Milliseconds
from server.reporting.words import Competency, competencies

LEAST = 3
"""The fewest points that make a trend."""


class Point(Struct, frozen=True, kw_only=True):
    """What one interview came to."""

    interview_id: str
    created_at: Milliseconds
    score: float


class Series(Struct, frozen=True, kw_only=True):
    """The scores of one competency, in order of time, and what is not among them."""

    competency: str
    points: tuple[Point, ...]
    trend: float | None = None
    """By how much the score rises an interview (least squares); None under three points."""
    offline: Count = 0
    """Interviews that rated it offline only."""
    unrated: Count = 0
    """Interviews that planned it and did not rate it."""


class Progress(Struct, frozen=True, kw_only=True):
    """All series of a person, and the overall scores as one more."""

    interviews: Count
    competencies: tuple[Series, ...]
    overall: Series


def progress(reports: Sequence[Report]) -> Progress:
    """Return how the scores went. The order of ``reports`` does not matter."""
    ordered = sorted(reports, key=lambda report: (report.created_at, report.report_id))
    found: dict[str, list[tuple[Report, Competency]]] = {}
    for report in ordered:
        for competency in competencies(report):
            found.setdefault(competency.name.casefold(), []).append((report, competency))
    return Progress(
        interviews=len({report.interview_id for report in ordered}),
        competencies=tuple(_series(each) for _, each in sorted(found.items())),
        overall=_overall(ordered),
    )


def slope(scores: Sequence[float]) -> float | None:
    """Return the least-squares slope over 0, 1, 2 …; None where there are too few."""
    size = len(scores)
    if size < LEAST:
        return None
    middle = (size - 1) / 2
    above = sum((place - middle) * score for place, score in enumerate(scores))
    below = sum((place - middle) ** 2 for place in range(size))
    return round(above / below, 3) + 0.0  # no -0.0


def _series(rated: Sequence[tuple[Report, Competency]]) -> Series:
    points: list[Point] = []
    offline = unrated = 0
    for report, competency in rated:
        scored = [rating for rating in competency.ratings if rating.score is not None]
        by_model = [rating.score or 0 for rating in scored if rating.method == "model"]
        if by_model and report.method == "model":
            points.append(_point(report, round(sum(by_model) / len(by_model), 2)))
        elif scored:
            offline += 1
        else:
            unrated += 1
    newest = rated[-1][1].name
    return _made(newest, points, offline, unrated)


def _overall(reports: Iterable[Report]) -> Series:
    points: list[Point] = []
    offline = unrated = 0
    for report in reports:
        enough = is_enough(report.coverage.rated, report.coverage.planned)
        if report.composite is None or not enough:  # earlier versions took less for enough
            unrated += 1
        elif report.method == "offline" or any(r.method == "offline" for r in report.ratings):
            offline += 1
        else:
            points.append(_point(report, report.composite))
    return _made("overall", points, offline, unrated)


def _point(report: Report, score: float) -> Point:
    return Point(interview_id=report.interview_id, created_at=report.created_at, score=score)


def _made(name: str, points: list[Point], offline: int, unrated: int) -> Series:
    return Series(
        competency=name,
        points=tuple(points),
        trend=slope([point.score for point in points]),
        offline=offline,
        unrated=unrated,
    )
