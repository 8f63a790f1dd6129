"""Whether the thresholds held, and whether the run says anything about the server at all."""

from collections.abc import Iterator, Mapping, Sequence

from loadtest.awake import REFUSED
from loadtest.load.aside import Aside
from loadtest.load.result import Bound, Point, Verdict
from loadtest.load.scenario import Machine, Scenario, flat

WINDOW = 10
"""So many seconds in a row are looked at together: one busy second voids nothing."""
ALWAYS = ("gaps", "repeats", "corrupt", "lost", "doubled")
"""What must never happen, whatever a scenario says of it and however busy the machine is."""
_NOTHING = Aside()


def bounds(
    scenario: Scenario,
    figures: Mapping[str, float],
    latencies: Mapping[str, Mapping[str, float]],
    aside: Aside = _NOTHING,
) -> list[Bound]:
    """Hold each threshold against what there was. What was not measured did not hold.

    What must never happen has one of 0 where the scenario gives it none. ``aside`` gives the reason
    for which one does not count in this run; it holds then.
    """
    judged: list[Bound] = []
    most = dict.fromkeys(ALWAYS, 0.0) | flat(scenario.at_most)
    for at_most, given in ((True, most), (False, flat(scenario.at_least))):
        for figure, bound in given.items():
            name, _, part = figure.partition(".")
            found = latencies.get(name, {}).get(part) if part else figures.get(figure)
            held = found is not None and (found <= bound if at_most else found >= bound)
            if reason := aside(figure, found, at_most=at_most):
                held = True
            judged.append(
                Bound(
                    figure=figure,
                    at_most=at_most,
                    bound=bound,
                    found=found,
                    held=held,
                    aside=reason,
                )
            )
    return judged


def void(
    machine: Machine,
    points: Sequence[Point],
    late_ms: float = 0.0,
    *,
    others: float | None = None,
    awake: bool = True,
    provider: float = 0.0,
) -> Iterator[str]:
    """Give the reasons for which a run is void. ``points`` are those that thresholds are about.

    ``late_ms`` is how late the generator was at its 99th percentile, ``others`` how many cores
    processes took that are no part of the run, where that is known, ``awake`` whether idle cores
    were kept from sleeping, ``provider`` how many cores the fake provider took.
    """
    busy = _worst([point.busy for point in points])
    if busy is not None and busy > machine.busy:
        foreign = f", {others:.1f} cores of it with what is no part of the run" if others else ""
        yield (
            f"the machine's CPU was {busy:.0%} busy for {min(WINDOW, len(points))} s{foreign};"
            f" {machine.busy:.0%} is the most at which latencies are the server's"
        )
    stolen = _worst([point.stolen for point in points])
    if stolen is not None and stolen > machine.stolen:
        refused = machine.awake and not awake
        asleep = f"; {REFUSED}" if refused else ""
        yield f"the machine's host took {stolen:.1%} of its CPU away{asleep}"
    if provider > machine.busy:
        yield (
            f"the fake provider, which has one core, used {provider:.2f} of it: less is asked of"
            " the server than the scenario says"
        )
    if late_ms > machine.late_ms:
        yield f"the generator was {late_ms:.0f} ms late at p99: give it more workers or less to do"


def verdict(reasons: Sequence[str], judged: Sequence[Bound]) -> Verdict:
    """Return what a run comes to; correctness that broke is broken on a busy machine, too."""
    wrong = [bound for bound in judged if not bound.held]
    if any(bound.figure in ALWAYS for bound in wrong):
        return "broken"
    if reasons:
        return "void"
    return "broken" if wrong else "held"


def _worst(values: Sequence[float | None]) -> float | None:
    """Return the highest mean of `WINDOW` values in a row."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    window = min(WINDOW, len(known))
    means = (sum(known[i : i + window]) / window for i in range(len(known) - window + 1))
    return max(means)
