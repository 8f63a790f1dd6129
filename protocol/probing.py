"""Which follow-up an answer asks for: a pure choice from what the answer lacks.

What it lacks is read elsewhere and comes with the input. The choice is the server's; the model is
told what the follow-up is for, the question bank speaks the one that was prepared for it.
"""

from collections.abc import Collection
from typing import Literal

from protocol.guide import GuideQuestion, Intent
from protocol.scalars import Mode

Lack = Literal[
    "answer",
    "hearing",
    "meaning",
    "courtesy",
    "relevance",
    "focus",
    "situation",
    "task",
    "action",
    "result",
    "reasoning",
    "detail",
]
"""What an answer may lack.

``answer``: there is none, silence or "I don't know". ``hearing``: the question was not heard, and
is asked for again. ``meaning``: it asks what is meant, or for what the question leaves open.
``courtesy``: it attacks. ``relevance``: it is about something else. ``focus``: it is very long.
``situation task action result``: what happened, what was to be done, what the candidate did, what
came of it. ``reasoning``: why. ``detail``: it is very short.
"""

REPLIES = 3
"""How often a question is put again to who asks back."""

ASKING_BACK: frozenset[Lack] = frozenset(("hearing", "meaning"))
"""With these there is no answer yet: the question is put again, and stays open."""

RECOVERIES: frozenset[Lack] = frozenset((*ASKING_BACK, "answer", "courtesy", "relevance"))
"""Without these there is nothing to follow up on: the follow-up brings back to the question."""

_REMEDIES: dict[Lack, Intent] = {
    "courtesy": "redirect",
    "answer": "clarify",
    "hearing": "clarify",
    "meaning": "clarify",
    "relevance": "redirect",
    "focus": "redirect",
    "result": "complete",
    "action": "complete",
    "situation": "complete",
    "task": "complete",
    "reasoning": "complete",
    "detail": "deepen",
}
"""What each lack is mended by, the gravest first."""

_NEAREST: dict[Intent, tuple[Intent, ...]] = {
    "clarify": ("clarify", "complete", "deepen", "redirect"),
    "complete": ("complete", "clarify", "deepen", "redirect"),
    "deepen": ("deepen", "complete", "clarify", "redirect"),
    "challenge": ("challenge", "deepen", "complete", "clarify", "redirect"),
    "redirect": ("redirect", "clarify", "complete", "deepen"),
}
"""What serves instead where a question has no follow-up of a kind, the nearest first."""


def intent_of(lacks: Collection[Lack], mode: Mode) -> Intent:
    """Return what the follow-up to an answer is for.

    A whole answer is challenged for practice. An assessment stays neutral and asks for more of it.
    """
    for lack, intent in _REMEDIES.items():
        if lack in lacks:
            return intent
    return "challenge" if mode == "practice" else "deepen"


def recovers(lacks: Collection[Lack]) -> bool:
    """Whether there is nothing in the answer to follow up on."""
    return not RECOVERIES.isdisjoint(lacks)


def asks_back(lacks: Collection[Lack], *, invited: bool = False) -> bool:
    """Whether a question is put again, as it was met with one.

    Who was ``invited`` to ask means it, and is to hear the invitation.
    """
    return "hearing" in lacks if invited else not ASKING_BACK.isdisjoint(lacks)


def is_due(
    probes: int, cap: int, *, recovering: bool, lacks: Collection[Lack] | None = None
) -> bool:
    """Whether an answer is followed up, behind so many ``probes`` of at most ``cap``.

    Each main question gets one follow-up. Where that was spent on coming back to the question, and
    there is an answer now, it gets another. Nobody is asked twice for what they do not know.
    """
    if probes == 0:
        return cap > 0
    return probes < cap and recovering and lacks is not None and not recovers(lacks)


def prepared(question: GuideQuestion | None, intent: Intent) -> tuple[Intent, ...]:
    """Return the kinds of the follow-ups that fit ``intent``, the nearest first.

    Only those that were prepared for the question, where any were.
    """
    kinds = _NEAREST[intent]
    known = {probe.intent for probe in question.probes} if question else set[Intent]()
    return tuple(kind for kind in kinds if kind in known) or kinds
