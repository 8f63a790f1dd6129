"""Two results side by side: what became better, what worse, and whether they can be compared."""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from loadtest.load.figures import COUNTS, LATENCIES, PERCENTILES, RATES, SERVER
from loadtest.load.knee import highest
from loadtest.load.result import Result

_MORE_IS_BETTER = frozenset(
    (
        *RATES,
        "interviews",
        "turns",
        "answers",
        "transcripts",
        "stored",
        "tokens",
        "requests",
        "knee",
    )
)
_PARTS = ("p50_ms", "p95_ms", "p99_ms")
NOISE = 0.1
"""A change within this is told as none: two runs of the same differ by as much."""
BEYOND = 10
"""A percentile with fewer samples beyond it says nothing: one of them could move it."""
YARDSTICK = "yardstick_us"
"""It tells of the machine, not of the server."""


class Row(NamedTuple):
    """One figure of both; ``ratio`` is b to a, None where a is 0."""

    figure: str
    a: float
    b: float
    ratio: float | None
    told: str


def rows(a: Result, b: Result) -> Iterator[Row]:
    """Give the figures that both have."""
    if a.steps and b.steps:
        yield _row("knee", highest(a.steps), highest(b.steps))
    for name in LATENCIES:
        for part in _PARTS:
            if name in a.latencies and name in b.latencies:
                one, other = a.latencies[name], b.latencies[name]
                fewest = min(one.get("count", 0), other.get("count", 0))
                enough = fewest * (1 - PERCENTILES[part] / 100) >= BEYOND
                yield _row(f"{name}.{part}", one[part], other[part], tells=enough)
    for name in (*SERVER, *RATES, *COUNTS):
        if name in a.figures and name in b.figures:
            yield _row(name, a.figures[name], b.figures[name], tells=name != YARDSTICK)


def differences(a: Result, b: Result) -> Iterator[str]:
    """Give what speaks against a comparison: other scenarios, void runs."""
    one, other = msgspec.structs.asdict(a.scenario), msgspec.structs.asdict(b.scenario)
    differing = [name for name, part in one.items() if part != other[name]]
    if differing:
        yield f"the scenarios differ in {', '.join(differing)}"
    if {a.awake, b.awake} == {True, False}:
        yield f"{'A' if a.awake else 'B'} alone kept idle cores awake"
    slow = [result.figures.get(YARDSTICK) for result in (a, b)]
    if slow[0] and slow[1] and abs(slow[1] / slow[0] - 1) > NOISE:
        yield f"the cores were {slow[1] / slow[0]:.2f} times as slow in B, by {YARDSTICK}"
    if a.steps and b.steps and highest(a.steps) != highest(b.steps):
        yield "what is told beside the knee is of the highest load that held, which differs"
    for which, result in (("A", a), ("B", b)):
        for reason in result.void:
            yield f"{which} is void: {reason}"


def worsened(a: Result, b: Result) -> bool:
    """Whether something is worse in ``b``."""
    return any(row.told == "worse" for row in rows(a, b))


def told(a: Result, b: Result) -> str:
    """Return the comparison as lines."""
    lines = [f"A  {_named(a)}", f"B  {_named(b)}"]
    lines += [f"!  {difference}" for difference in differences(a, b)]
    for row in rows(a, b):
        ratio = f"{row.ratio:7.2f}" if row.ratio is not None else "      -"
        lines.append(f"{row.figure:<28}{row.a:>14,.2f}{row.b:>14,.2f}  B/A{ratio}  {row.told}")
    return "\n".join(lines) + "\n"


def _named(result: Result) -> str:
    return f"{result.name}, seed {result.scenario.seed}, on {result.target}: {result.verdict}"


def _row(figure: str, a: float, b: float, *, tells: bool = True) -> Row:
    ratio = b / a if a else None
    if not tells or a == b or (ratio is not None and abs(ratio - 1) <= NOISE):
        word = ""
    else:
        word = "better" if (b > a) == (figure in _MORE_IS_BETTER) else "worse"
    return Row(figure, a, b, ratio, word)
