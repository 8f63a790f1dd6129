"""Charts as SVG inside the page: no script, no other file; colours are the page's.

Places are shares of the width, so that letters stay as large on a phone as on a desk.
"""

from collections.abc import Mapping, Sequence
from html import escape

ROW = 34
_LEFT, _RIGHT, _TOP = 30.0, 96.0, 26
_BAR_LEFT, _BAR_WIDTH = 30.0, 50.0
_COLOURS = {"strong": "strong", "middling": "middling", "weak": "weak"}


def colour(persona: str) -> str:
    """Return the colour of a persona, as CSS."""
    return f"var(--{_COLOURS.get(persona, 'other')})"


def strip(scores: Mapping[str, Sequence[float]]) -> str:
    """Return a row of dots for each persona, from 1 to 5: one for each rating, larger where many.

    A line marks the mean.
    """
    height = _TOP + ROW * len(scores) + 6
    told = "; ".join(
        f"{name}: mean {sum(values) / len(values):.1f} of {len(values)} ratings"
        for name, values in scores.items()
        if values
    )
    parts = [_opened(height, f"Scores by persona. {told}")]
    for score in range(1, 6):
        parts += [
            _line(_x(score), _TOP - 6, height, "var(--line)", 1),
            f'<text x="{_x(score):.1f}%" y="14" text-anchor="middle">{score}</text>',
        ]
    for place, (name, values) in enumerate(scores.items()):
        parts += _row(name, values, _TOP + ROW * place + ROW / 2)
    return "".join([*parts, "</svg>"])


def bars(shares: Mapping[str, tuple[int, int]]) -> str:
    """Return a bar for each name: how many of how many passed."""
    parts = [_opened(ROW * len(shares), "How many checks of each group are met")]
    for place, (name, (passed, whole)) in enumerate(shares.items()):
        y = ROW * place + ROW / 2
        share = passed / whole if whole else 0.0
        parts += [
            f'<text class="ink" x="0" y="{y + 4:.1f}">{escape(name)}</text>',
            _bar(y, 1.0, "var(--bad)" if whole else "var(--none)"),
            _bar(y, share, "var(--good)"),
            f'<text x="100%" y="{y + 4:.1f}" text-anchor="end">{passed} of {whole}</text>',
        ]
    return "".join([*parts, "</svg>"])


def _opened(height: int, told: str) -> str:
    return f'<svg width="100%" height="{height}" role="img" aria-label="{escape(told)}">'


def _row(name: str, values: Sequence[float], y: float) -> list[str]:
    parts = [f'<text class="ink" x="0" y="{y + 4:.1f}">{escape(name)}</text>']
    if not values:
        return [*parts, f'<text x="{_LEFT}%" y="{y + 4:.1f}">not scored</text>']
    for value in sorted(set(values)):
        radius = 4 + 2.2 * min(16, values.count(value)) ** 0.5
        title = f"<title>{values.count(value)} times {value:g}</title>"
        parts.append(
            f'<circle cx="{_x(value):.1f}%" cy="{y:.1f}" r="{radius:.1f}" fill="{colour(name)}"'
            f' fill-opacity="0.75">{title}</circle>'
        )
    mean = sum(values) / len(values)
    return [*parts, _line(_x(mean), y - 13, y + 13, "var(--ink)", 2)]


def _bar(y: float, share: float, fill: str) -> str:
    width = _BAR_WIDTH * share
    return (
        f'<rect x="{_BAR_LEFT}%" y="{y - 6:.1f}" width="{width:.1f}%" height="12" rx="3"'
        f' fill="{fill}"/>'
    )


def _line(x: float, top: float, bottom: float, stroke: str, width: int) -> str:
    return (
        f'<line x1="{x:.1f}%" x2="{x:.1f}%" y1="{top:.1f}" y2="{bottom:.1f}"'
        f' stroke="{stroke}" stroke-width="{width}"/>'
    )


def _x(score: float) -> float:
    return _LEFT + (score - 1) / 4 * (_RIGHT - _LEFT)
