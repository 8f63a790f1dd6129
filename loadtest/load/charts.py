"""Lines over time as SVG inside the page: no script, no other file; colours are the page's.

The lines are stretched to the width there is, letters are not: they stand outside, in shares of it.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape

from msgspec import Struct

Values = Sequence[float | None]
HEIGHT = 190
_LEFT = 8.5
_TOP, _BOTTOM = 12, 26
_COLOURS = ("var(--strong)", "var(--middling)", "var(--weak)", "var(--other)", "var(--ink)")
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


class Chart(Struct, frozen=True, kw_only=True):
    """What is drawn. ``measured`` are the seconds between which figures count."""

    series: Mapping[str, Values]
    unit: str = ""
    logarithmic: bool = False
    measured: tuple[float, float] = (0.0, 0.0)


def drawn(chart: Chart) -> str:
    """Return the chart, with a legend; a sentence where there is nothing to draw."""
    known = {name: values for name, values in chart.series.items() if _known(values)}
    if not known:
        return '<p class="fine">Nothing was measured.</p>'
    scale = _Scale(known, logarithmic=chart.logarithmic)
    seconds = max(len(values) for values in known.values())
    told = "; ".join(
        f"{name}: {_number(min(_known(values)))} to {_number(max(_known(values)))} {chart.unit}"
        for name, values in known.items()
    )
    parts = [
        f'<svg width="100%" height="{HEIGHT}" role="img" aria-label="{escape(told)}">',
        *(_mark(scale, value) for value in scale.marks),
        *_seconds(seconds),
        _plane(seconds),
        _shade(chart.measured, seconds),
        *(
            _line(scale, values, _COLOURS[place % len(_COLOURS)])
            for place, values in enumerate(known.values())
        ),
        "</svg></svg>",
    ]
    return "".join(parts) + _legend(known, chart.unit)


class _Scale:
    """Values to heights, from 0 at the top to 1 at the bottom."""

    def __init__(self, series: Mapping[str, Values], *, logarithmic: bool) -> None:
        values = [value for each in series.values() for value in _known(each)]
        self._log = logarithmic
        highest = max(values)
        if logarithmic:
            least = max(min(values), 0.01)
            self._low = 10 ** math.floor(math.log10(least))
            self._high = max(self._low * 10, 10 ** math.ceil(math.log10(max(highest, 0.01))))
            decades = round(math.log10(self._high / self._low))
            self.marks = [self._low * 10**power for power in range(decades + 1)]
        else:
            step = _step(highest)
            count = max(1, math.ceil(highest / step)) if highest > 0 else 1
            self._low, self._high = 0.0, step * count
            self.marks = [step * number for number in range(count + 1)]

    def height(self, value: float) -> float:
        """Return where ``value`` is."""
        if self._log:
            share = math.log10(max(value, self._low) / self._low)
            return 1 - share / math.log10(self._high / self._low)
        return 1 - value / self._high


def _step(highest: float) -> float:
    """Return a round step of which about four make ``highest``."""
    if highest <= 0:
        return 1.0
    size = 10 ** math.floor(math.log10(highest / 4))
    return next(size * step for step in _STEPS if size * step * 4 >= highest)


def _plane(seconds: int) -> str:
    return (
        f'<svg x="{_LEFT}%" y="{_TOP}" width="{100 - _LEFT}%" height="{HEIGHT - _TOP - _BOTTOM}"'
        f' viewBox="0 0 {max(1, seconds - 1)} 1" preserveAspectRatio="none">'
    )


def _known(values: Values) -> list[float]:
    return [value for value in values if value is not None]


def _mark(scale: _Scale, value: float) -> str:
    y = _TOP + (HEIGHT - _TOP - _BOTTOM) * scale.height(value)
    label = f"{value / 1000:g}k" if value >= 1000 else _number(value)  # there is little room
    return (
        f'<line x1="{_LEFT}%" x2="100%" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>'
        f'<text x="{_LEFT - 0.8:.1f}%" y="{y + 4:.1f}" text-anchor="end">{escape(label)}</text>'
    )


def _seconds(seconds: int) -> list[str]:
    """Return the labels of the time axis, minutes where there are many."""
    last = max(1, seconds - 1)
    step = max(1, int(_step(last)))
    labels: list[str] = []
    for second in range(0, last + 1, step):
        x = _LEFT + (100 - _LEFT) * second / last
        anchor = "start" if second == 0 else "end" if x > 97 else "middle"
        text = f"{second} s" if last < 300 else f"{second / 60:g} min"
        labels.append(f'<text x="{x:.1f}%" y="{HEIGHT - 6}" text-anchor="{anchor}">{text}</text>')
    return labels


def _shade(measured: tuple[float, float], seconds: int) -> str:
    """Return what stands behind the times that do not count."""
    begin, end = measured
    if end <= begin:
        return ""
    fill = 'y="0" height="1" fill="var(--none)" fill-opacity="0.55"'
    behind = max(0.0, seconds - 1 - end)
    return f'<rect x="0" width="{begin:g}" {fill}/><rect x="{end:g}" width="{behind:g}" {fill}/>'


def _line(scale: _Scale, values: Values, colour: str) -> str:
    """Return a line, broken where there is no value; a lone value is a short dash."""
    runs: list[list[str]] = [[]]
    for second, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append(f"{second:g},{scale.height(value):.4f}")
    return "".join(
        f'<polyline points="{" ".join(run if len(run) > 1 else run * 2)}" fill="none"'
        f' stroke="{colour}" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"'
        ' vector-effect="non-scaling-stroke"/>'
        for run in runs
        if run
    )


def _legend(series: Mapping[str, Values], unit: str) -> str:
    told = f" ({unit})" if unit else ""
    names = "".join(
        f'<span><i style="background:{_COLOURS[place % len(_COLOURS)]}"></i>'
        f"{escape(name)}{told}</span>"
        for place, name in enumerate(series)
    )
    return f'<p class="fine legend">{names}</p>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
