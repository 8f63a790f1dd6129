"""From ratings to a report: what was covered, what was strong, what was missing.

Nothing is judged here. A rating is taken as it is or refused, never changed, and each sentence of
the report is either a rating's own or states a fact about the interview.
"""

from collections.abc import Iterable, Mapping, Sequence

from protocol.assessment import (
    Coverage,
    Guide,
    GuideQuestion,
    Method,
    Rating,
    Remark,
    Report,
    answers_to,
    composite,
    verified,
)
from protocol.scalars import Mode
from protocol.session import Session, Turn
from protocol.text import clip
from server.reporting.notes import notes_on

STRONG = 4
"""The least score that is told as a strength."""
WEAK = 2
"""The greatest score that is told as a gap."""
COMMUNICATION = "communication"
REMARK_LENGTH = 600


def compose_report(
    *,
    report_id: str,
    session: Session,
    turns: Sequence[Turn],
    guide: Guide,
    ratings: Sequence[Rating],
    communication: Rating | None,
    method: Method,
    created_at: int,
    disconnections: int = 0,
    cost_micro_usd: int = 0,
    earlier: Mapping[Mode, int],
    notes: Sequence[str] = (),
) -> Report:
    """Return the report of an interview. Equal arguments make equal reports.

    ``earlier`` counts the interviews of its type that the candidate had begun before, to be told.

    Raises:
        ValueError: a rating is not proven by its quotes, or is none of this interview.
    """
    ratings = _in_order(ratings, guide)
    rated = (*ratings, communication) if communication else ratings
    _check(rated, turns, guide)
    coverage = cover(guide, turns, ratings)
    known = {name.casefold() for name in coverage.competencies}
    weights = tuple(w for w in session.plan.weights if w.competency.casefold() in known)
    overall = composite(ratings, weights, planned=coverage.planned)
    ended_at = created_at if session.ended_at is None else session.ended_at
    return Report(
        report_id=report_id,
        interview_id=session.interview_id,
        created_at=created_at,
        method=method,
        mode=session.plan.mode,
        role=session.plan.role,
        type=session.plan.type,
        level=session.plan.level,
        ended=session.status,
        duration_ms=session.elapsed(ended_at),
        coverage=coverage,
        ratings=ratings,
        communication=communication,
        composite=overall,
        weights=weights if overall is not None else (),
        strengths=_strengths(rated),
        gaps=_gaps(rated, turns),
        notes=notes_on(
            session=session,
            turns=turns,
            ratings=rated,
            coverage=coverage,
            missed=guide.missed,
            composite=overall,
            method=method,
            disconnections=disconnections,
            earlier=earlier,
            others=notes,
        ),
        disconnections=disconnections,
        cost_micro_usd=cost_micro_usd,
        rubric=guide.version,
    )


def cover(guide: Guide, turns: Sequence[Turn], ratings: Sequence[Rating]) -> Coverage:
    """Return how much of the plan was asked, answered and rated; its competencies in order."""
    asked = {turn.question_id for turn in turns if turn.speaker == "interviewer" and turn.text}
    return Coverage(
        planned=len(guide.questions),
        asked=sum(question.question_id in asked for question in guide.questions),
        answered=sum(bool(answers_to(q.question_id, turns)) for q in guide.questions),
        rated=len({rating.question_id for rating in ratings if rating.score is not None}),
        competencies=_distinct(question.competency for question in guide.questions),
    )


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    seen: dict[str, str] = {}
    for name in names:
        seen.setdefault(name.casefold(), name)
    return tuple(seen.values())


def _in_order(ratings: Sequence[Rating], guide: Guide) -> tuple[Rating, ...]:
    order = {question.question_id: place for place, question in enumerate(guide.questions)}
    return tuple(
        sorted(ratings, key=lambda r: (order.get(r.question_id, len(order)), r.competency))
    )


# --- what may enter ------------------------------------------------------------------------------


def _check(ratings: Sequence[Rating], turns: Sequence[Turn], guide: Guide) -> None:
    spoken = {turn.turn for turn in turns if turn.speaker == "candidate"}
    seen: set[tuple[str, str]] = set()
    for rating in ratings:
        name = rating.question_id
        question: GuideQuestion | None = guide.question(name)
        if question is None and name != COMMUNICATION:
            raise ValueError(f"the guide has no question {name}")
        if (name, rating.competency.casefold()) in seen:
            raise ValueError(f"{name} is rated twice for one competency")
        seen.add((name, rating.competency.casefold()))
        if question is not None and rating.rubric != guide.version:  # communication has its own
            raise ValueError(f"the rating of {name} was made by another rubric")
        if not spoken.issuperset(rating.turns):
            raise ValueError(f"the rating of {name} names turns that the candidate did not speak")
        if not verified(rating, turns):
            raise ValueError(f"the rating of {name} is not proven by its quotes")


# --- what is told of it --------------------------------------------------------------------------


def _strengths(ratings: Sequence[Rating]) -> tuple[Remark, ...]:
    strong = [r for r in ratings if r.score is not None and r.score >= STRONG]
    strong.sort(key=lambda rating: -(rating.score or 0))
    return tuple(
        Remark(
            text=_sentence(rating.rationale, rating.anchor_text) or _scored(rating),
            competency=rating.competency,
            turns=_cited(rating),
        )
        for rating in strong
    )


def _gaps(ratings: Sequence[Rating], turns: Sequence[Turn]) -> tuple[Remark, ...]:
    weak = [r for r in ratings if r.score is not None and r.score <= WEAK]
    weak.sort(key=lambda rating: rating.score or 0)
    unproven = [r for r in ratings if r.score is None and r.missing]
    remarks = [
        Remark(
            text=_sentence(_lacking(rating)) or _scored(rating),
            competency=rating.competency,
            turns=_cited(rating) or _asked(rating, turns),
        )
        for rating in (*weak, *unproven)
    ]
    return tuple(remark for remark in remarks if remark.turns)


def _cited(rating: Rating) -> tuple[int, ...]:
    """Return the turns that prove a rating, or those that were read for it in vain."""
    return tuple(sorted({evidence.turn for evidence in rating.evidence} or set(rating.turns)))


def _asked(rating: Rating, turns: Sequence[Turn]) -> tuple[int, ...]:
    """Return where a question was asked that nobody answered."""
    return tuple(turn.turn for turn in turns if turn.question_id == rating.question_id)[:1]


def _sentence(*texts: str) -> str:
    """Return the first text that says anything, no longer than a remark may be."""
    return next((clip(text.strip(), REMARK_LENGTH) for text in texts if text.strip()), "")


def _lacking(rating: Rating) -> str:
    if rating.score is None and rating.missing.strip():
        return rating.missing  # why there is no score stands beside the answer
    both = rating.rationale.strip() and rating.missing.strip()
    return f"{rating.rationale} {'Missing: ' if both else ''}{rating.missing}"


def _scored(rating: Rating) -> str:
    if rating.score is None:
        return f"Nothing could be concluded about {clip(rating.competency, 200)}."
    return f"{clip(rating.competency, 200)} was scored {rating.score} of 5."
