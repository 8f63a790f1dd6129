"""CPU for opening a socket, and for coming back to one."""

import asyncio

from loadtest.bench import sides
from loadtest.bench.crew import Crew, crew
from loadtest.bench.findings import Join
from loadtest.bench.gauge import Used
from loadtest.bench.listeners import CHUNK, Order
from loadtest.bench.plan import Run
from loadtest.bench.rounds import in_rounds
from loadtest.bench.sides import Side, Speech

SETTLE_S = 1.0
"""What was begun before, storing what was made among it, is not to be counted."""
WARM = 25
"""So many come first: the first of all is the dearest."""


async def measure(run: Run) -> None:
    """Measure in rounds, all sides in turn."""
    await in_rounds(run, run.found.joins, _side)


async def _side(name: str, number: int, run: Run) -> list[Join]:
    async with sides.running(name, Speech(), run.ground) as side, crew(side.place) as clients:
        joins = [
            await _join(side, clients, run, number, min(run.plan.joins, sides.most_idle(name)))
        ]
        if side.place.dialect == "viva":
            joins.append(await _resume(side, clients, run, number, run.plan.joins))
        run.wrong(name, clients.wrong)
    for join in joins:
        told = ", ".join(f"{who} {us:.0f}" for who, us in join.us.items())
        run.tell(f"round {number} {name:<8}{join.what}: {told} µs  {join.void}".rstrip())
    return joins


async def _lacking(clients: Crew, count: int) -> str:
    """Return how many clients came, as a reason; nothing where all did."""
    there = (await clients.read()).connected
    return "" if there == count else f"{there} of {count} clients came"


async def _join(side: Side, clients: Crew, run: Run, number: int, count: int) -> Join:
    """Measure the sockets alone: interviews and tickets are made before."""
    await clients.open(WARM)
    await clients.order(Order(do="resume"))
    used: list[Used] = []
    left = count
    while left > 0:
        some = min(left, CHUNK)
        await clients.order(Order(do="prepare", count=some))
        await asyncio.sleep(SETTLE_S)
        meter = run.meter(side)
        await clients.order(Order(do="join", count=some))
        used.append(meter.used())
        left -= some
    fewer = await _lacking(clients, WARM + count)
    return _made(side, number, "join", count, used=used, void=fewer)


async def _resume(side: Side, clients: Crew, run: Run, number: int, count: int) -> Join:
    await asyncio.sleep(SETTLE_S)
    meter = run.meter(side)
    await clients.order(Order(do="resume"))
    used = [meter.used()]
    fewer = await _lacking(clients, WARM + count)
    return _made(side, number, "resume", count + WARM, used=used, void=fewer)


def _made(side: Side, number: int, what: str, count: int, *, used: list[Used], void: str) -> Join:
    return Join(
        side=side.name,
        round=number,
        what=what,
        count=count,
        us={who: 1e6 * sum(each.cpu[who] for each in used) / count for who in used[0].cpu},
        void=void or next((each.noise.void for each in used if each.noise.void), ""),
    )
