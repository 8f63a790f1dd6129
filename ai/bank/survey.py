"""How the bank's questions are spread, and what a reader of them should look at again."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, combinations
from typing import NamedTuple, get_args

from ai.bank.entries import Bank, Question, RoleFamily
from ai.bank.roles import load_families
from protocol.scalars import Difficulty, InterviewType, Level

ALIKE = 0.4
"""Questions that share more than this part of their words are told as near-duplicates."""

ENOUGH = 4
"""Questions for any role that there should be of each type and difficulty: an interview's worth."""

OWN = 3
"""Questions that a family of roles should have to itself, if it has any."""

DIFFICULTIES: tuple[Difficulty, ...] = get_args(Difficulty)
LEVELS: tuple[Level, ...] = get_args(Level)

_WORD = re.compile(r"[^\W\d_]{4,}")
_COMMON = frozenset(
    {"about", "been", "does", "each", "first", "from", "have", "into", "more", "must", "that"}
    | {"their", "them", "then", "there", "they", "this", "time", "what", "when", "where", "which"}
    | {"while", "with", "without", "would", "your"}
)


class Row(NamedTuple):
    """A line of the table: a type of interview and a family of roles, ``None`` for any role.

    ``cells`` count the questions that fit a level and have a difficulty. A question for any level
    fits all of them, so that only ``total`` counts each once.
    """

    type: InterviewType
    family: RoleFamily | None
    total: int
    cells: Mapping[tuple[Level, Difficulty], int]


def table(bank: Bank) -> list[Row]:
    """Return the rows that are not empty, by type, questions for any role first."""
    families = (None, *load_families())
    rows = (
        _row(kind, family, questions)
        for kind, questions in bank.questions.items()
        for family in families
    )
    return [row for row in rows if row.total]


def warnings(bank: Bank) -> list[str]:
    """Return sentences on what is allowed, and yet may be a slip."""
    questions = list(chain.from_iterable(bank.questions.values()))
    return [*_alike(questions), *_repeated(questions), *_double(questions), *_thin(bank)]


def _row(kind: InterviewType, family: RoleFamily | None, questions: Iterable[Question]) -> Row:
    own = [question for question in questions if family in (question.roles or (None,))]
    cells: Counter[tuple[Level, Difficulty]] = Counter(
        (level, question.difficulty) for question in own for level in question.levels or LEVELS
    )
    return Row(kind, family, len(own), cells)


def _alike(questions: list[Question]) -> Iterator[str]:
    words = {question.id: _words(question.text) for question in questions}
    for one, other in combinations(words, 2):
        shared = len(words[one] & words[other])
        part = shared / (len(words[one] | words[other]) or 1)
        if part > ALIKE:
            yield f"{one} and {other} share {part:.0%} of their words"


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold())) - _COMMON


def _repeated(questions: Iterable[Question]) -> Iterator[str]:
    """Tell of sentences that follow on more than one question: they fit neither closely."""
    places: dict[str, list[str]] = {}
    for question in questions:
        for text in (*(probe.text for probe in question.probes), *question.hints):
            places.setdefault(text, []).append(question.id)
    for text, ids in places.items():
        if len(ids) > 1:
            yield f"{' and '.join(ids)} have the same sentence: {text}"


def _double(questions: Iterable[Question]) -> Iterator[str]:
    for question in questions:
        if question.text.count("?") > 1:
            yield f"{question.id} asks more than one question at once"


def _thin(bank: Bank) -> Iterator[str]:
    for kind, questions in bank.questions.items():
        for difficulty in DIFFICULTIES:
            fitting = [question for question in questions if question.difficulty == difficulty]
            counts = {level: sum(_suits(q, level) for q in fitting) for level in LEVELS}
            level = min(LEVELS, key=counts.__getitem__)
            if counts[level] < ENOUGH:
                yield f"{kind}, {difficulty}: only {counts[level]} for any role at level {level}"
    used = Counter(role for group in bank.questions.values() for q in group for role in q.roles)
    for family in load_families():
        if used[family] < OWN:
            yield f"{family}: only {used[family]} of its own, in all types"


def _suits(question: Question, level: Level) -> bool:
    return not question.roles and level in (question.levels or LEVELS)
