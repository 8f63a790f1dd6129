"""Tokens that tell when they were sent, for who measures how long they were under way.

A stamp is microseconds of the monotonic clock, which all processes of one machine share, as eight
hexadecimal digits: it comes round after 71 minutes.
"""

import time

MARK = "~"
_DIGITS = 8
STAMP_LENGTH = len(" ") + len(MARK) + _DIGITS
"""In code points."""
_ROUND = 1 << 32
_LONGEST_US = 600_000_000
"""What would be older was sent by another machine, or is no stamp at all."""


def now_us() -> int:
    """Return the time of the clock that stamps are taken from."""
    return time.monotonic_ns() // 1000


def stamp() -> str:
    """Return a token that tells when it was made."""
    return f" {MARK}{now_us() % _ROUND:08x}"


def ages_us(text: str, now: int) -> list[int]:
    """Return how old each stamp in ``text`` is at ``now``, in microseconds."""
    ages: list[int] = []
    for part in text.split(MARK)[1:]:
        try:
            age = (now - int(part[:_DIGITS], 16)) % _ROUND
        except ValueError:
            continue  # a word that begins like one
        if age < _LONGEST_US:
            ages.append(age)
    return ages
