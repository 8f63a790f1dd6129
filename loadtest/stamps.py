"""Tokens that tell when they were sent, for who measures how long they were under way.

A stamp is microseconds of the monotonic clock, which all processes of one machine share, as eight
hexadecimal digits: it comes round after 71 minutes. The last one of a reply also tells how many
they are, so that whoever reads the reply can tell whether all of them came, in their order.
"""

import itertools
import re
import time

MARK = "~"
_DIGITS = 8
STAMP_LENGTH = len(" ") + len(MARK) + _DIGITS
"""In code points."""
_COUNT = "#"
_LION = "\N{LION FACE}"
_REPLY = re.compile(rf"(?: ?{MARK}[0-9a-f]{{{_DIGITS}}})+(?:{_COUNT}(?P<count>[0-9]+))?")
_ROUND = 1 << 32
_LONGEST_US = 600_000_000
"""What would be older was sent by another machine, or is no stamp at all."""


def now_us() -> int:
    """Return the time of the clock that stamps are taken from."""
    return time.monotonic_ns() // 1000


def stamp() -> str:
    """Return a token that tells when it was made."""
    return f" {MARK}{now_us() % _ROUND:08x}"


def last_stamp(count: int) -> str:
    """Return a stamp that ends a reply of ``count`` tokens."""
    return f"{stamp()}{_COUNT}{count}"


def lack_of(text: str, *, cut: bool = False) -> str:
    """Tell what a reply of stamps lacks; nothing, where all were sent that it should hold.

    One that was ``cut`` lacks its end by right. What the fault ``surrogate`` puts between is none.
    """
    found = _REPLY.fullmatch(text.replace(_LION, ""))
    if found is None:
        return "holds what is no stamp"
    times = [int(part[:_DIGITS], 16) for part in text.split(MARK)[1:]]
    if any((b - a) % _ROUND > _LONGEST_US for a, b in itertools.pairwise(times)):
        return "is not in the order in which it was sent"
    count = found["count"]
    if count is None:
        return "" if cut else "lacks its end"
    return "" if int(count) == len(times) else f"holds {len(times)} tokens of {count}"


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
