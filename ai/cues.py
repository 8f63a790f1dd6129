"""English words that show what an answer holds, and whether it is English at all."""

from collections.abc import Iterable
from functools import cache
from importlib import resources

import msgspec
from msgspec import Struct

from ai.bank.entries import Cue
from protocol.assessment import StarPart

ENGLISH = 0.12
"""The least part of an English text that its commonest words make up."""


class CueWords(Struct, frozen=True, forbid_unknown_fields=True):
    """Single words and short phrases by what they do in a text."""

    connectors: tuple[Cue, ...]
    fillers: tuple[Cue, ...]
    figures: tuple[Cue, ...]
    common: frozenset[str]
    english: frozenset[str]


class Cues(Struct, frozen=True, forbid_unknown_fields=True):
    """All of ``ai/assessor/cues.toml``."""

    star: dict[StarPart, tuple[Cue, ...]]
    words: CueWords


@cache
def load_cues() -> Cues:
    """Return the cues; read once."""
    data = resources.files("ai.assessor").joinpath("cues.toml").read_bytes()
    return msgspec.toml.decode(data, type=Cues)


def is_english(language: str, texts: Iterable[str]) -> bool:
    """Whether the cues mean anything: English is planned, and the words look like it."""
    words = [word.strip(".,;:!?").lower() for text in texts for word in text.split()]
    known = sum(word in load_cues().words.english for word in words)
    return language.lower().split("-")[0] == "en" and known >= ENGLISH * len(words)
