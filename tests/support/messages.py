"""One message of every type, optional fields filled in, text that is hard to encode."""

import msgspec

from protocol import commands as c
from protocol import events as e
from protocol.limits import LIMITS

TEXT = 'Zwölf "Löwen" \\ 🦁\u2028\x01\n'
DIGEST = "0" * 64

TURN = e.TurnView(
    turn=1,
    speaker="interviewer",
    kind="question",
    question_id="warmup",
    text=TEXT,
    sha256=DIGEST,
    outcome="final",
    source="model",
    started_at=1,
    ended_at=2,
)
SEGMENT = e.Segment(
    utterance_id="u-1", revision=2, text=TEXT, start_ms=1, end_ms=2, confidence=0.25
)
SNAPSHOT = e.Snapshot(
    status="live",
    mode="practice",
    phase="core",
    clock=e.ClockView(elapsed_ms=1, remaining_ms=2, running=True),
    plan=e.PlanView(type="technical", role=TEXT, duration_minutes=30),
    turns=(TURN,),
    open=e.OpenView(
        turn=2, attempt=1, speaker="candidate", kind="answer", text="", segments=(SEGMENT,)
    ),
    report=e.ReportView(code="unverifiable", retryable=True),
    transcript_url="/api/interviews/x/transcript",
)

COMMANDS: tuple[c.Command, ...] = (
    c.InterviewStart(id="c-1", consent=c.Consent(version="2024", at=1)),
    c.SpeechFinal(
        id="c-2",
        utterance_id="u",
        revision=0,
        text=TEXT,
        turn=2,
        start_ms=0,
        end_ms=9,
        confidence=1.0,
    ),
    c.AnswerSubmit(id="c-3", text=TEXT, turn=2),
    c.TurnCancel(id="c-4", turn=1, attempt=2, heard=0),
    c.HintRequest(id="c-5", turn=2),
    c.InterviewPause(id="c-6"),
    c.InterviewResume(id="c-7"),
    c.InterviewEnd(id="A" * 64),
    c.SpeechPartial(utterance_id="u", revision=3, text=TEXT),
    c.Ack(event_id="7-4503599627370495"),
    c.Ping(nonce=2**53 - 1),
)
EVENTS: tuple[e.DurableEvent, ...] = (
    e.InterviewStarted(id="1-1", at=0),
    e.InterviewPaused(id="2-1", at=1),
    e.InterviewResumed(id="3-1", at=2**53 - 1),
    e.PhaseChanged(id="4-1", phase="core"),
    e.TurnStarted(
        id="5-1",
        turn=1,
        attempt=1,
        speaker="interviewer",
        kind="probe",
        question_id="core-1",
        at=1,
    ),
    e.TurnDelta(id="6-1", turn=1, attempt=1, offset=0, text=TEXT, first=5),
    e.TurnReset(id="7-1", turn=1, attempt=2, reason="instance_lost"),
    e.TurnCompleted(
        id="8-1",
        turn=1,
        attempt=2,
        length=3,
        sha256=DIGEST,
        outcome="interrupted",
        source="bank",
        at=1,
    ),
    e.SpeechRecorded(
        id="9-1",
        turn=2,
        utterance_id="u",
        revision=1,
        text=TEXT,
        start_ms=1,
        end_ms=2,
        confidence=0.5,
    ),
    e.RatingReady(id="10-1", turn=2, ratings=[{"competency": "depth", "score": 4}]),
    e.ReportReady(id="11-1", report_id="r"),
    e.ReportFailed(id="12-1", code="unverifiable", retryable=True),
    e.Notice(id="13-1", code="time_low", message=TEXT),
    e.InterviewEnded(id="14-1", reason="completed"),
)
CONTROLS: tuple[e.EphemeralMessage, ...] = (
    e.Welcome(
        interview_id="0190a5c0-0000-7000-8000-000000000001",
        role="observer",
        recovered=False,
        head="0-0",
        resume_token="t",
        heartbeat_ms=15_000,
        limits=LIMITS,
        snapshot=SNAPSHOT,
    ),
    e.Live(id="0-0"),
    e.Stored(id="12-4503599627370495"),
    e.PartialHeard(utterance_id="u", revision=1, text=TEXT),
    e.Thinking(turn=1),
    e.Draining(reconnect_after_ms=0),
    e.Accepted(command_id="c", id="3-4", duplicate=True),
    e.Rejected(command_id="c", code="wrong_state", message=TEXT, retryable=False),
    e.Error(code="invalid_message", message=TEXT),
    e.Pong(nonce="n", server_time=1),
)
SAMPLES: tuple[msgspec.Struct, ...] = (
    c.Hello(credential="t", last_event_id="1-1", client="web"),
    *COMMANDS,
    *EVENTS,
    *CONTROLS,
)
