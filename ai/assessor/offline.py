"""The assessor without a model: feedback for practice from what can be counted, never a score.

Whoever cannot understand an answer must not rate it. It says so in every rationale, quotes the
sentences in which it found something, and names what it did not find. Pace and fillers are no
matter of an assessment; they are told in practice only. Where the extra ``embeddings`` is
installed, it also points to sentences that come near to points of a good answer; that is right too
seldom for anybody but the candidate to look at, so it is done in practice only.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import structlog

from ai.assessor.case import Case, answer_case, communication_case
from ai.assessor.judging import SHORT_WORDS, nothing_said, offline_caveats
from ai.assessor.nearness import Nearness, load_nearness, points_of
from ai.assessor.ports import RatingRequest
from ai.assessor.replies import Sample
from ai.assessor.signals import Signals, read_signals
from ai.lacks import LONG_WORDS, long_words
from protocol.assessment import Evidence, Method, Rating, StarPart
from protocol.text import clip

NO_RATING = "Computed without a model: this is feedback for practice, not a rating."
NOT_ENGLISH = "Parts of an answer are recognised in English only, so none were looked for."
PROSE = 600
QUOTES = 2
PACES = (100, 180)
"""Words a minute that are comfortable to follow."""
POINT, SAID = 60, 80
"""Code points of a point and of a sentence near to it that are shown."""

_log = structlog.get_logger()

_SHOWN: tuple[StarPart, ...] = ("action", "result", "task", "situation")
"""Which parts are quoted first."""
_STAR: tuple[StarPart, ...] = ("situation", "task", "action", "result")
_STORIES = frozenset(("behavioral", "mixed", "screening"))
"""Interviews whose questions ask for something that happened."""
_ADVICE: dict[StarPart, str] = {
    "situation": "say when and where it was and what was at stake",
    "task": "say what you had to achieve yourself",
    "action": "say what you did, step by step, in the first person",
    "result": "say what came of it and how you know",
}


class Alike(NamedTuple):
    """A point of a good answer, and a sentence of the answer that comes near to it."""

    point: str
    said: str


class OfflineAssessor:
    """See `ai.assessor.ports.Assessor`. Makes no call, fails never, and scores nothing."""

    method: Method = "offline"

    def __init__(self, load: Callable[[], Nearness | None] = load_nearness) -> None:
        self._load = load

    async def rate(self, request: RatingRequest) -> Rating:
        """See `Assessor.rate`."""
        case = answer_case(request)
        if case.empty:
            return nothing_said(case, self.method)
        signals = read_signals(case)
        english = signals.english
        alike: Sequence[Alike] = ()
        if english and case.plan.mode == "practice":
            # In a thread: the first time a file of 16 MB is read.
            alike = await asyncio.to_thread(self._alike, case, signals)
        found = tuple(_found(signals, english=english, terms=not alike))
        room = PROSE - len(" ".join((NO_RATING, *found, "")))
        story = english and case.plan.type in _STORIES
        evidence = _evidence(signals) if english else ()
        return _feedback(
            case,
            evidence,
            star=tuple(part for part in _STAR if part in signals.star) if english else (),
            found=(*found, *_compared(alike, room)),
            missing=_missing(signals, case, english=english, story=story),
        )

    async def communication(self, request: RatingRequest) -> Rating | None:
        """See `Assessor.communication`."""
        case = communication_case(request)
        if case.empty:
            return None
        signals = read_signals(case)
        english = signals.english
        return _feedback(
            case,
            (),
            star=(),
            found=_delivery(signals, case, english=english),
            missing=_smoother(signals, case, english=english),
        )

    async def aclose(self) -> None:
        """See `Assessor.aclose`."""

    def _alike(self, case: Case, signals: Signals) -> Sequence[Alike]:
        """Return points of a good answer, and with each the sentence that comes nearest to it."""
        nearness = self._load()
        if nearness is None:
            return ()
        points, texts = points_of(case.question.anchors.five), signals.texts
        try:
            pairs = nearness.pairs(points, texts)
        except Exception as error:  # noqa: BLE001 - a library's; feedback comes without it
            _log.warning("sentences could not be compared", error=type(error).__name__)
            return ()
        return tuple(Alike(points[pair.point], texts[pair.sentence]) for pair in pairs)


def _feedback(
    case: Case,
    evidence: tuple[Evidence, ...],
    *,
    star: tuple[StarPart, ...],
    found: Iterable[str],
    missing: Iterable[str],
) -> Rating:
    return Rating(
        question_id=case.question.question_id,
        competency=case.question.competency,
        turns=tuple(turn.turn for turn in case.answers),
        score=None,
        evidence=evidence,
        star=star,
        rationale=clip(" ".join((NO_RATING, *found)), PROSE),
        missing=clip(" ".join(missing), PROSE),
        caveats=offline_caveats(case, Sample(score=None, evidence=evidence)),
        method="offline",
        rubric=case.rubric,
    )


def _evidence(signals: Signals) -> tuple[Evidence, ...]:
    shown: list[Evidence] = []
    for part in _SHOWN:
        place = signals.star.get(part)
        if place is not None and place not in shown and len(shown) < QUOTES:
            shown.append(place)
    return tuple(sorted(shown, key=lambda place: (place.turn, place.start)))


def _found(signals: Signals, *, english: bool, terms: bool) -> Iterator[str]:
    words, sentences = _count(signals.words, "word"), _count(signals.sentences, "sentence")
    yield f"The answer has {words} in {sentences}."
    if not english:
        yield NOT_ENGLISH
        return
    parts = tuple(part for part in _STAR if part in signals.star)
    if parts:
        yield f"Words that point to {_listed(parts)} were found."
    yield (
        f"{_count(signals.own, 'sentence')} in the first person, "
        f"{_count(signals.figures, 'sentence')} with a figure."
    )
    if terms and signals.covered:
        yield (
            f"Of {signals.terms} terms in the description of a good answer, {len(signals.covered)} "
            f"occur: {', '.join(signals.covered[:6])}."
        )


def _compared(alike: Sequence[Alike], room: int) -> Iterator[str]:
    """Tell what is alike, as much as there is room for, and how often that is right."""
    for most in range(len(alike), 0, -1):
        pairs = (
            f"“{clip(each.said, SAID)}” and “{clip(each.point, POINT)}”" for each in alike[:most]
        )
        told = (
            "A small local model finds a sentence of yours and a point of a good answer alike, "
            f"rightly in four cases of ten; judge yourself: {'; '.join(pairs)}."
        )
        if len(told) <= room:
            yield told
            return


def _missing(signals: Signals, case: Case, *, english: bool, story: bool) -> Iterator[str]:
    if signals.words < SHORT_WORDS:
        yield "The answer is very short: give one concrete example."
    if signals.words > long_words(case.question):
        yield "The answer is long: lead with its point, and leave out what it does not need."
    if not english:
        return
    if story:
        for part in _STAR:
            if part not in signals.star:
                yield f"No {part} was recognised: {_ADVICE[part]}."
    if not signals.figures:
        yield "No figure was found: a size, a time or a number makes it concrete."
    if signals.team > signals.own:
        yield "It speaks of “we” more than of “I”: tell your own part."


def _delivery(signals: Signals, case: Case, *, english: bool) -> Iterator[str]:
    mean = round(signals.words / max(1, signals.sentences))
    yield (
        f"The answers have {_count(signals.words, 'word')} in "
        f"{_count(signals.sentences, 'sentence')}, {mean} words a sentence."
    )
    practice = case.plan.mode == "practice"
    if practice and signals.words_per_minute is not None:
        yield f"What was spoken came at about {signals.words_per_minute} words a minute."
    if not english:
        yield NOT_ENGLISH
        return
    yield f"{_count(signals.connectors, 'word')} connect thoughts, such as “because” or “then”."
    if practice and signals.fillers:
        yield f"“Um”, “you know” and the like: {signals.fillers}."


def _smoother(signals: Signals, case: Case, *, english: bool) -> Iterator[str]:
    slow, fast = PACES
    pace = signals.words_per_minute if case.plan.mode == "practice" else None
    if pace is not None and pace > fast:
        yield f"More than {fast} words a minute are hard to follow: pause between thoughts."
    if pace is not None and pace < slow:
        yield f"Fewer than {slow} words a minute may be pauses to think, which are fine."
    if signals.words > LONG_WORDS * len(case.answers):
        yield "The answers are long: lead with the point."
    if english and signals.connectors < signals.sentences / 4:
        yield "Few sentences say how they hang together: say why, and what follows from what."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _listed(parts: Sequence[str]) -> str:
    *front, last = parts
    return f"{', '.join(front)} and {last}" if front else last
