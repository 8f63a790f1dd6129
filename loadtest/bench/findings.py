"""What a run found, as it is written to a file; and the figures that are made of it."""

import math
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from loadtest.bench import arithmetic

SERVER = "server"
NEVER = ("viva: gap", "viva: misled", "viva: repeat")
"""What must never go wrong: what a server costs that loses words, or says them twice, is nothing
that anybody asks."""


class Cost(Struct, frozen=True, kw_only=True):
    """What streams cost a side in one round. Times are CPU, in microseconds a token."""

    side: str
    round: int
    streams: int
    interviews: int
    """How many there were to be, the streaming ones among them."""
    connected: int
    tokens: int
    seconds: float
    us: dict[str, float]
    """By who used it: ``server``, and for viva ``redis`` and ``postgres``."""
    delay_ms: list[float] = []
    """The median and the 99th percentile of the time from the provider to the client."""
    carried: bool = True
    void: str = ""


class Join(Struct, frozen=True, kw_only=True):
    """What joining or resuming costs a side in one round, in microseconds of CPU each."""

    side: str
    round: int
    what: str
    count: int
    us: dict[str, float]
    void: str = ""


class Held(Struct, frozen=True, kw_only=True):
    """What a server holds with so many interviews, and what silence costs it."""

    side: str
    round: int
    streaming: bool
    count: int
    rss: int
    uss: int
    idle_us: float | None = None
    """CPU for a silent connection and second."""
    void: str = ""


class Part(Struct, frozen=True, kw_only=True):
    """What one operation costs, in microseconds of CPU; ``redis_us`` is the server's."""

    group: str
    name: str
    us: float
    redis_us: float | None = None
    floor: bool = False


MEASURED = ("relay", "joins", "memory", "growth", "peak", "parts")


class Findings(Struct, kw_only=True):
    """All that a run found."""

    started_at: float
    machine: str
    versions: dict[str, str]
    options: dict[str, str]
    relay: list[Cost] = []
    joins: list[Join] = []
    memory: list[Held] = []
    growth: list[Cost] = []
    peak: list[Cost] = []
    parts: list[Part] = []
    missing: dict[str, str] = {}
    wrong: dict[str, int] = {}
    failed: str = ""
    """Why the run ended before all was measured, where it did."""
    awake: bool = False
    """Whether idle cores were kept awake, for all that was measured."""
    asked: dict[str, int] = {}
    """How many rounds of each part are to count."""


def merged(runs: Sequence[Findings]) -> Findings:
    """Return runs as one: of each part what the last of them found that measured it."""
    failed = "; ".join(run.failed for run in runs if run.failed)
    whole = msgspec.structs.replace(runs[-1], asked={}, failed=failed, wrong={})
    sources: list[Findings] = []
    for name in MEASURED:
        held = [run for run in runs if getattr(run, name)]
        setattr(whole, name, getattr(held[-1], name) if held else [])
        if held:
            whole.asked[name] = held[-1].asked.get(name, 1)
            sources.append(held[-1])
    whole.awake = bool(sources) and all(run.awake for run in sources)
    shown = {id(run) for run in sources}  # what is not shown any more spoils nothing
    for run in reversed([run for run in runs if id(run) in shown]):
        whole.wrong = {**run.wrong, **whole.wrong}
    return whole


def short(found: Findings) -> dict[str, tuple[int, int]]:
    """Return the parts of which too few rounds count: how many do, and how many were to."""
    lacking: dict[str, tuple[int, int]] = {}
    for name in MEASURED:
        readings: list[Cost | Join | Held | Part] = getattr(found, name)
        rounds = [each for each in readings if not isinstance(each, Part)]
        good, wanted = len(rounds_of(rounds)[0]), found.asked.get(name, 1)
        if rounds and good < wanted:
            lacking[name] = good, wanted
    return lacking


def broken(found: Findings) -> dict[str, int]:
    """Return what went wrong that must never happen, and how often."""
    return {kind: found.wrong[kind] for kind in NEVER if found.wrong.get(kind)}


class Best(Struct, frozen=True, kw_only=True):
    """A side at the load at which a token costs it least."""

    side: str
    streams: int
    us: dict[str, float]
    spread: float | None
    """None where there is one round alone."""
    delay_ms: Sequence[float]
    by_round: dict[int, float]


def rounds_of(costs: Iterable[Cost | Join | Held]) -> tuple[set[int], dict[int, str]]:
    """Return the rounds that count, and why the others do not: one bad reading spoils a round."""
    every, void = set[int](), dict[int, str]()
    for cost in costs:
        every.add(cost.round)
        if cost.void:
            void.setdefault(cost.round, cost.void)
    return every - void.keys(), void


def countable(costs: Sequence[Cost]) -> list[Cost]:
    """Return those of the rounds that count; all of them where none does."""
    good, _ = rounds_of(costs)
    return [cost for cost in costs if not good or cost.round in good]


def best(costs: Sequence[Cost], side: str) -> Best | None:
    """Return a side at its own best load, None where it carried none."""
    ours = [cost for cost in countable(costs) if cost.side == side]
    loads: dict[int, list[Cost]] = {}
    for cost in ours:
        loads.setdefault(cost.streams, []).append(cost)
    # A load that broke down in one round is none that the side can carry, nor is a higher one:
    # it was not tried in that round, and would be taken for one of others, which were easier.
    limit = min((each.streams for each in ours if not each.carried), default=math.inf)
    kept = {load: held for load, held in loads.items() if load < limit}
    middles = {
        load: found
        for load, held in kept.items()
        if (found := arithmetic.median(each.us[SERVER] for each in held)) is not None
    }
    load = arithmetic.cheapest(middles)
    if load is None:
        return None
    held = kept[load]
    delays = [each.delay_ms for each in held if each.delay_ms]
    return Best(
        side=side,
        streams=load,
        us={
            name: arithmetic.median(each.us.get(name, 0.0) for each in held) or 0.0
            for name in held[0].us
        },
        spread=arithmetic.spread(each.us[SERVER] for each in held),
        delay_ms=[arithmetic.median(d[place] for d in delays) or 0.0 for place in (0, 1)]
        if delays
        else [],
        by_round={each.round: each.us[SERVER] for each in held},
    )


def ratio(of: Best, to: Best) -> float | None:
    """Return the median of the rounds' ratios of two sides."""
    rounds = sorted(of.by_round.keys() & to.by_round.keys())
    return arithmetic.ratio([of.by_round[n] for n in rounds], [to.by_round[n] for n in rounds])


class Late(Struct, frozen=True, kw_only=True):
    """How late words come on one side, in milliseconds, and what they cost: medians of rounds."""

    side: str
    carried: bool
    """Whether all were connected, and their words arrived, in each round that counts."""
    us: dict[str, float]
    p50: float
    p99: float
    to_floor: float | None
    """The median of the rounds' ratios of the 99th percentiles."""


def late(costs: Sequence[Cost]) -> list[Late]:
    """Return the sides of a peak, as they were measured."""
    held = [cost for cost in countable(costs) if cost.delay_ms]
    floor = {each.round: each.delay_ms[1] for each in held if each.side == "floor"}
    found: list[Late] = []
    for side in dict.fromkeys(each.side for each in held):
        ours = [each for each in held if each.side == side]
        both = [each for each in ours if each.round in floor]
        found.append(
            Late(
                side=side,
                carried=all(each.carried for each in ours),
                us={
                    who: arithmetic.median(each.us[who] for each in ours) or 0.0
                    for who in ours[0].us
                },
                p50=arithmetic.median(each.delay_ms[0] for each in ours) or 0.0,
                p99=arithmetic.median(each.delay_ms[1] for each in ours) or 0.0,
                to_floor=arithmetic.ratio(
                    [each.delay_ms[1] for each in both], [floor[each.round] for each in both]
                ),
            )
        )
    return found


def per_interview(held: Sequence[Held], side: str, *, streaming: bool) -> dict[str, float]:
    """Return the bytes that each further interview takes: the median of the rounds' slopes."""
    good, _ = rounds_of(held)
    slopes: dict[str, list[float]] = {"rss": [], "uss": []}
    for number in sorted(good or {each.round for each in held}):
        ours = [
            each
            for each in held
            if (each.side, each.streaming, each.round) == (side, streaming, number)
        ]
        if len({each.count for each in ours}) < 2:
            continue
        for name, values in slopes.items():
            points = [(float(each.count), float(getattr(each, name))) for each in ours]
            values.append(arithmetic.line(points).slope)
    return {
        name: found
        for name, values in slopes.items()
        if (found := arithmetic.median(values)) is not None
    }
