"""Whether a token stays as cheap with more interviews: some stream, the others are only there."""

from loadtest.bench import sides
from loadtest.bench.findings import Cost
from loadtest.bench.plan import Run
from loadtest.bench.relay import load
from loadtest.bench.rounds import in_rounds


async def measure(run: Run) -> None:
    """Measure in rounds, all sides in turn."""
    await in_rounds(run, run.found.growth, _side)


async def _side(name: str, number: int, run: Run) -> list[Cost]:
    costs: list[Cost] = []
    most, streams = sides.most_idle(name), run.plan.growth_streams
    for count in sorted({max(streams, min(count, most)) for count in run.plan.growth}):
        cost = await load(
            name, number, run, there=count, streams=streams, rest_s=run.plan.growth_rest_s
        )
        costs.append(cost)
        told = ", ".join(f"{who} {us:.1f}" for who, us in cost.us.items())
        run.tell(f"round {number} {name:<8}{count:>5} interviews: {told} µs  {cost.void}".rstrip())
    return costs
