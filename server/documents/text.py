"""Text as a plan takes it: bounded, folded, without what is no text."""

import re
import unicodedata
from itertools import groupby, islice

from protocol.text import unhidden
from server.documents.faults import UnreadableError

LONGEST = 20_000
"""Code points; see `protocol.plan.Document`."""
LOOKED_AT = 3 * LONGEST
"""Code points that are folded, at most: white space and control characters go."""
MARKS = 30
"""The most combining marks in a row; no language needs so many. Source: UAX #15, Stream-Safe Text
Format, which breaks longer runs for the same reason: to normalise one takes the square of its
length, and no thread has the interpreter meanwhile."""

_LIGATURES = str.maketrans(
    {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"}
)
"""PDFs are set with them; words are compared and read by models without."""
_DROPPED = frozenset(("Cc", "Co", "Cn", "Cs"))
"""Control characters, and code points without a meaning: the icons of many a résumé."""
_BLANK = re.compile(r"[ \t\u00a0\u2000-\u200a\u202f\u205f\u3000]+")
_LINES = re.compile(r"\n{3,}")
_STEERING = re.compile("[\u00ad\u202a-\u202e\u2066-\u2069\ufeff]")
"""Soft hyphens, byte order marks, and what turns the direction of text: it would hide words."""


def decoded(content: bytes) -> str:
    """Return the text of a text file: UTF-8, or UTF-16 with its mark, or else Windows-1252.

    Raises:
        UnreadableError: it holds what no text does.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = _strictly(content, "utf-16")
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = _strictly(content, "cp1252")
    if "\0" in text:
        raise UnreadableError("damaged")
    return text


def folded(text: str) -> tuple[str, bool]:
    """Return the text fit for a plan, and whether some of its end is missing.

    Raises:
        UnreadableError: nothing is left that could be read.
    """
    clipped = len(text) > LOOKED_AT
    lines = text[:LOOKED_AT].replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n")
    lines = _STEERING.sub("", unhidden(lines, "")).translate(_LIGATURES)
    lines = _sparing(lines)
    lines = unicodedata.normalize("NFC", lines)
    kept = "".join(each for each in lines if each in "\n\t" or not _no_text(each))
    kept = "\n".join(_BLANK.sub(" ", line).strip() for line in kept.split("\n"))
    kept = _LINES.sub("\n\n", kept).strip()
    if not any(each.isalnum() for each in kept):
        raise UnreadableError("no_text")
    return kept[:LONGEST].rstrip(), clipped or len(kept) > LONGEST


def _sparing(text: str) -> str:
    """Return text without what is beyond `MARKS` of a run of combining marks."""
    runs = groupby(text, _is_mark)
    return "".join("".join(islice(run, MARKS) if marks else run) for marks, run in runs)


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "M"


def _no_text(character: str) -> bool:
    return unicodedata.category(character) in _DROPPED


def _strictly(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        raise UnreadableError("damaged") from None
