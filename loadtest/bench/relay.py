"""CPU for each relayed token: sides in turn, each at several loads, in several rounds."""

import asyncio

from loadtest.bench import arithmetic, sides
from loadtest.bench.crew import crew
from loadtest.bench.findings import Cost
from loadtest.bench.plan import Run
from loadtest.bench.rounds import in_rounds
from loadtest.bench.sides import Speech

SETTLE_S = 2.5


async def measure(run: Run) -> None:
    """Measure in rounds, all sides in turn."""
    await in_rounds(run, run.found.relay, _side)


async def _side(name: str, number: int, run: Run) -> list[Cost]:
    costs: list[Cost] = []
    for streams in sorted(run.plan.loads):
        cost = await load(name, number, run, there=streams, streams=streams)
        costs.append(cost)
        run.tell(_line(cost))
        if not cost.carried:
            break  # more will not be carried either
    return costs


async def load(
    name: str, number: int, run: Run, *, there: int, streams: int, rest_s: float = 0.0
) -> Cost:
    """Measure one load on a server of its own: of ``there`` clients ``streams`` are spoken to.

    Everybody's reply has just begun then, and lasts. The clients came ``rest_s`` before.
    """
    speech = Speech(per_second=run.plan.per_second)
    async with sides.running(name, speech, run.ground) as side, crew(side.place) as clients:
        await clients.open(there)
        await asyncio.sleep(rest_s)
        await clients.speak(streams)
        await asyncio.sleep(SETTLE_S)
        meter = run.meter(side)
        await clients.read()
        await asyncio.sleep(run.plan.seconds)
        told, used = await clients.read(), meter.used()
        run.wrong(name, clients.wrong)
    tokens = told.tokens
    return Cost(
        side=name,
        round=number,
        streams=streams,
        interviews=there,
        connected=told.connected,
        tokens=tokens,
        seconds=used.seconds,
        us={who: 1e6 * cpu / max(1, tokens) for who, cpu in used.cpu.items()},
        delay_ms=[delay / 1000 for delay in told.delays_us],
        carried=told.connected == there
        and arithmetic.carried(tokens, streams, run.plan.per_second, used.seconds),
        void=used.noise.void,
    )


def _line(cost: Cost) -> str:
    told = ", ".join(f"{who} {us:.1f}" for who, us in cost.us.items())
    short = "" if cost.carried else ", not carried"
    void = f"  VOID: {cost.void}" if cost.void else ""
    return f"round {cost.round} {cost.side:<8}{cost.streams:>5} streams: {told} µs{short}{void}"
