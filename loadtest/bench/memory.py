"""Memory for each further interview, silent or streaming, and what silence costs."""

import asyncio

from loadtest.bench import gauge, sides
from loadtest.bench.crew import crew
from loadtest.bench.findings import SERVER, Held
from loadtest.bench.plan import Run
from loadtest.bench.sides import Speech

SETTLE_S = 2.0
ROUNDS = 1
"""A slope over several counts hardly differs from run to run; only CPU needs many."""


async def measure(run: Run) -> None:
    """Measure every side, silent and streaming."""
    for name in run.plan.sides:
        for streaming in (False, True):
            await _side(name, run, streaming=streaming)


async def _side(name: str, run: Run, *, streaming: bool) -> None:
    counts = run.plan.streaming if streaming else run.plan.idle
    most = sides.most_streams(name) if streaming else sides.most_idle(name)
    counts = sorted({min(count, most) for count in counts})
    speech = Speech(per_second=run.plan.slowly)
    async with sides.running(name, speech, run.ground) as side, crew(side.place) as clients:
        there = 0
        for count in counts:
            told = await clients.open(count - there)
            fewer = "" if told.connected == count else f"{told.connected} of {count} clients came"
            if streaming:
                await clients.speak(count - there)
            there = count
            await asyncio.sleep(SETTLE_S)
            meter = run.meter(side)
            await asyncio.sleep(run.plan.seconds)
            used, holds = meter.used(), gauge.memory(side.pid)
            silence_us = 1e6 * used.cpu[SERVER] / used.seconds / count
            held = Held(
                side=name,
                round=ROUNDS,
                streaming=streaming,
                count=count,
                rss=holds.whole,
                uss=holds.own,
                idle_us=None if streaming else silence_us,
                # Memory is what it is however busy the machine; CPU is not.
                void=fewer or ("" if streaming else used.noise.void),
            )
            run.found.memory.append(held)
            kind = "streaming" if streaming else "silent"
            run.tell(
                f"{name:<8}{count:>5} {kind}: {holds.whole / 1e6:.1f} MB, {silence_us:.0f} µs/s"
                f"  {held.void}".rstrip()
            )
        run.wrong(name, clients.wrong)
