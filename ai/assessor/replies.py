"""What the model returns, its schema, and the check of every part that can be checked."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ai.assessor.case import Case
from ai.transcript import unbracketed
from protocol.assessment import (
    QUOTE_LENGTH,
    QUOTE_LETTERS,
    Evidence,
    Score,
    StarPart,
    locate,
    quotable,
)
from protocol.text import clip

LONGEST_QUOTE = 600
"""As `protocol.assessment.Quote` has it; the model is asked for less."""
PROSE = 400
EVIDENCE_KEPT = 4

Anchor = Literal[1, 3, 5]


class Quoted(Struct, frozen=True, forbid_unknown_fields=True):
    """What the model says that the candidate said."""

    turn: int
    quote: str


class Reply(Struct, frozen=True, forbid_unknown_fields=True):
    """A rating as the model returns it. Evidence comes first, so that the score follows from it."""

    quotes: tuple[Quoted, ...]
    star: tuple[StarPart, ...]
    rationale: str
    missing: str
    verdict: Literal["rated", "insufficient_evidence"]
    anchor: Anchor | None
    score: Score | None


class Sample(Struct, frozen=True, kw_only=True):
    """A reply that passed every check."""

    score: Score | None
    anchor: Anchor | None = None
    evidence: tuple[Evidence, ...] = ()
    star: tuple[StarPart, ...] = ()
    rationale: str = ""
    missing: str = ""


class Problem(Struct, frozen=True):
    """A rule that a reply broke. ``words`` are the reply's own: data for the model, too."""

    told: str
    words: str = ""


class FaultyReplyError(Exception):
    """The model's reply breaks a rule. ``code``: ``malformed``, ``unverifiable`` or ``leaked``."""

    def __init__(self, code: str, problems: tuple[Problem, ...], reply: str) -> None:
        super().__init__(code)
        self.code = code
        self.problems = problems
        self.reply = reply


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


_TEXT: dict[str, Any] = {"type": "string"}
SCHEMA: dict[str, Any] = _object(
    {
        "quotes": {
            "type": "array",
            "items": _object({"turn": {"type": "integer"}, "quote": _TEXT}),
        },
        "star": {"type": "array", "items": {"type": "string", "enum": list(get_args(StarPart))}},
        "rationale": _TEXT,
        "missing": _TEXT,
        "verdict": {"type": "string", "enum": ["rated", "insufficient_evidence"]},
        "anchor": {"type": ["integer", "null"], "enum": [1, 3, 5, None]},
        "score": {"type": ["integer", "null"], "enum": [1, 2, 3, 4, 5, None]},
    }
)
"""Strict, and within what strict schemas may hold: no lengths and no bounds, which we check."""

_reply = msgspec.json.Decoder(Reply)


def read_reply(text: str, case: Case, canary: str, *, cut: bool = False) -> Sample:
    """Return the sample that the model's reply ``text`` is; ``cut``: it is not whole.

    Raises:
        FaultyReplyError: it breaks a rule; nothing of it may be used.
    """
    if canary in text:
        raise FaultyReplyError("leaked", (), "")
    try:
        reply = _reply.decode(text)
    except (ValueError, RecursionError) as error:  # msgspec's errors and UnicodeEncodeError
        if cut:
            problem = Problem("it was cut off: be brief")
        else:
            problem = Problem("it does not keep the schema", str(error))
        raise FaultyReplyError("malformed", (problem,), text) from None
    if any(canary in said for said in _strings(reply)):  # spelt with escapes
        raise FaultyReplyError("leaked", (), "")
    contradictions = tuple(_contradictions(reply))
    if contradictions:
        raise FaultyReplyError("malformed", contradictions, text)
    evidence, made_up = _prove(reply.quotes, case)
    if reply.score is not None and not evidence and not made_up:
        made_up = (Problem("there is a score, but no quote"),)
    if made_up:
        raise FaultyReplyError("unverifiable", made_up, text)
    return Sample(
        score=reply.score,
        anchor=reply.anchor,
        evidence=evidence[:EVIDENCE_KEPT],
        star=tuple(part for part in get_args(StarPart) if part in reply.star),
        rationale=_prose(reply.rationale),
        missing=_prose(reply.missing),
    )


def anchors_near(score: int | None) -> tuple[Anchor | None, ...]:
    """Return the anchors that may go with a score: those at most one away."""
    if score is None:
        return (None,)
    return tuple(anchor for anchor in get_args(Anchor) if abs(anchor - score) <= 1)


def _contradictions(reply: Reply) -> Iterable[Problem]:
    if (reply.verdict == "rated") != (reply.score is not None):
        yield Problem("verdict rated needs a score, insufficient_evidence needs score null")
    elif (reply.score is None) != (reply.anchor is None):
        yield Problem("anchor has to be null if and only if score is")
    elif reply.anchor not in anchors_near(reply.score):
        yield Problem(f"anchor {reply.anchor} does not go with score {reply.score}")


def _prove(
    quotes: Iterable[Quoted], case: Case
) -> tuple[tuple[Evidence, ...], tuple[Problem, ...]]:
    """Return where the quotes stand, each place once, and those that stand nowhere."""
    found: dict[tuple[int, int, int], Evidence] = {}
    problems: list[Problem] = []
    for quoted in quotes:
        said = quoted.quote.strip()
        if not QUOTE_LENGTH <= len(said) <= LONGEST_QUOTE:
            told = f"a quote has {len(said)} characters, not {QUOTE_LENGTH} to {LONGEST_QUOTE}"
        elif not quotable(said):
            told = f"a quote has fewer than {QUOTE_LETTERS} letters and digits"
        elif (place := _find(quoted, case)) is None:
            told = "a quote stands in none of the candidate's turns that may be quoted"
        else:
            found[place.turn, place.start, place.end] = place
            continue
        problems.append(Problem(told, quoted.quote[:LONGEST_QUOTE]))
    return tuple(found.values()), tuple(problems)


def _find(quoted: Quoted, case: Case) -> Evidence | None:
    place = locate(quoted.quote, case.answers, quoted.turn)
    if place is not None:
        return place
    # The model read the answers without angle brackets: the same places, other characters. What
    # is kept are the candidate's own.
    shown = tuple(replace(turn, text=unbracketed(turn.text)) for turn in case.answers)
    place = locate(quoted.quote, shown, quoted.turn)
    if place is None:
        return None
    (said,) = (turn.text for turn in case.answers if turn.turn == place.turn)
    return replace(place, quote=said[place.start : place.end])


def _strings(reply: Reply) -> Iterable[str]:
    yield from (quoted.quote for quoted in reply.quotes)
    yield from (reply.rationale, reply.missing)


def _prose(text: str) -> str:
    return clip(" ".join(text.replace("\x00", " ").split()), PROSE)
