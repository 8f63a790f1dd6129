"""The pictures of a report, as inline SVG that needs no `style` attribute and scales without text.

Lengths across are percentages, so that the same picture is as clear on a telephone as on paper.
Numbers and names stand beside the pictures as text: a picture says nothing that is not also said.
"""

from collections.abc import Sequence
from itertools import groupby

from protocol.assessment import Coverage, Rating
from protocol.session import Turn
from server.reporting.markup import Markup, tag
from server.reporting.words import clock, speaker

_LEFT = 3.0
_STEP = (100 - 2 * _LEFT) / 4
_LEAST = 0.6
"""The least width of a turn, in percent, so that a short one is still seen."""


def scale(score: float | None, ratings: Sequence[Rating]) -> Markup:
    """Return one row of the scores' chart: the scale, what was scored, and how far samples lay."""
    ticks = [
        tag(
            "circle",
            class_="tick anchor" if step in {1, 3, 5} else "tick",
            cx=_at(step),
            cy=14,
            r=3,
        )
        for step in range(1, 6)
    ]
    return _svg(
        28,
        tag("line", class_="rail", x1=_at(1), x2=_at(5), y1=14, y2=14),
        ticks,
        _range(ratings),
        [
            tag("circle", class_="single", cx=_at(rating.score), cy=14, r=4)
            for rating in ratings
            if rating.score is not None and len(ratings) > 1
        ],
        None if score is None else tag("circle", class_="score", cx=_at(score), cy=14, r=7.5),
    )


def _range(ratings: Sequence[Rating]) -> Markup | None:
    given = [sample for rating in ratings for sample in rating.samples if sample is not None]
    if not given or min(given) == max(given):
        return None
    return tag("line", class_="range", x1=_at(min(given)), x2=_at(max(given)), y1=14, y2=14)


def _at(score: float) -> str:
    return f"{_LEFT + (score - 1) * _STEP:.2f}%"


def bar(count: int, of: int) -> Markup:
    """Return a bar filled as far as ``count`` goes."""
    share = 100 * min(count, of) / of if of else 0
    return _svg(
        10,
        tag("rect", class_="groove", x=0, y=1, width="100%", height=8, rx=4),
        tag("rect", class_="fill", x=0, y=1, width=f"{share:.2f}%", height=8, rx=4)
        if share
        else None,
    )


def coverage(cover: Coverage) -> list[tuple[str, int, Markup]]:
    """Return the rows of the coverage's chart."""
    rows = (
        ("planned", cover.planned),
        ("asked", cover.asked),
        ("answered", cover.answered),
        ("rated", cover.rated),
    )
    return [(name, count, bar(count, cover.planned)) for name, count in rows]


def dot(*, told: bool) -> Markup:
    """Return a full or an empty mark."""
    return tag(
        "svg",
        tag("circle", class_="told" if told else "untold", cx=8, cy=8, r=5.5),
        width=16,
        height=16,
        viewBox="0 0 16 16",
        aria_hidden="true",
        focusable="false",
    )


def timeline(turns: Sequence[Turn], quoted: frozenset[int], names: dict[str, str]) -> Markup:
    """Return the turns along the clock, in a lane for each speaker; a quoted one has a mark."""
    if not turns:
        return Markup()
    start = turns[0].started_at
    whole = max(1, max(turn.ended_at for turn in turns) - start)

    def place(at: int) -> float:
        return 100 * (at - start) / whole

    bands: list[Markup] = []
    for question, group in groupby(turns, key=lambda turn: turn.question_id):
        if question in names:
            held = list(group)
            left, right = place(held[0].started_at), place(held[-1].ended_at)
            bands.append(
                tag(
                    "rect",
                    class_="band",
                    x=f"{left:.2f}%",
                    y=0,
                    width=_width(right - left),
                    height=78,
                )
            )
            bands.append(tag("text", names[question], class_="name", x=f"{left + 0.6:.2f}%", y=13))
    marks: list[Markup] = []
    for turn in turns:
        left, right = place(turn.started_at), place(turn.ended_at)
        top = 22 if turn.speaker == "interviewer" else 48
        kind = "bank" if turn.source == "bank" else turn.speaker
        box = tag(
            "rect",
            class_=f"turn {kind}",
            x=f"{min(left, 100 - _LEAST):.2f}%",
            y=top,
            width=_width(right - left),
            height=20,
            rx=3,
        )
        told = tag("title", f"Turn {turn.turn}, {speaker(turn)}, {clock(turn.started_at - start)}")
        marks.append(tag("a", told, box, href=f"#t{turn.turn}", tabindex=-1))
        if turn.turn in quoted:
            middle = min((left + right) / 2, 99)
            marks.append(tag("circle", class_="quoted", cx=f"{middle:.2f}%", cy=73, r=2.5))
    return _svg(80, bands, marks)


def _width(percent: float) -> str:
    return f"{max(_LEAST, percent):.2f}%"


def _svg(height: int, *children: Markup | list[Markup] | None) -> Markup:
    return tag("svg", *children, width="100%", height=height, aria_hidden="true", focusable="false")
