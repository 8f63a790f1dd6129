"""What a candidate's answer holds, as far as words tell: cues, nothing at all, no question."""

import re
from collections.abc import Iterable
from functools import cache

from ai.bank.entries import Words

READ = 4_000
"""How many code points of an answer are looked at: a turn is composed on the event loop."""

UNKNOWN_WORDS = 14
"""An answer of more words than this says something, whatever its words."""

_APOSTROPHES = str.maketrans({"’": "'", "`": "'", "´": "'"})  # noqa: RUF001  # as people type them
_QUESTION_MARKS = "?？؟"  # noqa: RUF001  # of three scripts


def readable(answers: Iterable[str]) -> str:
    """Return what is looked at of the answers to one question: whole words, `READ` at most."""
    text = "\n".join(answers).strip()  # so that it begins with a word
    return text if len(text) <= READ else text[:READ].rsplit(maxsplit=1)[0]


def first_hits(cues: Iterable[str], answer: str) -> list[int]:
    """Return where each of the ``cues`` that occur in ``answer`` occurs first, in code points."""
    text = answer.translate(_APOSTROPHES)
    lowered = text.lower()
    likely = (cue for cue in cues if cue.rstrip("*").lower() in lowered)  # ten times as fast
    found = (_pattern(cue).search(text) for cue in likely)
    return [match.start() for match in found if match]


def is_blank(answer: str, words: Words) -> bool:
    """Whether there is nothing in ``answer`` to follow up on: no word, or only "I don't know"."""
    if not any(map(str.isalnum, answer)):
        return True
    return _is_short(answer) and bool(first_hits(words.unknown, answer))


def asks_nothing(answer: str, words: Words) -> bool:
    """Whether a candidate who was invited to ask had no question."""
    if not any(map(str.isalnum, answer)):
        return True
    if any(mark in answer for mark in _QUESTION_MARKS):
        return False
    cues = (*words.no_question, *words.unknown)
    return _is_short(answer) and bool(first_hits(cues, answer))


def _is_short(answer: str) -> bool:
    return len(answer.split(maxsplit=UNKNOWN_WORDS)) <= UNKNOWN_WORDS


@cache
def _pattern(cue: str) -> re.Pattern[str]:
    stem = cue.removesuffix("*")
    # Scripts without spaces have no word boundaries; their cues may stand anywhere.
    if not stem.isascii() and not any(char.isspace() for char in stem) and _is_unspaced(stem):
        return re.compile(re.escape(stem))
    end = "" if stem != cue else r"(?!\w)"
    return re.compile(rf"(?<!\w){re.escape(stem)}{end}", re.IGNORECASE)


def _is_unspaced(text: str) -> bool:
    return any("\u2e80" <= char <= "\uffdc" for char in text)
