"""What was found, in a few lines for a terminal: ratios first."""

from collections.abc import Iterator

from loadtest.bench import arithmetic
from loadtest.bench import findings as f
from loadtest.bench.findings import SERVER, Findings
from loadtest.bench.sides import NAMES


def told(found: Findings) -> str:
    """Return the lines."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Findings) -> Iterator[str]:
    yield from _relay(found)
    yield from _joins(found)
    yield from _memory(found)
    yield from _growth(found)
    yield from _peak(found)
    for name, (good, wanted) in f.short(found).items():
        yield f"  VOID    {name}: {good} of {wanted} rounds count"
    for part in found.parts:
        beside = f", Redis {part.redis_us:.2f}" if part.redis_us is not None else ""
        yield f"  {part.group:<6} {part.name}: {part.us:.2f} µs{beside}"
    if found.awake:
        yield "  idle cores were kept awake"
    for kind, count in found.wrong.items():
        yield f"  WRONG   {count} of {kind}"


def _void(costs: list[f.Cost] | list[f.Join] | list[f.Held]) -> Iterator[str]:
    good, void = f.rounds_of(costs)
    for number, why in sorted(void.items()):
        yield f"  void    round {number}: {why}"
    if not good:
        yield "  VOID    no round counts; the figures are of those that do not"


def _relay(found: Findings) -> Iterator[str]:
    if not found.relay:
        return
    yield "CPU of the server for each relayed token, each side at its own best load"
    yield from _void(found.relay)
    bests = {name: one for name in NAMES if (one := f.best(found.relay, name)) is not None}
    for name, one in bests.items():
        beside = "".join(f", {who} {us:.1f}" for who, us in one.us.items() if who != SERVER)
        apart = f" (± {one.spread / 2:.0%})" if one.spread is not None else ""
        yield f"  {name:<8}{one.us[SERVER]:7.1f} µs at {one.streams} streams{apart}{beside}"
    ours = bests.get("viva")
    for name, one in bests.items():
        if ours is not None and name != "viva":
            against = f.ratio(ours, one)
            if against:
                yield f"  viva to {name}: {against:.2f}, or 1/{1 / against:.1f}"


def _joins(found: Findings) -> Iterator[str]:
    if found.joins:
        yield "CPU of the server for each socket"
        yield from _void(found.joins)
    for (side, what), costs in joins_of(found).items():
        beside = "".join(f", {who} {us:.0f}" for who, us in costs.items() if who != SERVER)
        yield f"  {side:<8}{what:<7}{costs[SERVER]:7.0f} µs{beside}"


def joins_of(found: Findings) -> dict[tuple[str, str], dict[str, float]]:
    """Return the medians by side and kind."""
    good, _ = f.rounds_of(found.joins)
    held = [each for each in found.joins if not good or each.round in good]
    return {
        (side, what): {
            who: arithmetic.median(
                each.us[who] for each in held if (each.side, each.what) == (side, what)
            )
            or 0.0
            for who in next(e for e in held if (e.side, e.what) == (side, what)).us
        }
        for side, what in dict.fromkeys((each.side, each.what) for each in held)
    }


def _memory(found: Findings) -> Iterator[str]:
    if found.memory:
        yield "memory of the server for each further interview (RSS, USS)"
        yield from _void(found.memory)
    for name in dict.fromkeys(each.side for each in found.memory):
        for streaming in (False, True):
            slope = f.per_interview(found.memory, name, streaming=streaming)
            if slope:
                kind = "streaming" if streaming else "silent"
                yield f"  {name:<8}{kind:<10}{slope['rss'] / 1e3:8.1f} KB{slope['uss'] / 1e3:8.1f}"


def _growth(found: Findings) -> Iterator[str]:
    if found.growth:
        yield "CPU for each token as there are more interviews, the silent ones' share included"
        yield from _void(found.growth)
    for name, costs in growth_of(found).items():
        points = ", ".join(f"{us:.1f} with {count:,}" for count, us in costs.items())
        yield f"  {name:<8}{points} µs"


def _peak(found: Findings) -> Iterator[str]:
    if not found.peak:
        return
    one = found.peak[0]
    yield f"how late words come with {one.interviews:,} interviews, {one.streams} of them spoken to"
    yield from _void(found.peak)
    for each in f.late(found.peak):
        against = f", {each.to_floor:.1f} times the floor's" if each.to_floor else ""
        short = "" if each.carried else ", not carried"
        yield f"  {each.side:<8}p50 {each.p50:.1f}, p99 {each.p99:.1f} ms{against}{short}"


def growth_of(found: Findings) -> dict[str, dict[int, float]]:
    """Return the medians by side and number of interviews, of those that no round broke down at."""
    counted = f.countable(found.growth)
    broken = {(each.side, each.interviews) for each in counted if not each.carried}
    held = [each for each in counted if (each.side, each.interviews) not in broken]
    return {
        name: {
            count: arithmetic.median(
                each.us[SERVER] for each in held if (each.side, each.interviews) == (name, count)
            )
            or 0.0
            for count in sorted({each.interviews for each in held if each.side == name})
        }
        for name in dict.fromkeys(each.side for each in held)
    }
