"""What an answer lacks, as far as words tell: the state machine chooses the follow-up by it.

It is no judgement and never becomes a rating. It is made before the next turn begins, so it looks
for words only, and where the cues mean nothing (another language than English) it says little. In
doubt an answer lacks nothing: a follow-up too kind costs less than one that accuses.
"""

import re
from functools import cache, lru_cache

from ai.asking import only_asks, request_in
from ai.bank.answers import first_hits, is_blank, readable
from ai.bank.entries import Words
from ai.bank.loading import load_bank
from ai.cues import is_english, load_cues
from protocol.guide import GuideQuestion
from protocol.plan import Plan
from protocol.probing import Lack
from protocol.scalars import InterviewType

SHORT_WORDS = 25
"""Fewer words leave out something, whatever they say."""
LONG_WORDS = 450
"""About three minutes of speech."""
WORDS_A_MINUTE = 90
"""Of the time that a question was planned for: the rest is for its follow-up."""
HOSTILE_WORDS = 30
"""A longer answer with such a word in it is more likely to tell of an attack."""
TOPIC_WORDS = 20
"""A shorter answer may be to the point without a word of the question."""
STEM = 5
"""Words that begin alike for so long are taken for the same."""

_COMPOUND = re.compile(r"\w+(?:-\w+)+")
_TERM = re.compile(r"[^\W\d_]{4,}")
_TOLD: frozenset[InterviewType] = frozenset(("behavioral",))
"""Types whose answers tell what happened; all others reason."""


def read_answer(plan: Plan, question: GuideQuestion | None, text: str) -> tuple[Lack, ...]:
    """Return what ``text`` lacks as an answer to ``question``; None: to the warm-up."""
    words = load_bank().phrases.words
    seen, count = readable((text,)), len(text.split())
    requested = request_in(seen, question)
    if requested:
        return (requested,)
    if is_blank(seen, words):
        return ("answer",)
    if count <= HOSTILE_WORDS and _attacks(seen, words):
        return ("courtesy",)
    if only_asks(seen, question):
        return ("meaning",)
    found: list[Lack] = []
    if count > long_words(question):
        found.append("focus")
    if is_english(plan.language, (seen,)):
        parts = _parts(seen)
        if question is not None and count >= TOPIC_WORDS and not parts & {"action", "result"}:
            found += _relevance(question, seen)
        found += _missing_parts(parts) if _kind(plan, question) in _TOLD else _reasons(seen)
        if count < SHORT_WORDS:
            found.append("detail")
    return tuple(found)


def _attacks(text: str, words: Words) -> bool:
    """Whether a short answer attacks: not if it tells of one, or calls something idiot-proof."""
    plain = _COMPOUND.sub(" ", text)
    return bool(first_hits(words.hostile, plain)) and not first_hits(words.told_of, plain)


def long_words(question: GuideQuestion | None) -> int:
    """Return how many words an answer to ``question`` may have before it is very long."""
    return max(LONG_WORDS, WORDS_A_MINUTE * question.minutes if question else 0)


def _parts(text: str) -> set[str]:
    return {part for part, cues in load_cues().star.items() if first_hits(cues, text)}


def _missing_parts(parts: set[str]) -> list[Lack]:
    """Return the parts of a story that nothing points to; the first two are often told as one."""
    missing: list[Lack] = []
    if not parts & {"situation", "task"}:
        missing.append("situation")
    if "action" not in parts:
        missing.append("action")
    if "result" not in parts:
        missing.append("result")
    return missing


def _reasons(text: str) -> list[Lack]:
    return [] if first_hits(load_cues().words.connectors, text) else ["reasoning"]


def _relevance(question: GuideQuestion, text: str) -> list[Lack]:
    """Return a lack where no word of the answer is one of all that belongs to the question.

    Who asks something is at it, in whatever words.
    """
    astray = "?" not in text and _topic(question).isdisjoint(_stems(text))
    return ["relevance"] if astray else []


@lru_cache(maxsize=1024)
def _topic(question: GuideQuestion) -> frozenset[str]:
    anchors = question.anchors
    texts = (
        *(question.text, question.competency, anchors.one, anchors.three, anchors.five),
        *(probe.text for probe in question.probes),
        *question.hints,
    )
    return _stems(" ".join(texts))


def _stems(text: str) -> frozenset[str]:
    common = load_cues().words.common | load_cues().words.english
    terms = (term for term in _TERM.findall(text.lower()) if term not in common)
    return frozenset(term[:STEM] for term in terms)


def _kind(plan: Plan, question: GuideQuestion | None) -> InterviewType:
    """Return the type of a question: a mixed plan has several."""
    if question is None or plan.type != "mixed":
        return plan.type
    return _types().get(question.bank_id, plan.type)


@cache
def _types() -> dict[str, InterviewType]:
    bank = load_bank().questions
    return {question.id: kind for kind, group in bank.items() for question in group}
