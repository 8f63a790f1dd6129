"""What the server sends: durable events of the log, and ephemeral messages of one socket.

Clients ignore fields they do not know, so these Structs do too. Durable events are logged without
their ``id``, which is the log's own; :mod:`protocol.codec` puts it in.
"""

from typing import Any

from msgspec import Struct

from protocol.limits import Limits
from protocol.scalars import (
    Confidence,
    Count,
    EndReason,
    Kind,
    Milliseconds,
    Mode,
    Nonce,
    NoticeCode,
    Ordinal,
    Outcome,
    Phase,
    Position,
    Role,
    Source,
    Speaker,
    Status,
)


class _Message(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    pass


class Event(_Message, frozen=True, kw_only=True):
    """A durable event. ``id`` is empty until the log has given it one."""

    id: Position = ""


class InterviewStarted(Event, frozen=True, kw_only=True, tag="interview.started"):
    """The candidate consented; the clock runs."""

    at: Milliseconds


class InterviewPaused(Event, frozen=True, kw_only=True, tag="interview.paused"):
    """The clock stands."""

    at: Milliseconds


class InterviewResumed(Event, frozen=True, kw_only=True, tag="interview.resumed"):
    """The clock runs again."""

    at: Milliseconds


class PhaseChanged(Event, frozen=True, kw_only=True, tag="phase.changed"):
    """The interview entered ``phase``."""

    phase: Phase


class TurnStarted(Event, frozen=True, kw_only=True, tag="turn.started"):
    """A turn opened; its text follows as deltas."""

    turn: Ordinal
    attempt: Ordinal
    speaker: Speaker
    kind: Kind
    question_id: str | None = None
    at: Milliseconds


class TurnDelta(Event, frozen=True, kw_only=True, tag="turn.delta"):
    """A piece of a turn's text, at ``offset`` code points.

    ``first`` is the first ``seq`` it covers, where the server merged neighbours.
    """

    turn: Ordinal
    attempt: Ordinal
    offset: Count
    text: str
    first: Ordinal | None = None


class TurnReset(Event, frozen=True, kw_only=True, tag="turn.reset"):
    """The turn's text so far is void; ``attempt`` is the new one."""

    turn: Ordinal
    attempt: Ordinal
    reason: str


class TurnCompleted(Event, frozen=True, kw_only=True, tag="turn.completed"):
    """The turn is over; its text is cut to ``length`` code points and has this ``sha256``."""

    turn: Ordinal
    attempt: Ordinal
    length: Count
    sha256: str
    outcome: Outcome
    source: Source | None = None
    at: Milliseconds


class SpeechRecorded(Event, frozen=True, kw_only=True, tag="speech.recorded"):
    """A final segment of the open answer was recorded, or replaced by a higher revision."""

    turn: Ordinal
    utterance_id: str
    revision: Count
    text: str
    start_ms: Milliseconds | None = None
    end_ms: Milliseconds | None = None
    confidence: Confidence | None = None


class RatingReady(Event, frozen=True, kw_only=True, tag="rating.ready"):
    """Ratings of one turn; in assessment mode it is ephemeral and goes to observers only."""

    turn: Ordinal
    ratings: list[dict[str, Any]]


class ReportReady(Event, frozen=True, kw_only=True, tag="report.ready"):
    """The report can be fetched."""

    report_id: str


class ReportFailed(Event, frozen=True, kw_only=True, tag="report.failed"):
    """The report could not be written."""

    code: str
    retryable: bool


class Notice(Event, frozen=True, kw_only=True, tag="notice"):
    """Something the candidate should know."""

    code: NoticeCode
    message: str


class InterviewEnded(Event, frozen=True, kw_only=True, tag="interview.ended"):
    """The interview is over; only ratings, reports and notices follow."""

    reason: EndReason


DurableEvent = (
    InterviewStarted
    | InterviewPaused
    | InterviewResumed
    | PhaseChanged
    | TurnStarted
    | TurnDelta
    | TurnReset
    | TurnCompleted
    | SpeechRecorded
    | RatingReady
    | ReportReady
    | ReportFailed
    | Notice
    | InterviewEnded
)


class ClockView(Struct, frozen=True, kw_only=True):
    """The interview's clock at the moment of the welcome."""

    elapsed_ms: Milliseconds
    remaining_ms: Milliseconds
    running: bool


class PlanView(Struct, frozen=True, kw_only=True):
    """What every client of the interview may know of its plan."""

    type: str
    role: str
    duration_minutes: Count


class Segment(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A recorded segment of the open answer, in order of arrival."""

    utterance_id: str
    revision: Count
    text: str
    start_ms: Milliseconds | None = None
    end_ms: Milliseconds | None = None
    confidence: Confidence | None = None


class TurnView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A finished turn, as in snapshots and transcripts."""

    turn: Ordinal
    speaker: Speaker
    kind: Kind
    question_id: str | None = None
    text: str
    sha256: str
    outcome: Outcome
    source: Source | None = None
    started_at: Milliseconds
    ended_at: Milliseconds


class OpenView(Struct, frozen=True, kw_only=True):
    """The turn that is open now."""

    turn: Ordinal
    attempt: Ordinal
    speaker: Speaker
    kind: Kind
    question_id: str | None = None
    started_at: Milliseconds = 0
    text: str
    segments: tuple[Segment, ...] = ()


class ReportView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of the report: ``report_id`` where it is ready, else why it is not."""

    report_id: str | None = None
    code: str | None = None
    retryable: bool = False


class Snapshot(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Replaces everything a client holds. ``transcript_url`` names where turns left out are."""

    status: Status
    mode: Mode
    phase: Phase
    clock: ClockView
    plan: PlanView
    turns: tuple[TurnView, ...]
    open: OpenView | None = None
    report: ReportView | None = None
    transcript_url: str | None = None


class Welcome(_Message, frozen=True, kw_only=True, tag="welcome"):
    """The answer to ``hello``.

    ``clock`` comes without a ``snapshot``, which has its own: no event tells that it stood while
    the candidate was away.
    """

    interview_id: str
    role: Role
    recovered: bool
    head: Position
    resume_token: str
    heartbeat_ms: Milliseconds
    limits: Limits
    snapshot: Snapshot | None = None
    clock: ClockView | None = None


class Live(_Message, frozen=True, kw_only=True, tag="live"):
    """The client has caught up to ``id``; live events follow."""

    id: Position


class Stored(_Message, frozen=True, kw_only=True, tag="stored"):
    """Everything up to ``id`` is committed in PostgreSQL."""

    id: Position


class PartialHeard(_Message, frozen=True, kw_only=True, tag="speech.partial"):
    """Interim voice-to-text, relayed to observers."""

    utterance_id: str
    revision: Count
    text: str


class Thinking(_Message, frozen=True, kw_only=True, tag="thinking"):
    """The interviewer's ``turn`` runs but has no words yet."""

    turn: Ordinal


class Draining(_Message, frozen=True, kw_only=True, tag="draining"):
    """This instance is going away; reconnect after the delay."""

    reconnect_after_ms: Milliseconds


class Accepted(_Message, frozen=True, kw_only=True, tag="accepted"):
    """The log holds the command's effect, the last event of which is ``id``."""

    command_id: str
    id: Position
    duplicate: bool


class Rejected(_Message, frozen=True, kw_only=True, tag="rejected"):
    """The command had no effect; ``retryable`` tells whether it may be sent again."""

    command_id: str
    code: str
    message: str
    retryable: bool


class Error(_Message, frozen=True, kw_only=True, tag="error"):
    """A message did not fit its schema."""

    code: str
    message: str


class Pong(_Message, frozen=True, kw_only=True, tag="pong"):
    """The answer to ``ping``."""

    nonce: Nonce
    server_time: Milliseconds


EphemeralMessage = (
    Welcome
    | Live
    | Stored
    | PartialHeard
    | Thinking
    | Draining
    | Accepted
    | Rejected
    | Error
    | Pong
)
ServerMessage = DurableEvent | EphemeralMessage
