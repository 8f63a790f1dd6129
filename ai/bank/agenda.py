"""In which order an interview would draw on the bank: the same on every instance, for ever."""

import hashlib
import re
from collections.abc import Iterable
from itertools import chain
from typing import get_args

from ai.bank.entries import Bank, Question
from protocol.plan import Plan
from protocol.scalars import Difficulty, InterviewType

MIXED: tuple[InterviewType, ...] = ("behavioral", "technical", "system_design", "situational")

_DIFFICULTIES: tuple[Difficulty, ...] = get_args(Difficulty)
_WORD = re.compile(r"\w{4,}")


def rank(*parts: str | int) -> bytes:
    """Return where chance puts what ``parts`` name: by SHA-256, so the same in every process."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()


def agenda(bank: Bank, interview_id: str, plan: Plan) -> tuple[Question, ...]:
    """Return all of the bank's questions, the most fitting first.

    The plan's type comes first (``mixed``: the types of `MIXED` take turns), in it the nearest
    difficulty, in that the plan's competencies, and then chance. The other types follow, for an
    interview that should ever exhaust its own.
    """
    drawn = MIXED if plan.type == "mixed" else (plan.type,)
    groups = [_sorted(bank.questions[kind], interview_id, plan) for kind in drawn]
    others = [group for kind, group in bank.questions.items() if kind not in drawn]
    rest = _sorted(chain.from_iterable(others), interview_id, plan)
    return (*_taking_turns(groups), *rest)


def _sorted(questions: Iterable[Question], interview_id: str, plan: Plan) -> list[Question]:
    wanted = _words(" ".join(plan.competencies))
    level = _DIFFICULTIES.index(plan.difficulty)

    def fitness(question: Question) -> tuple[int, bool, bytes]:
        distance = abs(_DIFFICULTIES.index(question.difficulty) - level)
        return (
            distance,
            wanted.isdisjoint(_words(question.competency)),
            rank(interview_id, question.id),
        )

    return sorted(questions, key=fitness)


def _taking_turns(groups: list[list[Question]]) -> list[Question]:
    return [
        group[place]
        for place in range(max(map(len, groups)))
        for group in groups
        if place < len(group)
    ]


def _words(text: str) -> set[str]:
    """Return the words of four letters and more, the plural's s taken away."""
    return {word.removesuffix("s") for word in _WORD.findall(text.casefold())}
