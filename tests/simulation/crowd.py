"""Who comes in an hour: types, roles and languages by a Zipf-like law, users who come again.

Requests for shared things follow ``1 / rank ** a`` with ``a`` between 0.64 and 0.83: L. Breslau,
P. Cao, L. Fan, G. Phillips and S. Shenker, "Web Caching and Zipf-like Distributions: Evidence and
Implications", INFOCOM 1999. Here ``a`` is 0.8.
"""

import random
from collections.abc import Sequence
from typing import Literal, TypeVar

from protocol.plan import Plan
from protocol.scalars import InterviewType

ALPHA = 0.8
PERSONAL = 0.2
"""How many bring a job description or a résumé."""
TYPES: tuple[InterviewType, ...] = (
    "behavioral", "technical", "mixed", "system_design", "coding", "screening", "situational",
    "case",
)  # fmt: skip
ROLES = (
    "Software engineer", "Backend engineer", "Data scientist", "Product manager",
    "Frontend developer", "Data engineer", "DevOps engineer", "Engineering manager",
    "Full-stack developer", "Business analyst", "Machine learning engineer", "UX designer",
    "QA engineer", "Project manager", "Mobile developer", "Security engineer",
    "Account executive", "Customer success manager", "Site reliability engineer",
    "Marketing manager", "Embedded engineer", "Recruiter", "Financial analyst",
    "Operations manager", "Support engineer", "Technical writer", "Data analyst",
    "Scrum master", "iOS developer", "Solutions engineer",
)  # fmt: skip
LANGUAGES = ("en", "en-GB", "de", "es", "fr", "pt-BR")

T = TypeVar("T")


def zipf(draw: random.Random, ranked: Sequence[T]) -> T:
    """Draw one of ``ranked``, the most frequent of which comes first."""
    weights = [1 / rank**ALPHA for rank in range(1, len(ranked) + 1)]
    return draw.choices(ranked, weights)[0]


def plan_of(draw: random.Random) -> Plan:
    """Draw what an interview sets out to do."""
    paper = "I have built and run services for eight years. " * 20
    papers: dict[Literal["resume", "job_description"], str] = {}
    if draw.random() < PERSONAL:
        papers[draw.choice(("resume", "job_description"))] = paper
    return Plan(
        type=zipf(draw, TYPES),
        role=zipf(draw, ROLES),
        level=draw.choices(("intern", "junior", "mid", "senior", "staff"), (1, 3, 5, 4, 1))[0],
        difficulty=draw.choices(("easy", "medium", "hard"), (1, 3, 1))[0],
        mode=draw.choices(("practice", "assessment"), (3, 1))[0],
        duration_minutes=draw.choices((15, 30, 45), (3, 6, 1))[0],
        language=draw.choices(LANGUAGES, (14, 2, 1, 1, 1, 1))[0],
        **papers,
    )


def answer_of(draw: random.Random) -> str:
    """Draw an answer; a few say nothing, and a few ask something back."""
    chance = draw.random()
    if chance < 0.05:
        return "I don't know."
    said = "We had a queue that lost jobs, so I measured the retries and rewrote the worker. "
    text = said * draw.randrange(3, 9)
    return text + "Is that what you meant?" if chance < 0.1 else text.strip()
