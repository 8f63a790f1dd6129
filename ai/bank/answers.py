"""What a candidate's answer holds, as far as words tell: cues, nothing at all, no question."""

import re
from collections.abc import Iterable
from functools import cache

from ai.bank.entries import Words

READ = 4_000
"""How many code points of an answer are looked at: a turn is composed on the event loop."""

UNKNOWN_WORDS = 14
"""An answer of more words than this says something, whatever its words."""
LEAST_WORDS = 3
"""So does one that has so many words left without "I don't know" and the like."""

_APOSTROPHES = str.maketrans({"’": "'", "`": "'", "´": "'"})  # noqa: RUF001  # as people type them
_WORDS_PER_CODE_POINT = 0.5
"""In scripts that do not part words by spaces."""
_QUESTION_MARKS = "?？؟"  # noqa: RUF001  # of three scripts
_PUNCTUATION = ",.;:!?…-“”'"


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
    """Whether there is nothing in ``answer``: no word, or hardly more than "I don't know".

    "I don't know Kafka, but I ran RabbitMQ for years" is an answer, and so is "one pass".
    """
    if not any(map(str.isalnum, answer)):
        return True
    if not _is_short(answer):
        return False
    left = _beside((*words.unknown, *words.declined), answer, words)
    if first_hits(words.declined, answer) and not left:
        return True
    return bool(first_hits(words.unknown, answer)) and words_in(left) < LEAST_WORDS


def words_in(text: str) -> int:
    """Return about how many words ``text`` has, also in scripts without spaces."""
    unspaced = sum(map(_counts_alone, text))
    spaced = "".join(" " if _counts_alone(char) else char for char in text)
    words = sum(any(map(str.isalnum, word)) for word in spaced.split())
    return words + round(unspaced * _WORDS_PER_CODE_POINT)


def asks_nothing(answer: str, words: Words) -> bool:
    """Whether a candidate who was invited to ask had no question."""
    if not any(map(str.isalnum, answer)):
        return True
    if any(mark in answer for mark in _QUESTION_MARKS):
        return False
    if is_blank(answer, words):
        return True
    return _is_short(answer) and bool(first_hits(words.no_question, answer))


def _beside(cues: Iterable[str], answer: str, words: Words) -> str:
    """Return the words of ``answer`` without the ``cues``, and without those that mean nothing."""
    rest = answer.translate(_APOSTROPHES).lower()
    for cue in sorted(cues, key=len, reverse=True):
        rest = rest.replace(cue, " ")
    idle = words.fillers | words.loose_ends
    bare = (word.strip(_PUNCTUATION) for word in rest.split())
    return " ".join(word for word in bare if word and word not in idle)


def is_unspaced(text: str) -> bool:
    """Whether ``text`` holds any of a script that does not part words by spaces."""
    return any("\u2e80" <= char <= "\uffdc" for char in text)


def _is_short(answer: str) -> bool:
    return len(answer.split(maxsplit=UNKNOWN_WORDS)) <= UNKNOWN_WORDS


@cache
def _pattern(cue: str) -> re.Pattern[str]:
    stem = cue.removesuffix("*")
    # Scripts without spaces have no word boundaries; their cues may stand anywhere.
    if not stem.isascii() and not any(char.isspace() for char in stem) and is_unspaced(stem):
        return re.compile(re.escape(stem))
    end = "" if stem != cue else r"(?!\w)"
    return re.compile(rf"(?<!\w){re.escape(stem)}{end}", re.IGNORECASE)


def _counts_alone(char: str) -> bool:
    return "\u2e80" <= char <= "\uffdc" and char.isalnum() and not "\uac00" <= char <= "\ud7a3"
