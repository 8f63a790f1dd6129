"""Handles: opaque to the runner, they name the place in a source right behind a piece of text.

``bank:<length>``, ``cache:<length>`` and ``resp:<response id>:<sequence>:<skip>:<length>``, with
``:<model>`` behind it where another model than the first one speaks. A model's stream may be cut
inside a surrogate pair, so that an event's text is logged only in part; then ``sequence`` stays
before that event and ``skip`` tells how many code points behind it are logged already. ``length``
is that of the attempt's logged text, a check that handle and text were saved together.
"""

import re

from msgspec import Struct

_BANK = re.compile(r"bank:(0|[1-9]\d{0,8})")
_CACHE = re.compile(r"cache:(0|[1-9]\d{0,8})")
_ID = r"[\w.-]{1,128}"
_RESPONSE = re.compile(rf"resp:({_ID}):(\d{{1,12}}):(\d{{1,6}}):(\d{{1,9}})(?::([1-9]))?", re.ASCII)
_NAMEABLE = re.compile(_ID, re.ASCII)


class BankPosition(Struct, frozen=True):
    """A place in what the bank says in a turn."""

    length: int

    def __str__(self) -> str:
        """Return the handle."""
        return f"bank:{self.length}"


class CachePosition(Struct, frozen=True):
    """A place in a turn of shared wordings."""

    length: int

    def __str__(self) -> str:
        """Return the handle."""
        return f"cache:{self.length}"


class ResponsePosition(Struct, frozen=True):
    """A place in a background response, of the ``model``-th of the models that are tried."""

    response_id: str
    sequence: int
    skip: int
    length: int
    model: int = 0

    def __str__(self) -> str:
        """Return the handle."""
        other = f":{self.model}" if self.model else ""
        return f"resp:{self.response_id}:{self.sequence}:{self.skip}:{self.length}{other}"


Position = BankPosition | CachePosition | ResponsePosition


def parse_handle(handle: str) -> Position | None:
    """Return the place a handle names, or None where it is not a handle of this version."""
    if match := _BANK.fullmatch(handle):
        return BankPosition(int(match[1]))
    if match := _CACHE.fullmatch(handle):
        return CachePosition(int(match[1]))
    if match := _RESPONSE.fullmatch(handle):
        numbers = (int(match[group] or 0) for group in range(2, 6))
        return ResponsePosition(match[1], *numbers)
    return None


def nameable(response_id: str) -> bool:
    """Whether handles can name a response by this id."""
    return _NAMEABLE.fullmatch(response_id) is not None


def stored_response(handle: str) -> str:
    """Return the id of the stored response that a handle names; empty if it names none."""
    position = parse_handle(handle)
    return position.response_id if isinstance(position, ResponsePosition) else ""


def needs_response(logged: str, response_id: str) -> bool:
    """Whether who goes on from ``logged`` needs a stored response.

    What a newer version wrote may name any, for all that is known here.
    """
    if logged and parse_handle(logged) is None:
        return True
    return bool(response_id) and stored_response(logged) == response_id
