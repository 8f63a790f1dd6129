"""Charts as SVG files of their own, for pages in Markdown: they know no style sheet but theirs."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH = 760
ROW = 30
_LEFT, _RIGHT, _TOP = 110, 110, 34
_HEIGHT = 260
_COLOURS = ("#3b7dd8", "#d9822b", "#5aa469", "#9a6fb0")
_STYLE = (
    "<style>text{font:13px sans-serif;fill:#24292f}.fine{fill:#6e7781}.line{stroke:#d0d7de}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.fine{fill:#8d96a0}"
    ".line{stroke:#30363d}}</style>"
)


def bars(title: str, unit: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    """Return a bar for each row, of parts that are laid end to end; the whole stands behind it."""
    parts = list(dict.fromkeys(part for row in rows.values() for part in row))
    highest = max((sum(row.values()) for row in rows.values()), default=0.0) or 1.0
    room = WIDTH - _LEFT - _RIGHT
    height = _TOP + ROW * len(rows) + 34
    told = "; ".join(f"{name} {number(sum(row.values()))} {unit}" for name, row in rows.items())
    drawn = [_opened(height, f"{title}. {told}"), f'<text x="0" y="16">{escape(title)}</text>']
    for place, (name, row) in enumerate(rows.items()):
        y, x = _TOP + ROW * place, float(_LEFT)
        drawn.append(f'<text x="{_LEFT - 8}" y="{y + 17}" text-anchor="end">{escape(name)}</text>')
        for part, value in row.items():
            width = room * value / highest
            colour = _COLOURS[parts.index(part) % len(_COLOURS)]
            drawn.append(
                f'<rect x="{x:.1f}" y="{y + 3}" width="{width:.1f}" height="20" fill="{colour}"/>'
            )
            x += width
        whole = f"{number(sum(row.values()))} {unit}"
        drawn.append(f'<text x="{x + 6:.1f}" y="{y + 17}">{escape(whole)}</text>')
    return "".join([*drawn, _legend(parts, height - 10), "</svg>\n"])


def lines(
    title: str, unit: str, across: str, series: Mapping[str, Sequence[tuple[float, float]]]
) -> str:
    """Return a line for each series, both scales from 0."""
    points = [point for line in series.values() for point in line]
    right = max((x for x, _ in points), default=0.0) or 1.0
    top = _round_up(max((y for _, y in points), default=0.0))
    plane, floor = WIDTH - _LEFT - 24, _HEIGHT - 52
    drawn = [_opened(_HEIGHT, title), f'<text x="0" y="16">{escape(title)}</text>']

    def at(x: float, y: float) -> tuple[float, float]:
        return _LEFT + plane * x / right, floor - (floor - _TOP) * y / top

    for step in range(5):
        value = top * step / 4
        _, y = at(0, value)
        label = f"{number(value)} {unit}" if step == 4 else number(value)
        drawn.append(
            f'<line class="line" x1="{_LEFT}" x2="{WIDTH - 24}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="fine" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
            f"{escape(label)}</text>"
        )
    for place in sorted({x for x, _ in points}):
        x, _ = at(place, 0)
        drawn.append(
            f'<text class="fine" x="{x:.1f}" y="{floor + 18}" text-anchor="middle">'
            f"{number(place)}</text>"
        )
    drawn.append(
        f'<text class="fine" x="{WIDTH - 24}" y="{floor + 34}" text-anchor="end">'
        f"{escape(across)}</text>"
    )
    for place, line in enumerate(series.values()):
        colour = _COLOURS[place % len(_COLOURS)]
        spots = [at(x, y) for x, y in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        drawn += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in spots]
    return "".join([*drawn, _legend(list(series), _HEIGHT - 8), "</svg>\n"])


def number(value: float) -> str:
    """Return a number with as many digits as say something."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2g}"


def _round_up(value: float) -> float:
    if value <= 0:
        return 1.0
    size: float = 10.0 ** math.floor(math.log10(value))
    return next(size * step for step in (1, 2, 4, 6, 8, 10) if size * step >= value)


def _opened(height: int, told: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
        f' aria-label="{escape(told)}">{_STYLE}'
    )


def _legend(names: Sequence[str], y: int) -> str:
    if len(names) < 2:
        return ""
    drawn: list[str] = []
    x = _LEFT
    for place, name in enumerate(names):
        colour = _COLOURS[place % len(_COLOURS)]
        drawn.append(
            f'<rect x="{x}" y="{y - 10}" width="11" height="11" fill="{colour}"/>'
            f'<text class="fine" x="{x + 16}" y="{y}">{escape(name)}</text>'
        )
        x += 40 + 8 * len(name)
    return "".join(drawn)
