"""In which order an interview would draw on the bank: the same on every instance, for ever."""

import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain
from typing import NamedTuple, get_args

from ai.bank.entries import Bank, Question
from ai.bank.roles import families_of
from protocol.plan import Plan
from protocol.scalars import Difficulty, InterviewType, Level

MIXED: tuple[InterviewType, ...] = ("behavioral", "technical", "system_design", "situational")

_DIFFICULTIES: tuple[Difficulty, ...] = get_args(Difficulty)
_LEVELS: tuple[Level, ...] = get_args(Level)
_WORD = re.compile(r"\w{4,}")

Distance = tuple[bool, int, bool, int, bool]


def rank(*parts: str | int) -> bytes:
    """Return where chance puts what ``parts`` name: by SHA-256, so the same in every process."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()


def types_of(plan: Plan) -> tuple[InterviewType, ...]:
    """Return the types of the questions that an interview is to ask, in their turn."""
    return MIXED if plan.type == "mixed" else (plan.type,)


def agenda(
    bank: Bank, interview_id: str, plan: Plan, asked: frozenset[str] = frozenset()
) -> tuple[Question, ...]:
    """Return all of the bank's questions, the most fitting first.

    The plan's type comes first (``mixed``: the types of `MIXED` take turns), in it the questions
    for the role's family or for any role before those for another one, in these the nearest
    difficulty, those for the role's family, the nearest level, the plan's competencies, and then
    chance. The other types follow, for an interview that should ever exhaust its own.

    ``asked`` are the ids of questions that the user knows from earlier interviews. They come behind
    all others, so that nobody is asked the same twice while anything is left.
    """
    everything = list(chain.from_iterable(bank.questions.values()))
    profile, own = profile_of(plan), types_of(plan)

    def fitness(question: Question) -> tuple[Distance, bytes]:
        return profile.distance(question), rank(interview_id, question.id)

    kinds = {question.id: kind for kind, group in bank.questions.items() for question in group}
    order: list[Question] = []
    for known in (False, True):
        part = sorted((q for q in everything if (q.id in asked) == known), key=fitness)
        order += _taking_turns([[q for q in part if kinds[q.id] == kind] for kind in own])
        order += [q for q in part if kinds[q.id] not in own]
    return tuple(order)


class Profile(NamedTuple):
    """What a plan looks for in questions."""

    families: frozenset[str]
    difficulty: int
    level: int
    wanted: frozenset[str]

    def distance(self, question: Question) -> Distance:
        """Return how far ``question`` is from it, in the order of what counts."""
        of = (question.roles, question.difficulty, question.levels, question.competency)
        return _distance(self, *of)


def profile_of(plan: Plan) -> Profile:
    """Return what ``plan`` looks for."""
    return Profile(
        families_of(plan.role),
        _DIFFICULTIES.index(plan.difficulty),
        _LEVELS.index(plan.level),
        _words(" ".join(plan.competencies)),
    )


@lru_cache(maxsize=8_192)
def _distance(
    profile: Profile,
    roles: tuple[str, ...],
    difficulty: Difficulty,
    levels: tuple[Level, ...],
    competency: str,
) -> Distance:
    """Return the distance; kept, as many plans have one profile and look at the whole bank."""
    return (
        bool(roles) and profile.families.isdisjoint(roles),
        abs(_DIFFICULTIES.index(difficulty) - profile.difficulty),
        not roles,
        min((abs(_LEVELS.index(level) - profile.level) for level in levels), default=0),
        profile.wanted.isdisjoint(_words(competency)),
    )


def _taking_turns(groups: list[list[Question]]) -> Iterable[Question]:
    return (
        group[place]
        for place in range(max(map(len, groups)))
        for group in groups
        if place < len(group)
    )


def likeness(one: str, other: str) -> float:
    """Return how much of the words of two competencies they have in common: 1 is all of them."""
    both = _words(one) | _words(other)
    return len(_words(one) & _words(other)) / len(both) if both else 0.0


@lru_cache(maxsize=1024)
def _words(text: str) -> frozenset[str]:
    """Return the words of four letters and more, in British spelling, without the plural's s."""
    british = text.casefold().replace("iz", "is")
    return frozenset(word.removesuffix("s") for word in _WORD.findall(british))
