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

_Fitness = tuple[int, int, int, bool, bytes]


def rank(*parts: str | int) -> bytes:
    """Return where chance puts what ``parts`` name: by SHA-256, so the same in every process."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()


def agenda(
    bank: Bank, interview_id: str, plan: Plan, asked: frozenset[str] = frozenset()
) -> tuple[Question, ...]:
    """Return all of the bank's questions, the most fitting first.

    The plan's type comes first (``mixed``: the types of `MIXED` take turns), in it the questions
    for the role's family before those for any role before those for another one, in these the
    nearest difficulty, the nearest level, the plan's competencies, and then chance. The other types
    follow, for an interview that should ever exhaust its own.

    ``asked`` are the ids of questions that the user knows from earlier interviews. They come behind
    all others, so that nobody is asked the same twice while anything is left.
    """
    everything = list(chain.from_iterable(bank.questions.values()))
    fitness = _Fit(interview_id, plan)
    own = MIXED if plan.type == "mixed" else (plan.type,)
    kinds = {question.id: kind for kind, group in bank.questions.items() for question in group}
    order: list[Question] = []
    for known in (False, True):
        part = sorted((q for q in everything if (q.id in asked) == known), key=fitness)
        order += _taking_turns([[q for q in part if kinds[q.id] == kind] for kind in own])
        order += [q for q in part if kinds[q.id] not in own]
    return tuple(order)


class _Fit:
    """How well a question fits a plan: the key to sort by, less is better."""

    def __init__(self, interview_id: str, plan: Plan) -> None:
        self._interview_id = interview_id
        self._profile = _Profile(
            families_of(plan.role),
            _DIFFICULTIES.index(plan.difficulty),
            _LEVELS.index(plan.level),
            _words(" ".join(plan.competencies)),
        )

    def __call__(self, question: Question) -> _Fitness:
        of = (question.roles, question.difficulty, question.levels, question.competency)
        return (*_distance(self._profile, *of), rank(self._interview_id, question.id))


class _Profile(NamedTuple):
    """What a plan looks for in questions."""

    families: frozenset[str]
    difficulty: int
    level: int
    wanted: frozenset[str]


@lru_cache(maxsize=8_192)
def _distance(
    profile: _Profile,
    roles: tuple[str, ...],
    difficulty: Difficulty,
    levels: tuple[Level, ...],
    competency: str,
) -> tuple[int, int, int, bool]:
    """Return how far a question is from a profile, in the order of what counts.

    Many plans have the same one, and each is compared with the whole bank.
    """
    foreign = profile.families.isdisjoint(roles)
    return (
        2 * foreign if roles else 1,
        abs(_DIFFICULTIES.index(difficulty) - profile.difficulty),
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


@lru_cache(maxsize=1024)
def _words(text: str) -> frozenset[str]:
    """Return the words of four letters and more, the plural's s taken away."""
    return frozenset(word.removesuffix("s") for word in _WORD.findall(text.casefold()))
