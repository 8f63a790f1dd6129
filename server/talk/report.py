"""Feedback and the report, as a terminal shows them."""

import asyncio
import html
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from protocol.assessment import Rating
from server.talk.api import Api

WAIT_S = 120.0
"""How long the report is waited for; it can be fetched later as well."""
_POLLS_S = (0.5, 1.0, 2.0, 3.0)
WIDTH = 88
WRITING = "The report is being written "
LATER = "the report is not there yet"
REVIEWERS = "Your answers go to reviewers; no rating is shown here."
_LEFT_OUT = ("## Transcript", "## How this was made")
_ESCAPED = re.compile(r"\\([^\s\w]|_)")
_RULE = re.compile(r"\|(?: --- \|)+")


def feedback(told: dict[str, Any]) -> str:
    """Return what one rating of `rating.ready` says, in a few lines; nothing where it is none."""
    try:
        rating = msgspec.convert(told, Rating)
    except msgspec.ValidationError:
        return ""
    lines = [f"Feedback on {rating.competency}: {_mark(rating)}"]
    if rating.anchor:
        lines.append(f"  closest description ({rating.anchor}): {rating.anchor_text}")
    lines += [f"  “{evidence.quote}”" for evidence in rating.evidence[:1]]
    if rating.missing:
        lines.append(f"  for more: {rating.missing}")
    return "\n".join(map(_folded, lines))


def _mark(rating: Rating) -> str:
    if rating.method == "offline":
        return "without a model, so this is not a rating"
    return "too little to rate" if rating.score is None else f"{rating.score} of 5"


def _folded(line: str) -> str:
    flat = " ".join(line.split())
    indent = "  " if line.startswith("  ") else ""
    return textwrap.fill(flat, WIDTH, initial_indent=indent, subsequent_indent=indent)


async def awaited(api: Api, interview_id: str, write: Callable[[str], object]) -> str | None:
    """Return the report as Markdown; None where it is not there within `WAIT_S`.

    Raises:
        TalkError: there will be none; with a sentence.
    """
    text = await api.report(interview_id)
    if text is not None:
        return text
    write(WRITING)
    try:
        async with asyncio.timeout(WAIT_S):
            for pause in _pauses():
                await asyncio.sleep(pause)
                write(".")
                text = await api.report(interview_id)
                if text is not None:
                    return text
    except TimeoutError:
        pass
    finally:
        write("\n")
    return None


def _pauses() -> Iterator[float]:
    yield from _POLLS_S
    while True:
        yield _POLLS_S[-1]


def compact(markdown: str) -> str:
    """Return a report's Markdown without its marks, its transcript and its small print."""
    lines: list[str] = []
    skipping = False
    for line in markdown.split("\n"):
        if line.startswith(("# ", "## ")):
            skipping = line in _LEFT_OUT
        if not skipping and line.strip(" >") and not _RULE.fullmatch(line):
            lines += _shown(line)
    return "\n".join(lines).strip("\n")


def _shown(line: str) -> Iterator[str]:
    if line.startswith("#"):
        yield ""
        yield _plain(line.lstrip("# "))
    elif line.startswith("| "):
        name, score = line.strip("| ").rsplit(" | ", 1)
        yield f"  {_plain(name):<40} {_plain(score)}"
    elif line.startswith("> "):
        yield _wrapped(_plain(line[2:]), "  │ ", "  │ ")
    elif line.startswith("- "):
        yield _wrapped(_plain(line[2:]), "  - ", "    ")
    else:
        yield _wrapped(_plain(line), "", "")


def _wrapped(text: str, first: str, others: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=first, subsequent_indent=others)


def _plain(text: str) -> str:
    """Take back what made words harmless in Markdown, and the marks for bold."""
    bare = re.sub(r"(?<!\\)\*\*", "", text.strip())
    return html.unescape(_ESCAPED.sub(r"\1", bare))
