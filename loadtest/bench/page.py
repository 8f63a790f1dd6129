"""`docs/performance.md`: the part between two marks is written anew, all else is left as it is."""

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from loadtest.bench import arithmetic, drawing
from loadtest.bench import findings as f
from loadtest.bench.drawing import number
from loadtest.bench.findings import SERVER, Findings
from loadtest.bench.sides import NAMES, PEERS
from loadtest.bench.summary import growth_of, joins_of

DOCS = Path(__file__).parents[2] / "docs"
BEGIN, END = "<!-- written by make bench -->", "<!-- end of what make bench wrote -->"
_HEAD = (
    "# Performance\n\nWhat a token, an interview and a connection cost, beside peers that were\n"
    "measured in the same run. [How it is measured](how-to/benchmark.md).\n"
)
_CHARTS = "performance"
_BESIDE = ("redis", "postgres")


def write(found: Findings, docs: Path = DOCS) -> None:
    """Write the page and its charts."""
    page = docs / "performance.md"
    before = page.read_text(encoding="utf-8") if page.exists() else f"{_HEAD}\n{BEGIN}\n{END}\n"
    page.write_text(_placed(before, "\n".join(_lines(found))), encoding="utf-8")
    folder = docs / _CHARTS
    folder.mkdir(exist_ok=True)
    for name, drawn in _charts(found):
        (folder / f"{name}.svg").write_text(drawn, encoding="utf-8")


def _placed(page: str, text: str) -> str:
    """Return the page with ``text`` between its marks, at its end where it has none."""
    head, found, rest = page.partition(BEGIN)
    tail = rest.partition(END)[2] if found else "\n"
    return f"{head.rstrip()}\n\n{BEGIN}\n\n{text.strip()}\n\n{END}{tail}"


def _lines(found: Findings) -> Iterator[str]:
    day = time.strftime("%d %B %Y", time.gmtime(found.started_at)).lstrip("0")
    kept = "; idle cores were kept awake" if found.awake else ""
    yield f"Measured on {day}: {found.machine}{kept}. Compare ratios, not times.\n"
    yield "Versions: " + ", ".join(f"{name} {v}" for name, v in found.versions.items()) + ".\n"
    for name, lack in found.missing.items():
        yield f"`{name}` was not measured: {lack} was not installed.\n"
    for part in (_relay, _joins, _memory, _growth, _peak, _parts):
        yield from part(found)
    if found.wrong:
        told = ", ".join(f"{count:,} of {kind}" for kind, count in sorted(found.wrong.items()))
        yield f"What went wrong at the clients, all rounds and loads together: {told}.\n"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"| --- |{' ---: |' * (len(heads) - 1)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def _void(costs: Sequence[f.Cost] | Sequence[f.Join] | Sequence[f.Held]) -> str:
    good, void = f.rounds_of(costs)
    left_out = f"; {len(void)} more did not count, because the machine was busy" if void else ""
    return f"{len(good)} round{'s' if len(good) != 1 else ''}{left_out}."


def _bests(found: Findings) -> dict[str, f.Best]:
    return {name: one for name in NAMES if (one := f.best(found.relay, name)) is not None}


def _relay(found: Findings) -> Iterator[str]:
    bests = _bests(found)
    if not bests:
        return
    yield "## A relayed token\n"
    yield (
        "Server CPU for each token that arrived, each side at the load at which a token costs it"
        f" least, at {found.options['per_second']} tokens a second and stream."
        f" {_void(found.relay)}\n"
    )
    rows = [_relay_row(one, bests.get("viva")) for one in bests.values()]
    heads = ("", "streams", "server µs", "spread", "Redis µs", "PostgreSQL µs", "p50 ms", "p99 ms")
    yield from _table((*heads, "to viva"), rows)
    for name in bests:
        if name in PEERS:
            yield f"- `{name}`: {PEERS[name].about}."
    yield (
        "- `viva`: everything on: the durable log, event ids, leases and fences, metrics, storing."
    )
    yield f"\n![Server CPU for each token]({_CHARTS}/relay.svg)\n"


def _relay_row(one: f.Best, ours: f.Best | None) -> tuple[str, ...]:
    against = f.ratio(one, ours) if ours is not None else None
    delays = [number(delay) for delay in one.delay_ms] or ["", ""]
    beside = [number(one.us[who]) if who in one.us else "" for who in _BESIDE]
    return (
        f"`{one.side}`",
        str(one.streams),
        number(one.us[SERVER]),
        f"{one.spread:.0%}" if one.spread is not None else "",
        *beside,
        *delays,
        f"{against:.2f}" if against is not None else "",
    )


def _joins(found: Findings) -> Iterator[str]:
    if not found.joins:
        return
    yield "## Joining and resuming\n"
    yield (
        "CPU for each socket, from the handshake to `live`; interviews and tickets are made before."
        f" {_void(found.joins)}\n"
    )
    yield from _table(
        ("", "", "server µs", "Redis µs", "PostgreSQL µs"),
        (
            (
                f"`{side}`",
                what,
                *(number(us[who]) if who in us else "" for who in (SERVER, "redis", "postgres")),
            )
            for (side, what), us in joins_of(found).items()
        ),
    )


def _memory(found: Findings) -> Iterator[str]:
    if not found.memory:
        return
    yield "## Memory\n"
    yield (
        "What each further interview takes: the slope over"
        f" {_counts(found, streaming=False)} silent and {_counts(found, streaming=True)} streaming"
        f" ones (at {found.options['slowly']} tokens a second), as RSS and as what the process"
        " shares with nobody (USS); and the CPU that a silent one takes.\n"
    )
    rows: list[tuple[str, ...]] = []
    for name in dict.fromkeys(each.side for each in found.memory):
        cells = [f"`{name}`"]
        for streaming in (False, True):
            slope = f.per_interview(found.memory, name, streaming=streaming)
            cells += [number(slope[kind] / 1e3) if slope else "" for kind in ("rss", "uss")]
        silence = [
            each.idle_us for each in found.memory if each.side == name and each.idle_us is not None
        ]
        middle = arithmetic.median(silence)
        rows.append((*cells, number(middle) if middle is not None else ""))
    heads = ("", "silent KB", "USS", "streaming KB", "USS", "silent µs/s")
    yield from _table(heads, rows)
    yield f"![Memory for each interview]({_CHARTS}/memory.svg)\n"


def _counts(found: Findings, *, streaming: bool) -> str:
    counts = sorted({each.count for each in found.memory if each.streaming == streaming})
    return ", ".join(f"{count:,}" for count in counts)


def _growth(found: Findings) -> Iterator[str]:
    if not found.growth:
        return
    yield "## Growth\n"
    yield (
        f"{found.options['growth_streams']} streams among more and more interviews that are only"
        f" there; the cost of those is in that of a token.{_rested(found)} {_void(found.growth)}\n"
    )
    grown = growth_of(found)
    counts = sorted({count for costs in grown.values() for count in costs})
    yield from _table(
        ("server µs a token, with interviews", *(f"{count:,}" for count in counts)),
        (
            (f"`{name}`", *(number(costs[c]) if c in costs else "" for c in counts))
            for name, costs in grown.items()
        ),
    )
    yield f"![CPU for each token as interviews become more]({_CHARTS}/growth.svg)\n"


def _rested(found: Findings) -> str:
    rest = found.options.get("growth_rest_s", "0")  # earlier findings have none
    return "" if rest == "0" else f" All came {rest} s before the first token."


def _peak(found: Findings) -> Iterator[str]:
    if not found.peak:
        return
    one = found.peak[0]
    yield "## The peak\n"
    yield (
        f"{one.interviews:,} interviews on one instance, of which {one.streams} are spoken to at"
        f" {found.options['per_second']} tokens a second: what a token costs, and how late it is"
        f" at the client. {_void(found.peak)}\n"
    )
    heads = ("", "server µs", "Redis µs", "PostgreSQL µs", "p50 ms", "p99 ms", "p99 to the floor's")
    yield from _table(
        heads,
        (
            (
                f"`{each.side}`" if each.carried else f"`{each.side}`, not carried",
                *(number(each.us[w]) if w in each.us else "" for w in (SERVER, *_BESIDE)),
                number(each.p50),
                number(each.p99),
                f"{each.to_floor:.1f}" if each.to_floor is not None else "",
            )
            for each in f.late(found.peak)
        ),
    )


def _parts(found: Findings) -> Iterator[str]:
    if not found.parts:
        return
    yield "## Parts\n"
    yield "CPU of one operation on a small piece of text; in italics what bytes alone would cost.\n"
    yield from _table(
        ("", "µs", "Redis µs"),
        (
            (
                f"*{part.name}*" if part.floor else part.name,
                f"{part.us:.2f}",
                f"{part.redis_us:.2f}" if part.redis_us is not None else "",
            )
            for part in found.parts
        ),
    )


def _charts(found: Findings) -> Iterator[tuple[str, str]]:
    bests = _bests(found)
    if bests:
        rows = {name: one.us for name, one in bests.items()}
        yield "relay", drawing.bars("CPU for each relayed token", "µs", rows)
    if found.memory:
        slopes = {
            f"{name}, {kind}": {"USS": max(0.0, slope["uss"] / 1e3)}
            for name in dict.fromkeys(each.side for each in found.memory)
            for kind, streaming in (("silent", False), ("streams", True))
            if (slope := f.per_interview(found.memory, name, streaming=streaming))
        }
        yield "memory", drawing.bars("Memory for each further interview", "KB", slopes)
    if found.growth:
        series = {
            name: [(float(count), us) for count, us in costs.items()]
            for name, costs in growth_of(found).items()
        }
        yield "growth", drawing.lines("CPU for each token", "µs", "interviews", series)
