"""From recordings to a verdict: every check on every recording, counted, and held to thresholds."""

import time
from collections.abc import Sequence

from msgspec import Struct

from loadtest.evaluate.checks import CHECKS, COMPARISONS, Check, Comparison, Severity
from loadtest.evaluate.recording import Recording, mean
from protocol import events as e

LEAST = 0.9
"""The share of interviews that has to pass a check that only ``should``."""
TOLD = 3
"""How many sentences of one failure are kept."""


class Failure(Struct, frozen=True):
    """Where a check failed, and in which words."""

    interview: str
    told: tuple[str, ...]


class Result(Struct, frozen=True, kw_only=True):
    """What one check came to."""

    name: str
    group: str
    severity: Severity
    meaning: str
    passed: int
    failures: tuple[Failure, ...]
    ok: bool

    @property
    def looked_at(self) -> int:
        """How many interviews could show it."""
        return self.passed + len(self.failures)


class Summary(Struct, frozen=True, kw_only=True):
    """One interview in figures."""

    name: str
    persona: str
    type: str
    mode: str
    source: str
    turns: int
    seconds: float
    first_words_s: float
    """The median time until the interviewer's first words of a turn."""
    scores: tuple[int, ...]
    composite: float | None
    cost_micro_usd: int
    failed: tuple[str, ...]
    """The names of the checks that it did not pass."""


class Verdict(Struct, frozen=True, kw_only=True):
    """All that a run found."""

    seed: int
    ended_at: float
    took_s: float
    least: float
    spent_usd: float
    left_out: tuple[str, ...]
    interviews: tuple[Summary, ...]
    results: tuple[Result, ...]
    ok: bool

    @property
    def failed(self) -> tuple[Result, ...]:
        """The checks that fail the run."""
        return tuple(result for result in self.results if not result.ok)


def judge(
    recordings: Sequence[Recording],
    *,
    seed: int = 0,
    took_s: float = 0.0,
    least: float = LEAST,
    spent_usd: float = 0.0,
    left_out: Sequence[str] = (),
) -> Verdict:
    """Return the verdict on all recordings; without any it is bad."""
    results = (
        *(_checked(check, recordings, least) for check in CHECKS),
        *(_compared(comparison, recordings) for comparison in COMPARISONS),
    )
    failed: dict[str, list[str]] = {}
    for result in results:
        for failure in result.failures:
            failed.setdefault(failure.interview, []).append(result.name)
    return Verdict(
        seed=seed,
        ended_at=time.time(),
        took_s=took_s,
        least=least,
        spent_usd=spent_usd,
        left_out=tuple(left_out),
        interviews=tuple(_summary(r, failed.get(r.name, [])) for r in recordings),
        results=results,
        ok=bool(recordings) and all(result.ok for result in results),
    )


def _checked(check: Check, recordings: Sequence[Recording], least: float) -> Result:
    passed, failures = 0, list[Failure]()
    for recording in recordings:
        if not check.applies(recording):
            continue
        told = tuple(check.find(recording))[:TOLD]
        if told:
            failures.append(Failure(recording.name, told))
        else:
            passed += 1
    looked_at = passed + len(failures)
    ok = not failures
    if check.severity == "should" and looked_at:
        ok = passed / looked_at >= least
    return Result(
        name=check.name,
        group=check.group,
        severity=check.severity,
        meaning=check.meaning,
        passed=passed,
        failures=tuple(failures),
        ok=ok,
    )


def _compared(comparison: Comparison, recordings: Sequence[Recording]) -> Result:
    applies = comparison.applies(recordings)
    told = tuple(comparison.find(recordings)) if applies else ()
    failures = (Failure("all", told[: 2 * TOLD]),) if told else ()
    return Result(
        name=comparison.name,
        group=comparison.group,
        severity=comparison.severity,
        meaning=comparison.meaning,
        passed=int(applies and not told),
        failures=failures,
        ok=not failures,
    )


def _summary(recording: Recording, failed: list[str]) -> Summary:
    report = recording.report
    return Summary(
        name=recording.name,
        persona=recording.persona,
        type=str(recording.plan.get("type")),
        mode=recording.mode,
        source=recording.expected or (report.method if report else "unknown"),
        turns=len(recording.turns),
        seconds=round(recording.seen[-1].at, 1) if recording.seen else 0.0,
        first_words_s=round(_first_words(recording), 3),
        scores=tuple(recording.scores),
        composite=mean(recording.scores) if report is None else report.composite,
        cost_micro_usd=report.cost_micro_usd if report else 0,
        failed=tuple(failed),
    )


def _first_words(recording: Recording) -> float:
    begun: dict[int, float] = {}
    waits: list[float] = []
    for seen in recording.seen:
        match seen.message:
            case e.TurnStarted(turn=turn, speaker="interviewer"):
                begun.setdefault(turn, seen.at)
            case e.TurnDelta(turn=turn) if turn in begun:
                waits.append(seen.at - begun.pop(turn))
            case _:
                pass
    return sorted(waits)[len(waits) // 2] if waits else 0.0
