"""A short phrase of the candidate's answer, fit to be said back inside a sentence.

The answer is whatever somebody typed or a recogniser understood, in any script. What comes out is
one line without quotation marks, controls, bidirectional overrides or halves of characters, of at
most `WORDS` whole words and `LENGTH` code points. Where a script has no spaces, a long clause is
cut between graphemes (nearly UAX #29) and marked with an ellipsis.
"""

import re
import unicodedata
from functools import lru_cache

from ai.bank.entries import Words

WORDS = 9
LENGTH = 60
SHORTEST = 3
"""Fewer words than these would not be recognised; a phrase is not shortened below it."""

UNSPACED = 30
"""Where a word longer than `LENGTH`, so probably a sentence of a script without spaces, is cut."""

_BREAK = re.compile(
    r"[\n\r\v\f\x85\u2028\u2029。、！？；：，．।؟۔؛،「」『』()\[\]]"  # noqa: RUF001  # what ends a clause
    r"|(?<![.,;:!?…])[.,;:!?…]++(?=\s|\Z)|\s[-–—]+\s"  # noqa: RUF001  # and dashes; once a run
)
_QUOTES = frozenset('"“”„‟«»＂`‹›')  # noqa: RUF001  # all that may stand around a quotation
_FLAGS = "".join(map(chr, range(0x1F1E6, 0x1F200)))
_JOINERS = frozenset("\u200c\u200d")
_EDGES = " '’‘.,;:!?…-–—"  # noqa: RUF001  # apostrophes and dashes too


def quote(answer: str, near: int | None, words: Words) -> str:
    """Return a phrase of ``answer``; around the offset ``near`` where one is given.

    Empty only where the answer holds no letter and no digit.
    """
    if near is not None:
        phrase = _around(answer, near, words)
        if phrase:
            return phrase
    best = ""
    for clause in _BREAK.split(answer):
        phrase = _window(_words(clause), 0, words)
        if _weight(phrase) > _weight(best):
            best = phrase
    return best


def clean(text: str) -> str:
    """Return ``text`` as one line without quotation marks, controls and lone surrogates."""
    return " ".join("".join(map(_cleaned, text)).split())


@lru_cache(4096)
def _cleaned(char: str) -> str:
    if char.isascii():
        return " " if char < " " or char == "\x7f" else "" if char in _QUOTES else char
    if char in _QUOTES:
        return ""
    category = unicodedata.category(char)
    if category == "Cc":
        return " "
    return "" if category == "Cs" or (category == "Cf" and char not in _JOINERS) else char


def _around(answer: str, near: int, words: Words) -> str:
    start, end = 0, len(answer)
    for match in _BREAK.finditer(answer):
        if match.end() <= near:
            start = match.end()
        elif match.start() > near:
            end = match.start()
            break
    before, clause = len(_words(answer[start:near])), _words(answer[start:end])
    # From the clause's beginning where that reaches the word, else from a little before the word.
    first = 0 if before < WORDS - 2 else before - 2
    return _window(clause, first, words)


def _words(clause: str) -> list[str]:
    return clean(clause).split()


def _window(clause: list[str], first: int, words: Words) -> str:
    """Return whole words of ``clause`` from ``first`` on, as many as fit, without loose ends."""
    while first < len(clause) - 1 and _bare(clause[first]) in words.fillers:
        first += 1
    taken: list[str] = []
    for word in clause[first : first + WORDS]:
        if len(" ".join((*taken, word))) > LENGTH:
            break
        taken.append(word)
    if not taken and first < len(clause):
        return _cut(clause[first])
    if first + len(taken) < len(clause):
        taken = taken[: _joint(taken, words)]
        while len(taken) > 1 and _bare(taken[-1]) in words.loose_ends:
            taken.pop()
    phrase = " ".join(taken).strip(_EDGES)
    return phrase if any(map(str.isalnum, phrase)) else ""


def _joint(taken: list[str], words: Words) -> int:
    """Return where a phrase that was cut can end earlier, but before its clause's last joint."""
    for place in range(len(taken) - 1, SHORTEST - 1, -1):
        if _bare(taken[place]) in words.joints:
            return place
    return len(taken)


def _bare(word: str) -> str:
    return word.strip(_EDGES).casefold()


def _weight(phrase: str) -> int:
    """Return how much a phrase seems to say: its long words, or all of it without spaces."""
    return sum(len(word) for word in phrase.split() if len(word) > 3) * 4 + len(phrase)


def _cut(word: str) -> str:
    start = next((place for place, char in enumerate(word) if char.isalnum()), None)
    if start is None:
        return ""
    word = word[start:]
    short = word[: _whole(word, UNSPACED)]
    return short if short == word else f"{short}…"


def _whole(text: str, limit: int) -> int:
    """Return the last offset up to ``limit`` that does not part what readers see as one."""
    if len(text) <= limit:
        return len(text)
    cut = limit
    while cut > limit - 16 and _joined(text, cut):
        cut -= 1
    return cut if not _joined(text, cut) else limit


def _joined(text: str, cut: int) -> bool:
    after = text[cut]
    if text[cut - 1] == "\u200d" or after == "\u200d":
        return True
    if after in _FLAGS:
        flags = len(text[:cut]) - len(text[:cut].rstrip(_FLAGS))
        return flags % 2 == 1
    return unicodedata.category(after)[0] == "M" or "\U0001f3fb" <= after <= "\U0001f3ff"
