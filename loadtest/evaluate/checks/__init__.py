"""All checks, by name."""

from collections.abc import Sequence

from loadtest.evaluate.checks import conduct, delivery, ratings, report, words
from loadtest.evaluate.checks.base import Check, Comparison, Severity
from loadtest.evaluate.checks.between import COMPARISONS

CHECKS: Sequence[Check] = tuple(
    check
    for module in (conduct, words, delivery, ratings, report)
    for check in module.CATALOGUE.checks
)

__all__ = ["CHECKS", "COMPARISONS", "Check", "Comparison", "Severity"]
