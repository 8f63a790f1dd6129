"""Whether a token stays as cheap with more interviews: some stream, the others are only there."""

from loadtest.bench import sides
from loadtest.bench.crew import crew
from loadtest.bench.findings import Cost
from loadtest.bench.plan import Run
from loadtest.bench.relay import reading
from loadtest.bench.rounds import in_rounds
from loadtest.bench.sides import Speech


async def measure(run: Run) -> None:
    """Measure in rounds, all sides in turn."""
    await in_rounds(run, run.found.growth, _side)


async def _side(name: str, number: int, run: Run) -> list[Cost]:
    costs: list[Cost] = []
    most = sides.most_idle(name)
    streams = run.plan.growth_streams
    counts = sorted({max(streams, min(count, most)) for count in run.plan.growth})
    speech = Speech(per_second=run.plan.per_second)
    async with sides.running(name, speech, run.ground) as side, crew(side.place) as clients:
        there = 0
        for count in counts:
            await clients.open(count - there)
            if not there:
                await clients.speak(streams)
            there = count
            cost = await reading(run, side, clients, round=number, streams=streams, there=count)
            costs.append(cost)
            told = ", ".join(f"{who} {us:.1f}" for who, us in cost.us.items())
            run.tell(
                f"round {number} {name:<8}{count:>5} interviews: {told} µs  {cost.void}".rstrip()
            )
        run.wrong(name, clients.wrong)
    return costs
