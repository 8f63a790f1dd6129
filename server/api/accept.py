"""Which of several forms a client is given (RFC 9110, §12.5.1)."""

from collections.abc import Sequence


def preferred(accept: str, offered: Sequence[str]) -> str:
    """Return the offered media type that ``accept`` gives most weight, the first one in doubt.

    Where none is acceptable it is the first one, too: the RFC leaves that to the server, and most
    clients that send a wrong header can read it.
    """
    ranges = [_range(text) for text in accept.split(",") if text.strip()]
    return max(offered, key=lambda name: _quality(name, ranges))


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
