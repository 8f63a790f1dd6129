"""Which of several forms a client is given (RFC 9110, §12.5.1)."""

from collections.abc import Sequence

from server.problems import ProblemError


def preferred(accept: str, offered: Sequence[str]) -> str:
    """Return the offered media type that ``accept`` gives most weight, the first one in doubt.

    Raises:
        ProblemError: 406, it takes none of them.
    """
    ranges = [_range(text) for text in accept.split(",") if text.strip()]
    if not ranges:
        return offered[0]
    best = max(offered, key=lambda name: _quality(name, ranges))
    if not _quality(best, ranges):
        there = ", ".join(offered)
        raise ProblemError(406, "not_acceptable", f"This comes as {there}.", {"Vary": "Accept"})
    return best


def _range(text: str) -> tuple[str, float]:
    """Read one media range; parameters other than its weight do not matter here."""
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    weights = [part.removeprefix("q=") for part in parameters if part.startswith("q=")]
    try:
        weight = float(weights[0]) if weights else 1.0
    except ValueError:
        weight = 0.0
    return name, weight if 0.0 <= weight <= 1.0 else 0.0


def _quality(name: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Return the weight of the most specific range that takes ``name`` in."""
    weights = dict(ranges)
    for taking in (name, f"{name.partition('/')[0]}/*", "*/*"):
        if taking in weights:
            return weights[taking]
    return 0.0
