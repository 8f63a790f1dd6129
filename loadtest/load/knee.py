"""The knee: how much load a deployment takes before the thresholds break."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from loadtest.load.judge import ALWAYS
from loadtest.load.result import Result, Step
from loadtest.load.scenario import Knee, Scenario, changed

Attempt = Callable[[Scenario], Awaitable[Result]]


def at(scenario: Scenario, load: float) -> Scenario:
    """Return the scenario with so many users, or arrivals a second."""
    if scenario.users.count:
        return changed(scenario, "users", count=max(1, round(load)))
    return changed(scenario, "users", per_second=load)


async def climb(scenario: Scenario, knee: Knee, attempt: Attempt) -> tuple[Result, list[Step]]:
    """Return the run at the highest load that held (else the first one), and every step.

    Loads grow by a factor until one does not hold, then the gap is halved. A step that is void is
    made once more: something else may have used the machine. If it is void again the knee is looked
    for below it, as who has no CPU left is behind the knee. What must never happen ends the climb,
    and the run in which it did is the one that is returned: there is no load at which it may.
    """
    steps: list[Step] = []
    best: Result | None = None
    chosen: Result | None = None
    async for load, result in _attempts(scenario, knee, attempt, steps):
        if result.verdict == "held" and (best is None or load > _load(best)):
            chosen = best = result
        elif chosen is None or never(steps[-1]):
            chosen = result
    assert chosen is not None  # noqa: S101 - a knee has one step at least
    return chosen, steps


async def _attempts(
    scenario: Scenario, knee: Knee, attempt: Attempt, steps: list[Step]
) -> AsyncIterator[tuple[float, Result]]:
    held, broke, load, halved = 0.0, 0.0, knee.start, 0
    tried = 0
    while tried < knee.steps if not broke else held and halved < knee.finer:
        if broke:
            load, halved = (held + broke) / 2, halved + 1
        tried += 1
        result = await attempt(at(scenario, load))
        steps.append(_step(load, result))
        if result.verdict == "void":
            result = await attempt(at(scenario, load))
            steps.append(_step(load, result))
        yield load, result
        if never(steps[-1]):
            return
        if result.verdict == "held":
            held = load
            load *= knee.factor
        else:
            broke = load


def highest(steps: Sequence[Step]) -> float:
    """Return the highest load that held, 0 where none did."""
    return max((step.load for step in steps if step.verdict == "held"), default=0.0)


def unknown(steps: Sequence[Step]) -> list[float]:
    """Return the loads of which nothing is known: each run of theirs was void."""
    known = {step.load for step in steps if step.verdict != "void"}
    return sorted({step.load for step in steps} - known)


def never(step: Step) -> list[str]:
    """Return what must never happen, and did in this step."""
    return [figure for figure in step.broken if figure in ALWAYS]


def _load(result: Result) -> float:
    users = result.scenario.users
    return float(users.count or users.per_second)


def _step(load: float, result: Result) -> Step:
    return Step(
        load=load,
        verdict=result.verdict,
        figures=result.figures
        | {
            f"added.{part}": result.latencies["added"][part]
            for part in ("p50_ms", "p99_ms")
            if "added" in result.latencies
        },
        broken=[bound.figure for bound in result.bounds if not bound.held],
    )
