"""How every form of a report puts things: labels, dates, and text made fit to be shown."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from statistics import fmean
from typing import NamedTuple

from protocol.assessment import Caveat, Evidence, Method, Rating, Report, StarPart
from protocol.scalars import Kind, Source
from protocol.session import Turn
from protocol.text import unhidden

METHODS: dict[Method, str] = {
    "model": "By a language model, against prepared anchors",
    "offline": "Offline: by fixed rules, without a language model",
}
CAVEATS: dict[Caveat, str] = {
    "interrupted": "The answer was interrupted",
    "low_transcription_confidence": "Voice-to-text was unsure of the words",
    "short_answer": "The answer was short",
    "hints_used": "Hints were given",
    "spread": "Repeated ratings disagreed",
}
STAR: dict[StarPart, str] = {
    "situation": "Situation",
    "task": "Task",
    "action": "Action",
    "result": "Result",
}
STORIES = frozenset(("behavioral", "screening", "mixed"))
"""The types that ask for what happened; elsewhere an answer has no parts of a story to tell."""
KINDS: dict[Kind, str] = {
    "question": "question",
    "probe": "follow-up",
    "hint": "hint",
    "reply": "reply",
    "closing": "closing",
    "answer": "answer",
}
SOURCES: dict[Source, str] = {"bank": "from the question bank", "cache": "", "model": ""}
LEVELS = {"intern": "Intern", "junior": "Junior", "mid": "Mid-level", "senior": "Senior"}
MODES = {"practice": "Practice", "assessment": "Assessment"}
NOT_RATED = "Not rated"
OFFLINE = "Offline"
OFFLINE_LONG = "Offline: looked at by fixed rules, without a language model"
NO_TURNS = "Nothing was said."
_PROVEN = (
    "A score counts only with words of the candidate that stand, to the letter, in the transcript; "
    "each quote was checked. The overall score is the mean of the competencies' means, "
    "without communication."
)
HOW: dict[Method, str] = {
    "model": "A language model compared each answer with anchors that were written before the "
    f"interview. {_PROVEN}",
    "offline": "No language model was asked. Fixed rules looked for what good answers tend to "
    f"have: they do not understand what was said. {_PROVEN}",
}
LIMITS = "A score says what one conversation showed. It decides nothing by itself; people do."

_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufff9-\ufffb]"
)


class Competency(NamedTuple):
    """What all answers to a competency's questions came to; ``score`` is None where none counts."""

    name: str
    score: float | None
    ratings: tuple[Rating, ...]


class Piece(NamedTuple):
    """A stretch of a turn's text, and which quotes it is part of, by their place in the list."""

    text: str
    quotes: tuple[int, ...]


def visible(text: str) -> str:
    """Return text with what would act unseen shown as U+FFFD, code point for code point.

    Control characters, the ones that turn the direction of all that follows, and hidden letters.
    """
    lines = text.replace("\r\n", "\n ").replace("\r", "\n")
    return _UNSEEN.sub("\ufffd", unhidden(lines))


def title(report: Report) -> str:
    """Return the kind of interview, in words."""
    kind = report.type.replace("_", "-").capitalize()
    return f"{MODES[report.mode]} · {kind} interview · {level(report)}"


def level(report: Report) -> str:
    """Return the level that was asked for, in words."""
    return LEVELS.get(report.level, report.level.capitalize())


def date(at: int) -> str:
    """Return a day and time; UTC, as nobody's zone is known here."""
    moment = datetime.fromtimestamp(at / 1000, UTC)
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"


def iso(at: int) -> str:
    """Return a moment for machines."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="seconds")


def length(ms: int) -> str:
    """Return how long something took, in words."""
    minutes, seconds = divmod(max(0, ms) // 1000, 60)
    if not minutes:
        return f"{seconds} s"
    return f"{minutes} min" if minutes >= 10 or not seconds else f"{minutes} min {seconds} s"


def clock(ms: int) -> str:
    """Return a place on the interview's clock."""
    minutes, seconds = divmod(max(0, ms) // 1000, 60)
    return f"{minutes}:{seconds:02}"


def money(micro_usd: int) -> str:
    """Return a sum in US dollars; small ones to a hundredth of a cent."""
    dollars = micro_usd / 1_000_000
    return f"${dollars:.2f}" if dollars >= 1 or not dollars else f"${dollars:.4f}"


def number(score: float | None) -> str:
    """Return a score as it is shown; no score is no number."""
    return NOT_RATED if score is None else f"{score:.2f}".rstrip("0").rstrip(".")


def turns(numbers: Sequence[int]) -> str:
    """Return the turns' numbers as a phrase."""
    return f"turn {numbers[0]}" if len(numbers) == 1 else f"turns {', '.join(map(str, numbers))}"


def speaker(turn: Turn) -> str:
    """Return who spoke."""
    return turn.speaker.capitalize()


def remarks_on(turn: Turn) -> tuple[str, ...]:
    """Return what is to be known of a turn: what it is, where it came from, how it ended."""
    found = [KINDS[turn.kind]] if turn.kind != "answer" else []
    if turn.source and SOURCES[turn.source]:
        found.append(SOURCES[turn.source])
    if turn.outcome != "final":
        found.append(turn.outcome)
    return tuple(found)


def asked(rating: Rating, turns: Iterable[Turn]) -> str:
    """Return the question that a rated answer is to, as it was asked."""
    return next(
        (
            turn.text
            for turn in turns
            if turn.speaker == "interviewer" and turn.question_id == rating.question_id
        ),
        "",
    )


def competencies(report: Report) -> tuple[Competency, ...]:
    """Return the plan's competencies in order, with what they came to."""
    rated: dict[str, list[Rating]] = {name.casefold(): [] for name in report.coverage.competencies}
    names = {name.casefold(): name for name in report.coverage.competencies}
    for rating in report.ratings:
        rated.setdefault(rating.competency.casefold(), []).append(rating)
        names.setdefault(rating.competency.casefold(), rating.competency)
    return tuple(
        Competency(names[key], mean_score(ratings), tuple(ratings))
        for key, ratings in rated.items()
    )


def mean_score(ratings: Iterable[Rating]) -> float | None:
    """Return the mean of the scores there are; None where there is none, never zero."""
    scores = [rating.score for rating in ratings if rating.score is not None]
    return round(fmean(scores), 2) if scores else None


def rated(report: Report) -> tuple[Rating, ...]:
    """Return all ratings, that of communication last."""
    return (*report.ratings, report.communication) if report.communication else report.ratings


def tells_stories(report: Report) -> bool:
    """Whether the interview asked for stories, and parts of one were found."""
    return report.type in STORIES and any(rating.star for rating in report.ratings)


def quotes(report: Report) -> tuple[Evidence, ...]:
    """Return all quotes of a report in the order of its ratings."""
    return tuple(evidence for rating in rated(report) for evidence in rating.evidence)


def pieces(turn: Turn, evidence: Sequence[Evidence]) -> list[Piece]:
    """Return a turn's text cut where quotes begin and end; quotes may overlap."""
    here = [(place, quote) for place, quote in enumerate(evidence) if quote.turn == turn.turn]
    size = len(turn.text)
    cuts = {0, size, *(min(cut, size) for _, quote in here for cut in (quote.start, quote.end))}
    ends = sorted(cuts)
    return [
        Piece(
            turn.text[start:end],
            tuple(place for place, quote in here if quote.start <= start and end <= quote.end),
        )
        for start, end in pairwise(ends)
    ]


def models(report: Report) -> tuple[str, ...]:
    """Return the models that rated, each once."""
    return tuple(dict.fromkeys(rating.model for rating in rated(report) if rating.model))


def prompts(report: Report) -> tuple[str, ...]:
    """Return the digests of the prompts that were used, each once."""
    found = (rating.prompt_sha256 for rating in rated(report) if rating.prompt_sha256)
    return tuple(dict.fromkeys(found))


def how(report: Report) -> str:
    """Return how the scores came about."""
    if not rated(report):
        return "Nothing was rated."
    if not report.weights:
        return f"{HOW[report.method]} All weigh alike."
    weights = ", ".join(f"{each.competency} {each.weight}" for each in report.weights)
    return f"{HOW[report.method]} As planned, {weights}; all others weigh 1."


def provenance(report: Report) -> list[tuple[str, str]]:
    """Return how a report was made, as names and values."""
    most = max((max(1, len(rating.samples)) for rating in rated(report)), default=0)
    samples = f"{most}, the median counts" if most > 1 else str(most)
    rows = [
        ("Method", METHODS[report.method]),
        ("Model", ", ".join(models(report)) or "none"),
        ("Rubric", report.rubric or "unknown"),
        ("Prompt (SHA-256)", ", ".join(prompts(report)) or "none"),
        ("Ratings per answer", samples),
        ("Cost", money(report.cost_micro_usd)),
        ("Written", date(report.created_at)),
        ("Report", report.report_id),
        ("Interview", report.interview_id),
    ]
    return [(name, visible(value)) for name, value in rows]
