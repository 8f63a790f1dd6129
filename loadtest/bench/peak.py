"""The peak: thousands of interviews, hundreds of them spoken to, and how late the words come.

All that holds so many is beside the floor here, in the same rounds and under the same load.
"""

from loadtest.bench.findings import Cost
from loadtest.bench.plan import Run
from loadtest.bench.relay import load
from loadtest.bench.rounds import in_rounds

SIDES = ("floor", "viva")


async def measure(run: Run) -> None:
    """Measure in rounds, both sides in turn."""
    await in_rounds(run, run.found.peak, _side)


async def _side(name: str, number: int, run: Run) -> list[Cost]:
    if name not in SIDES:
        return []
    there, streams = run.plan.peak
    cost = await load(name, number, run, there=there, streams=streams)
    delays = " / ".join(f"{delay:.1f}" for delay in cost.delay_ms)
    short = "" if cost.carried else ", not carried"
    run.tell(f"round {number} {name:<8}p50 / p99 {delays} ms{short}  {cost.void}".rstrip())
    return [cost]
