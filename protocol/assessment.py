"""Ratings and reports, and what of them can be checked without trusting whoever made them.

An answer is rated by the anchors of its question, prepared before the interview. Whoever rates, a
model or a program, has to quote: a quote counts only where it stands, to the letter, in what the
candidate was recorded to say in answer to that very question. A score without such a quote is none.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Annotated, Literal

from msgspec import Meta, Struct

from protocol.guide import Anchors, Guide, GuideQuestion, Probe
from protocol.plan import Weight
from protocol.scalars import Count, Level, Milliseconds, Mode, Ordinal, Text
from protocol.session import Turn

__all__ = [
    "Anchors",
    "Coverage",
    "Evidence",
    "Guide",
    "GuideQuestion",
    "Probe",
    "Rating",
    "Remark",
    "Report",
    "answers_to",
    "composite",
    "is_enough",
    "locate",
    "quotable",
    "spoken_answers",
    "verified",
]

Score = Annotated[int, Meta(ge=1, le=5)]
StarPart = Literal["situation", "task", "action", "result"]
Method = Literal["model", "offline"]
Caveat = Literal[
    "interrupted", "low_transcription_confidence", "short_answer", "hints_used", "spread"
]
Short = Annotated[Text, Meta(max_length=600)]
Quote = Annotated[Text, Meta(min_length=1, max_length=600)]

QUOTE_LENGTH = 8
"""The fewest code points that prove anything: "yes" stands in nearly every answer."""
QUOTE_LETTERS = 3
"""So many of a quote's code points are letters or digits that can be seen: dots and invisible
characters prove nothing. Where vowels are marks, as in Burmese, few words have more in eight."""
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0")
"""All letters that nobody sees (Default_Ignorable_Code_Point in the Unicode Character Database)."""
UNSURE = 0.6
"""A mean confidence of voice-to-text below this lowers what may be concluded."""


class Evidence(Struct, frozen=True, kw_only=True):
    """Words of the candidate: code points ``start`` to ``end`` of the kept text of ``turn``."""

    turn: Ordinal
    start: Count
    end: Count
    quote: Quote


class Rating(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one answer shows of one competency. ``score`` is None for insufficient evidence."""

    question_id: str
    competency: Text
    turns: tuple[Ordinal, ...]
    """The candidate's turns that were read."""
    score: Score | None
    anchor: Literal[1, 3, 5] | None = None
    """The anchor that the answer matches best, by its score."""
    anchor_text: Text = ""
    evidence: tuple[Evidence, ...] = ()
    star: tuple[StarPart, ...] = ()
    rationale: Short = ""
    missing: Short = ""
    """What the answer would have needed for more."""
    caveats: tuple[Caveat, ...] = ()
    method: Method
    model: str = ""
    prompt_sha256: str = ""
    rubric: str
    """The version of the guide whose anchors were used."""
    samples: tuple[Score | None, ...] = ()
    """The scores of all samples, in order.

    `score` is their lower median, held between 2 and 4 where voice-to-text was unsure.
    """
    spread: Count = 0
    """The largest minus the smallest of them."""


class Remark(Struct, frozen=True, kw_only=True):
    """A strength or a gap, with the turns that show it."""

    text: Short
    competency: Text
    turns: tuple[Ordinal, ...]


class Coverage(Struct, frozen=True, kw_only=True):
    """How much of the plan there is anything to say about."""

    planned: Count
    asked: Count
    answered: Count
    rated: Count
    competencies: tuple[Text, ...] = ()


class Report(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that is concluded from one interview. Money in millionths of a US dollar."""

    report_id: str
    interview_id: str
    created_at: Milliseconds
    method: Method
    mode: Mode
    role: Text
    type: str
    level: Level
    ended: str
    duration_ms: Milliseconds
    coverage: Coverage
    ratings: tuple[Rating, ...]
    communication: Rating | None = None
    composite: float | None = None
    """The mean of the competencies' mean scores; None where too little of the plan is rated."""
    weights: tuple[Weight, ...] = ()
    """What of the plan's weights counted in it; the other competencies weigh 1."""
    strengths: tuple[Remark, ...] = ()
    gaps: tuple[Remark, ...] = ()
    notes: tuple[Text, ...] = ()
    """What was offline, degraded or missing, in sentences."""
    disconnections: Count = 0
    cost_micro_usd: Count = 0
    rubric: str = ""


def answers_to(question_id: str, turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """Return the candidate's turns in answer to a question and its probes, those with words."""
    return tuple(turn for turn in spoken_answers(turns) if turn.question_id == question_id)


def spoken_answers(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """Return the candidate's turns with words, but for those that ask something back.

    What the interviewer met with a reply was a question, and nothing is concluded from it.
    """
    asked = {one.turn for one, other in pairwise(turns) if other.kind == "reply"}
    return tuple(
        turn
        for turn in turns
        if turn.speaker == "candidate" and turn.turn not in asked and turn.text.strip()
    )


def quotable(text: str) -> bool:
    """Whether words are enough to prove anything."""
    letters = sum(char.isalnum() and char not in _FILLERS for char in text)
    return len(text) >= QUOTE_LENGTH and letters >= QUOTE_LETTERS


def locate(quote: str, turns: Iterable[Turn], turn: int | None = None) -> Evidence | None:
    """Return where ``quote`` stands in the turns, to the letter; None where it proves nothing.

    Space around it is not part of it. ``turn`` is where whoever quotes says that it stands; where
    it is right, it decides between several places.
    """
    quote = quote.strip()
    if not quotable(quote):
        return None
    places = [
        Evidence(turn=spoken.turn, start=start, end=start + len(quote), quote=quote)
        for spoken in turns
        if spoken.speaker == "candidate" and (start := spoken.text.find(quote)) >= 0
    ]
    named = (place for place in places if place.turn == turn)
    return next(named, places[0] if places else None)


def verified(rating: Rating, turns: Sequence[Turn]) -> bool:
    """Whether a rating keeps the rule: each quote proves what it is to, and a score has one."""
    by_number = {turn.turn: turn for turn in answers_to(rating.question_id, turns)}
    if rating.question_id == "communication":
        by_number = {turn.turn: turn for turn in spoken_answers(turns)}
    for evidence in rating.evidence:
        turn = by_number.get(evidence.turn)
        if turn is None or turn.text[evidence.start : evidence.end] != evidence.quote:
            return False
        if not quotable(evidence.quote):
            return False
    return rating.score is None or bool(rating.evidence)


def is_enough(rated: int, planned: int) -> bool:
    """Whether so many rated ones of the ``planned`` questions make an overall score."""
    return rated > 0 and 2 * rated >= planned


def composite(
    ratings: Iterable[Rating], weights: Iterable[Weight] = (), *, planned: int
) -> float | None:
    """Return the mean of the competencies' mean scores; see `is_enough` for when there is none.

    Each weighs 1, unless ``weights`` say otherwise; names are compared without regard to case.
    """
    weighing = {each.competency.casefold(): each.weight for each in weights}
    scores: dict[str, list[int]] = {}
    rated: set[str] = set()
    for rating in ratings:
        if rating.score is not None:
            scores.setdefault(rating.competency.casefold(), []).append(rating.score)
            rated.add(rating.question_id)
    if not is_enough(len(rated), planned):
        return None
    total = sum(weighing.get(name, 1) for name in scores)
    means = ((name, sum(each) / len(each)) for name, each in scores.items())
    return round(sum(weighing.get(name, 1) * mean for name, mean in means) / total, 2)
