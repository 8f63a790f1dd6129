"""The live, resumable state of one interview, and the turns it has finished.

A `Session` holds what decisions need and nothing that grows with the interview: finished turns are
kept beside it, the text of the interviewer's open turn is in the log.
"""

from msgspec import Struct
from msgspec.structs import replace

from protocol.commands import Consent, SpeechFinal
from protocol.events import (
    ClockView,
    OpenView,
    PlanView,
    ReportView,
    Segment,
    Snapshot,
    TurnView,
)
from protocol.guide import Guide, Intent
from protocol.plan import Plan
from protocol.probing import Lack
from protocol.scalars import (
    ENDED,
    Confidence,
    Count,
    Kind,
    Milliseconds,
    NoticeCode,
    Ordinal,
    Outcome,
    Phase,
    Source,
    Speaker,
    Status,
)


class Turn(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A finished turn as it is kept.

    ``text`` is what was heard or answered; ``unheard`` is what was generated beyond an
    interruption and never becomes part of the transcript.
    """

    turn: Ordinal
    attempt: Ordinal = 1
    speaker: Speaker
    kind: Kind
    question_id: str | None = None
    text: str
    sha256: str
    outcome: Outcome
    source: Source | None = None
    started_at: Milliseconds
    ended_at: Milliseconds
    unheard: str = ""
    confidence: Confidence | None = None
    """How sure voice-to-text was of an answer, on average over its code points."""

    def public(self) -> TurnView:
        """Return the turn as clients see it."""
        return TurnView(
            turn=self.turn,
            speaker=self.speaker,
            kind=self.kind,
            question_id=self.question_id,
            text=self.text,
            sha256=self.sha256,
            outcome=self.outcome,
            source=self.source,
            started_at=self.started_at,
            ended_at=self.ended_at,
        )


class OpenTurn(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The one turn that is open. ``segments`` are the candidate's, in order of arrival."""

    turn: Ordinal
    attempt: Ordinal = 1
    speaker: Speaker
    kind: Kind
    question_id: str | None = None
    intent: Intent | None = None
    """What a probe is for, where the answer before it was read; or a reply that asks again."""
    started_at: Milliseconds
    segments: tuple[Segment, ...] = ()
    heard_at: Milliseconds = 0
    """When the candidate was last heard, or known to type."""
    recorded_bytes: Count = 0
    """What the log keeps of what was recorded, replaced revisions and all."""

    @property
    def spoken(self) -> str:
        """The recorded segments as one text: by ``start_ms``, then by arrival."""
        ordered = sorted(self.segments, key=_start)
        return " ".join(segment.text for segment in ordered)

    @property
    def confidence(self) -> float | None:
        """The mean confidence of the segments that have one, longer ones weighing more."""
        known = [(s.confidence, len(s.text)) for s in self.segments if s.confidence is not None]
        weight = sum(length for _, length in known)
        return round(sum(c * length for c, length in known) / weight, 3) if weight else None

    def record(self, final: SpeechFinal) -> "OpenTurn | None":
        """Return the turn with ``final`` recorded, or None where an equal or newer revision is."""
        segment = Segment(
            utterance_id=final.utterance_id,
            revision=final.revision,
            text=final.text,
            start_ms=final.start_ms,
            end_ms=final.end_ms,
            confidence=final.confidence,
        )
        for place, held in enumerate(self.segments):
            if held.utterance_id == final.utterance_id:
                if held.revision >= final.revision:
                    return None
                kept = (*self.segments[:place], segment, *self.segments[place + 1 :])
                return replace(self, segments=kept)
        return replace(self, segments=(*self.segments, segment))


class Session(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything the state machine decides by. Times in Unix milliseconds.

    ``rebuilt``: it came back from PostgreSQL, which may have lacked the newest answers, or a client
    holds events that its log has lost. Answers are sent again then, perhaps before their questions
    were asked again.
    ``rated``: the questions whose rating is known, by their ids.
    ``rests_since``: since when it is paused or disconnected; ``grace_ms`` is how long the present
    absence may last, ``absences`` how many there were, and ``absent_ms`` how long they stopped the
    clock in all. See `protocol.clock`.
    ``lacks``: what the last finished answer lacks, None where nobody read it; ``recovering``: the
    last probe only brought back to the question; ``replies``: how often the present question was
    put again to who asked back. See `protocol.probing`. ``silent``: it was silence that ended the
    last answer, which held nothing.
    """

    interview_id: str
    user_id: str
    created_at: Milliseconds
    plan: Plan
    guide: Guide | None = None
    status: Status = "created"
    phase: Phase = "consent"
    elapsed_ms: Milliseconds = 0
    running_since: Milliseconds | None = None
    consent: Consent | None = None
    turn: Count = 0
    open: OpenTurn | None = None
    last: Kind | None = None
    question: Count = 0
    probes: Count = 0
    recovering: bool = False
    lacks: tuple[Lack, ...] | None = None
    silent: bool = False
    hints: Count = 0
    replies: Count = 0
    noticed: tuple[NoticeCode, ...] = ()
    ended_at: Milliseconds | None = None
    rated: tuple[str, ...] = ()
    report: ReportView | None = None
    rebuilt: bool = False
    rests_since: Milliseconds | None = None
    grace_ms: Milliseconds = 0
    absences: Count = 0
    absent_ms: Milliseconds = 0

    @property
    def over(self) -> bool:
        """Whether the interview has ended."""
        return self.status in ENDED

    @property
    def main_questions(self) -> int:
        """How many main questions are planned."""
        return len(self.guide.questions) if self.guide else self.plan.main_questions

    def planned_ms(self, question_id: str | None) -> int:
        """Return how long a main question was planned to take; 0 where nobody knows."""
        planned = self.guide.question(question_id or "") if self.guide else None
        return planned.minutes * 60_000 if planned else 0

    def done_with(self, question: int) -> bool:
        """Whether main question ``question`` and all that followed from it is over."""
        return self.question > question or self.over or self.phase in _BEHIND_CORE

    def elapsed(self, at: int) -> int:
        """Return how long the clock has run by ``at``, in milliseconds."""
        if self.running_since is None:
            return self.elapsed_ms
        return self.elapsed_ms + max(0, at - self.running_since)

    def remaining(self, at: int) -> int:
        """Return the milliseconds left of the planned duration, never below zero."""
        return max(0, self.plan.duration_ms - self.elapsed(at))

    def clock(self, at: int) -> ClockView:
        """Return what the clock shows at ``at``, and whether it runs."""
        return ClockView(
            elapsed_ms=self.elapsed(at),
            remaining_ms=self.remaining(at),
            running=self.running_since is not None,
        )


_BEHIND_CORE: frozenset[Phase] = frozenset(("candidate_questions", "wrap_up", "closed"))


def snapshot(session: Session, turns: tuple[Turn, ...], open_text: str, at: int) -> Snapshot:
    """Return what a client needs to start from nothing at this point of the log."""
    return Snapshot(
        status=session.status,
        mode=session.plan.mode,
        phase=session.phase,
        clock=session.clock(at),
        plan=PlanView(
            type=session.plan.type,
            role=session.plan.role,
            duration_minutes=session.plan.duration_minutes,
        ),
        turns=tuple(turn.public() for turn in turns),
        open=session.open and _open_view(session.open, open_text),
        report=session.report,
    )


def _open_view(turn: OpenTurn, text: str) -> OpenView:
    return OpenView(
        turn=turn.turn,
        attempt=turn.attempt,
        speaker=turn.speaker,
        kind=turn.kind,
        question_id=turn.question_id,
        started_at=turn.started_at,
        text=text,
        segments=turn.segments,
    )


def _start(segment: Segment) -> float:
    # Segments without a time stay behind the timed ones, as they arrived (the sort is stable).
    return float("inf") if segment.start_ms is None else segment.start_ms
