"""Text as the contract counts it: Unicode code points, no NUL, no lone surrogate."""

import hashlib
import re

_FLAGS = "|".join(
    "".join(chr(0xE0000 + ord(letter)) for letter in region)
    for region in ("gbeng", "gbsct", "gbwls")
)
_HIDDEN = re.compile(
    f"(\U0001f3f4(?:{_FLAGS})\U000e007f)|[\U000e0000-\U000e007f]"
    "|(?<![\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])[\U000e0100-\U000e01ef]"
)


def sha256(text: str) -> str:
    """Return the lower-case hex SHA-256 of the UTF-8 text, not normalised."""
    return hashlib.sha256(text.encode()).hexdigest()


def clip(text: str, limit: int, mark: str = "…") -> str:
    """Shorten ``text`` to at most ``limit`` code points, the mark included."""
    return text if len(text) <= limit else text[: limit - len(mark)] + mark


def unhidden(text: str, mark: str = "\ufffd") -> str:
    """Return ``text`` with a mark in place of each letter that no reader sees, but a model does.

    Tag characters spell ASCII, and the variation selectors' supplement spells bytes. What they are
    for stays: the flags of England, Scotland and Wales (UTS #51, annex C), and a variant of an
    ideograph (UTS #37).
    """
    return text if text.isascii() else _HIDDEN.sub(lambda found: found[1] or mark, text)


class Joiner:
    """Makes a model's pieces fit for the log: joins split surrogate pairs, drops NUL.

    Providers cut their streams between UTF-16 units, so that one emoji can arrive as two escapes
    in two chunks. ``feed`` holds a leading half back until its other half comes; a half that stays
    alone becomes U+FFFD (Unicode 16.0, §3.9, U+FFFD substitution of maximal subparts).
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = ""

    @property
    def holds(self) -> bool:
        """Whether half of a pair is held back."""
        return bool(self._held)

    def feed(self, piece: str) -> str:
        """Return the part of the text so far that may be logged now (perhaps nothing)."""
        if not self._held and piece.isascii():
            return piece.replace("\x00", "")
        text = self._held + piece
        self._held = ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._held = text[:-1], text[-1]
        return _whole(text)

    def close(self) -> str:
        """Return what was held back, now that no other half will come."""
        text, self._held = self._held, ""
        return _whole(text)


def _whole(text: str) -> str:
    paired = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return paired.replace("\x00", "")
