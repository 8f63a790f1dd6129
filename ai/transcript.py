"""The interview so far, as the model reads it: data between tags, never instructions.

The rule of thrift: a turn is told in full up to `TURN_CHARACTERS`, head and tail beyond that. When
all turns together exceed `TRANSCRIPT_CHARACTERS`, the oldest are clipped to `OLD_TURN_CHARACTERS`,
one after the other, until they fit; the last `FRESH_TURNS` never are. What is in front of the first
clipped turn changes with it, so the provider's prompt cache serves all but very long interviews.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence

from protocol.session import Turn
from protocol.text import clip, unhidden

TRANSCRIPT_CHARACTERS = 24_000
TURN_CHARACTERS = 6_000
OLD_TURN_CHARACTERS = 300
FRESH_TURNS = 4

_TAGS = (
    "role", "competencies", "job_description", "resume", "transcript", "turn", "task",
    "competency", "question", "anchor", "reply", "problem",
)  # fmt: skip
_HARMLESS = "\u2039"
_BRACKET = re.compile("[<\uff1c\ufe64]")
_BEGUN = frozenset(tag[: place + 1] for tag in _TAGS for place in range(len(tag)))
_LOOK = 200
"""So far a name is read on from its bracket: what hides it may be long."""
_ALIKE = str.maketrans("\u2215\u2044\u0130\u0131", "//ii")
_UNSEEN = frozenset(("Cf", "Mn"))
"""Categories of characters that readers do not see within a tag."""


def _defused(match: re.Match[str]) -> str:
    """Return a bracket, harmless where a tag's name follows as a reader may see it."""
    return _HARMLESS if _names_tag(match.string, match.end()) else match[0]


def _names_tag(text: str, start: int) -> bool:
    """Read on only while a name may come of it: a text may hold thousands of brackets."""
    name = ""
    for char in _seen(text[start : start + _LOOK]):
        if not name and (char == "/" or char.isspace()):
            continue
        if name + char.lower() not in _BEGUN:
            return name in _TAGS and not (char.isalnum() or char == "_")
        name += char.lower()
    return name in _TAGS


def _seen(text: str) -> Iterator[str]:
    """Give the characters of a text as a reader may see them."""
    for char in text:
        for part in unicodedata.normalize("NFKC", char).translate(_ALIKE):
            if unicodedata.category(part) not in _UNSEEN:
                yield part


_BRACKETS = str.maketrans(dict.fromkeys("<\uff1c\ufe64", _HARMLESS))


def unbracketed(text: str) -> str:
    """Return ``text`` without anything that could open a tag or is hidden; no code point moves.

    For texts that are judged: it leaves no way to spell a tag, not even one with invisible or wide
    letters in its name, nor an order that no reader of the rating would see.
    """
    return unhidden(text).translate(_BRACKETS)


def fenced(tag: str, text: str, **attributes: str | int) -> str:
    """Return ``text`` as data between ``tag``'s tags, which it cannot close or imitate."""
    assert tag in _TAGS  # noqa: S101  # else `_NAME` would let the text imitate it
    given = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f"<{tag}{given}>\n{unhidden(_BRACKET.sub(_defused, text))}\n</{tag}>"


def clip_middle(text: str, limit: int) -> str:
    """Shorten ``text`` to about ``limit`` code points: two thirds of head, one of tail."""
    if len(text) <= limit:
        return text
    head = limit * 2 // 3
    return f"{text[:head]}\n[…]\n{text[head - limit :]}"


def shares(lengths: Sequence[int], room: int) -> int:
    """Return the most that each text may take so that all of them fit into ``room``.

    Short texts stay whole; what they leave is shared by the long ones.
    """
    left = sorted(lengths)
    while left and left[0] * len(left) <= room:
        room -= left.pop(0)
    return room // len(left) if left else max(lengths, default=0)


def tell(turns: tuple[Turn, ...]) -> str:
    """Return the finished turns as one block of data."""
    texts = [clip_middle(turn.text, TURN_CHARACTERS) for turn in turns]
    excess = sum(map(len, texts)) - TRANSCRIPT_CHARACTERS
    for place in range(len(texts) - FRESH_TURNS):
        if excess <= 0:
            break
        short = clip(texts[place], OLD_TURN_CHARACTERS)
        excess -= len(texts[place]) - len(short)
        texts[place] = short
    # Each turn is fenced by itself; the whole is not passed through `fenced` again.
    told = "\n".join(_turn(turn, text) for turn, text in zip(turns, texts, strict=True))
    return f"<transcript>\n{told}\n</transcript>"


def _turn(turn: Turn, text: str) -> str:
    note: dict[str, str] = {}
    if turn.outcome == "interrupted":
        by_whom = turn.speaker == "interviewer"
        note["note"] = (
            "interrupted; the candidate heard only this much"
            if by_whom
            else "unfinished: the candidate asked for a hint here, or fell silent"
        )
    return fenced(
        "turn", text or "(nothing)", n=turn.turn, speaker=turn.speaker, kind=turn.kind, **note
    )
