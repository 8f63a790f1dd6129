"""A check: a named question to one recording, or to all of a run, with what makes it matter."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

from loadtest.evaluate.recording import Recording

Severity = Literal["must", "should"]
"""``must``: one failure fails the run. ``should``: a share of interviews has to pass."""
Group = Literal["conduct", "words", "delivery", "ratings", "report", "comparison"]

One = Callable[[Recording], Iterable[str]]
Many = Callable[[Sequence[Recording]], Iterable[str]]


class Check(NamedTuple):
    """``find`` tells in sentences what is wrong; nothing where all is well.

    ``applies``: whether a recording can show it at all.
    """

    name: str
    group: Group
    severity: Severity
    meaning: str
    find: One
    applies: Callable[[Recording], bool]


class Comparison(NamedTuple):
    """A check over all recordings of a run. ``find`` yields None where it cannot tell."""

    name: str
    severity: Severity
    meaning: str
    find: Many
    applies: Callable[[Sequence[Recording]], bool]
    group: Group = "comparison"


def _always(_: Recording) -> bool:
    return True


class Catalogue:
    """The checks of one module, in the order in which they stand there."""

    def __init__(self, group: Group) -> None:
        self.group: Group = group
        self.checks: list[Check] = []

    def check(
        self,
        name: str,
        *,
        severity: Severity = "must",
        applies: Callable[[Recording], bool] = _always,
    ) -> Callable[[One], One]:
        """Enter the function below as a check; its docstring is what the report says of it."""

        def enter(find: One) -> One:
            meaning = (find.__doc__ or "").strip()
            self.checks.append(Check(name, self.group, severity, meaning, find, applies))
            return find

        return enter


# --- which recordings a check can say something about ---------------------------------------------


def stays(recording: Recording) -> bool:
    """Whether the candidate stayed to the end."""
    return not recording.early


def assesses(recording: Recording) -> bool:
    """Whether it is an assessment."""
    return recording.mode == "assessment"


def practises(recording: Recording) -> bool:
    """Whether it is for practice."""
    return recording.mode == "practice"


def reported(recording: Recording) -> bool:
    """Whether there is a report."""
    return recording.report is not None


def by_model(recording: Recording) -> bool:
    """Whether a model rated it."""
    return recording.report is not None and recording.report.method == "model"


def by_rules(recording: Recording) -> bool:
    """Whether it was looked at without a model."""
    return recording.report is not None and recording.report.method == "offline"
