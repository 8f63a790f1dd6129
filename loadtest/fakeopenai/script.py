"""What the model says: drawn from the seed and the call's number, never the same twice."""

import random

from loadtest.stamps import last_stamp, stamp

STAMP = "<stamp>"
"""A token that becomes a stamp when it is sent."""
_LAST = "<last>"

_OPENINGS = (
    "Tell me about a time when",
    "Walk me through how",
    "Suppose that",
    "Let us talk about how",
    "Could you explain why",
)
_WORDS = """
you your team the queue a deadline naïve retries 日本語 the cache someone decided to measured
before after because of what it cost 🦁 👩🏽‍💻 and then you chose “good enough” over perfect
the result was that nobody noticed until e\u0301tienne asked which trade-off you regret most
""".split()  # noqa: SIM905 - prose is easier to read than a list of words


def tokens_of(seed: int, call: int, length: int) -> list[str]:
    """Return the reply to the ``call``-th call as ``length`` tokens."""
    draw = random.Random(f"{seed} {call}")
    words = [draw.choice(_OPENINGS).split()[0], *(draw.choice(_WORDS) for _ in range(length - 1))]
    return [word if place == 0 else f" {word}" for place, word in enumerate(words)]


def stamps(length: int) -> list[str]:
    """Return a reply of ``length`` stamps."""
    return [*[STAMP] * (length - 1), f"{_LAST}{length}"]


def said(token: str) -> str:
    """Return a token as it is sent."""
    if token is STAMP:
        return stamp()
    return last_stamp(int(token.removeprefix(_LAST))) if token.startswith(_LAST) else token
