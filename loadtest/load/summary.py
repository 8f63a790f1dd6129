"""A result in a few lines, for people at a terminal."""

from collections.abc import Iterator, Sequence

from loadtest.load.figures import LATENCIES
from loadtest.load.knee import highest, never, unknown
from loadtest.load.result import Bound, Result, Step

_HEADS = {
    "held": "every threshold held",
    "broken": "broken",
    "void": "void: the run says nothing about the server",
}
_FIGURES = (
    "server_cpu_us_per_token",
    "generator_cpu_us_per_token",
    "server_memory_mb",
    "yardstick_us",
)
_FELL = "the first step did not hold"
_VOID = "the run was void"


def told(result: Result) -> str:
    """Return the lines."""
    return "\n".join(_lines(result)) + "\n"


def _lines(result: Result) -> Iterator[str]:
    yield from _verdict(result)
    yield from _knee(result)
    yield from _figures(result)


def _verdict(result: Result) -> Iterator[str]:
    aside = _set_aside(result)
    but = ", but for those set aside" if aside and result.verdict == "held" else ""
    yield f"{result.name}, seed {result.scenario.seed}: {_HEADS[result.verdict]}{but}"
    for reason in result.void:
        yield f"  void    {reason}"
    for bound in result.bounds:
        if not bound.held:
            yield f"  BROKEN  {sentence(bound)}"
    for reason, figures in aside.items():
        yield f"  aside   {', '.join(figures)}: {reason}"
    for kind, count in result.errors.items():
        sample = (result.samples.get(kind) or [""])[0]
        yield f"  error   {count:,} of {kind}{f': {sample}' if sample else ''}"
    if result.no_metrics:
        yield f"  no CPU or memory of the instances: {result.no_metrics}"


def _figures(result: Result) -> Iterator[str]:
    figures = result.figures
    yield (
        f"  {figures['interviews']:,.0f} interviews, {figures['answers']:,.0f} answers,"
        f" {figures['turns']:,.0f} turns, {figures['reconnects']:,.0f} reconnects,"
        f" {figures['transcripts']:,.0f} transcripts held against what was seen"
        + (f", {stored:,.0f} in PostgreSQL" if (stored := figures.get("stored")) else "")
    )
    yield (
        f"  {figures['tokens_per_second']:,.0f} tokens/s, {figures['requests_per_second']:,.0f}"
        f" requests/s, {figures['streaming']:,.0f} streaming, {figures['connected']:,.0f}"
        " connected at the least"
    )
    for name in (*LATENCIES, *sorted(set(result.latencies) - set(LATENCIES))):
        if name in result.latencies:
            yield f"  {_latency(name, result.latencies[name])}"
    cores = ", ".join(f"{name} {used:.2f}" for name, used in sorted(result.cores.items()))
    yield f"  cores   {cores}{'; idle ones were kept awake' if result.awake else ''}"
    for name in _FIGURES:
        if name in figures:
            yield f"  {name} {figures[name]:,.1f}"


def _set_aside(result: Result) -> dict[str, list[str]]:
    """Return the thresholds that do not count, by the reason."""
    found: dict[str, list[str]] = {}
    for bound in result.bounds:
        if bound.aside:
            found.setdefault(bound.aside, []).append(bound.figure)
    return found


def _knee(result: Result) -> Iterator[str]:
    if not result.steps:
        return
    unit = "users" if result.scenario.users.count else "arrivals/s"
    for step in result.steps:
        why = f" by {', '.join(step.broken)}" if step.broken and step.verdict == "broken" else ""
        yield f"  step    {number(step.load)} {unit}: {step.verdict}{why}"
    yield f"  knee    {_between(result.steps, unit)}"


def _between(steps: Sequence[Step], unit: str) -> str:
    """Return between which loads the knee lies, as far as the steps tell."""
    held, last = highest(steps), steps[-1]
    if wrong := never(last):
        seen = f"{number(last.load)} {unit}"
        return f"not found: what must never happen did with {seen}: {', '.join(wrong)}"
    void = unknown(steps)
    if not held:
        first = f"{number(last.load)} {unit}"
        return f"not known: all was void with {first}" if void else f"below {first}: {_FELL}"
    fell = [step.load for step in steps if step.verdict == "broken" and step.load > held]
    if not (fell or void):
        return f"not reached: {number(held)} {unit} hold, more were not tried"
    told = f"{number(held)} {unit} hold"
    if fell:
        told += f", {number(min(fell))} do not"
    if void:
        told += f"; of {', '.join(map(number, void))} nothing is known: {_VOID}"
    return told


def _latency(name: str, found: dict[str, float]) -> str:
    return (
        f"{name:<16} p50 {found['p50_ms']:9.1f}  p95 {found['p95_ms']:9.1f}"
        f"  p99 {found['p99_ms']:9.1f}  max {found['max_ms']:9.1f} ms  ({found['count']:,.0f})"
    )


def number(value: float) -> str:
    """Return it without an exponent: whole where it is large, else to four digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def sentence(bound: Bound) -> str:
    """Return a threshold and what there was."""
    side = "at most" if bound.at_most else "at least"
    found = "was not measured" if bound.found is None else f"was {number(bound.found)}"
    return f"{bound.figure} {found}, {side} {number(bound.bound)} is allowed"
