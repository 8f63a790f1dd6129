"""Event ids: ``<seq>-<check>``, a position in the log and a fingerprint of all that led to it.

``seq`` counts 1, 2, 3 … without a hole. ``check`` is 52 bits of ``sha1(previous check ‖ body)``,
so that an id reissued after lost writes never matches the one a client holds. It stays below 2^53
because the same sum is computed in Lua, whose numbers are doubles.
"""

import hashlib
import re
from typing import NamedTuple

from protocol.scalars import MAX_INTEGER

_FORM = re.compile(r"(0|[1-9][0-9]{0,15})-(0|[1-9][0-9]{0,15})")


class EventId(NamedTuple):
    """A position in one interview's log."""

    seq: int
    check: int

    def __str__(self) -> str:
        """Return the wire form."""
        return f"{self.seq}-{self.check}"

    def after(self, body: bytes) -> "EventId":
        """Return the id that the log gives to ``body`` when it is appended behind this one."""
        return EventId(self.seq + 1, chain(self.check, body))


ORIGIN = EventId(0, 0)
"""The head of an empty log, ``0-0``."""


def chain(check: int, body: bytes) -> int:
    """Return the check of an event whose encoded body follows an event with ``check``."""
    digest = hashlib.sha1(str(check).encode() + body, usedforsecurity=False).hexdigest()
    return int(digest[:13], 16)


def trusted_event_id(text: str | bytes) -> EventId:
    """Read an event id that this system wrote itself: each delta brings several.

    Raises:
        ValueError: the text is no event id at all; its form is not looked at closely.
    """
    seq, check = text.split("-") if isinstance(text, str) else text.split(b"-")
    return EventId(int(seq), int(check))


def parse_event_id(text: str) -> EventId:
    """Read the wire form of an event id.

    Raises:
        ValueError: the text is not ``<seq>-<check>`` in plain decimal.
    """
    match = _FORM.fullmatch(text)
    found = EventId(int(match[1]), int(match[2])) if match else None
    if found is None or max(found) > MAX_INTEGER:
        raise ValueError("an event id is <seq>-<check> in decimal")
    return found
