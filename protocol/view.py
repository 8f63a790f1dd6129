"""What a client knows of an interview: a snapshot, and every durable event since, once each."""

from msgspec.structs import replace

from protocol import events as e
from protocol.ids import ORIGIN, EventId, parse_event_id
from protocol.scalars import ENDED, Phase, Status
from protocol.text import sha256


class GapError(Exception):
    """An event does not continue what was applied: something in between is missing."""


class CorruptTurnError(Exception):
    """A finished turn's text is not the one that the server vouches for."""


class View:
    """One client's picture of one interview. Its clock is not kept: that is the server's."""

    def __init__(self) -> None:
        self.head: EventId = ORIGIN
        self.status: Status = "created"
        self.phase: Phase = "lobby"
        self.turns: list[e.TurnView] = []
        self.open: e.OpenView | None = None
        self.notices: list[e.Notice] = []
        self.report: e.ReportReady | e.ReportFailed | None = None

    @property
    def over(self) -> bool:
        """Whether the interview has ended."""
        return self.status in ENDED

    def replace(self, snapshot: e.Snapshot, head: EventId) -> None:
        """Forget everything and begin with ``snapshot``, taken at ``head``."""
        self.head = head
        self.status = snapshot.status
        self.phase = snapshot.phase
        self.turns = list(snapshot.turns)
        self.open = snapshot.open
        self.notices = []
        self.report = snapshot.report and _report(snapshot.report)

    def apply(self, event: e.DurableEvent) -> bool:
        """Apply a durable event; False where it was applied before.

        Raises:
            GapError: reconnect, and hand in the last id applied.
            CorruptTurnError: reconnect without an id, for a snapshot.
        """
        event_id = parse_event_id(event.id)
        if event_id.seq <= self.head.seq:
            return False
        first = event.first if isinstance(event, e.TurnDelta) and event.first else event_id.seq
        if first != self.head.seq + 1:
            raise GapError(f"expected {self.head.seq + 1}, got {first}")
        self._change(event)
        self.head = event_id
        return True

    def _change(self, event: e.DurableEvent) -> None:
        match event:
            case e.TurnStarted() | e.TurnDelta() | e.TurnReset() | e.TurnCompleted():
                self._turn(event)
            case e.SpeechRecorded():
                self._record(event)
            case e.InterviewStarted() | e.InterviewResumed():
                self.status = "live"
            case e.InterviewPaused():
                self.status = "paused"
            case e.InterviewEnded(reason=reason):
                self.status = reason
            case e.PhaseChanged(phase=phase):
                self.phase = phase
            case e.Notice():
                self.notices.append(event)
            case e.ReportReady() | e.ReportFailed():
                self.report = event
            case e.RatingReady():
                pass

    def _turn(self, event: e.TurnStarted | e.TurnDelta | e.TurnReset | e.TurnCompleted) -> None:
        if isinstance(event, e.TurnStarted):
            self.open = e.OpenView(
                turn=event.turn,
                attempt=event.attempt,
                speaker=event.speaker,
                kind=event.kind,
                question_id=event.question_id,
                started_at=event.at,
                text="",
            )
            return
        held = self.open
        if held is None or held.turn != event.turn:
            raise GapError(f"turn {event.turn} is not open")
        if isinstance(event, e.TurnReset):
            self.open = replace(held, attempt=event.attempt, text="")
        elif isinstance(event, e.TurnDelta):
            if (held.attempt, len(held.text)) != (event.attempt, event.offset):
                raise GapError(f"turn {event.turn} does not go on at {event.offset}")
            self.open = replace(held, text=held.text + event.text)
        else:
            self._complete(held, event)

    def _complete(self, held: e.OpenView, event: e.TurnCompleted) -> None:
        text = held.text[: event.length]
        if len(text) != event.length or sha256(text) != event.sha256:
            raise CorruptTurnError(f"turn {event.turn}")
        self.open = None
        self.turns.append(
            e.TurnView(
                turn=held.turn,
                speaker=held.speaker,
                kind=held.kind,
                question_id=held.question_id,
                text=text,
                sha256=event.sha256,
                outcome=event.outcome,
                source=event.source,
                started_at=held.started_at,
                ended_at=event.at,
            )
        )

    def _record(self, event: e.SpeechRecorded) -> None:
        held = self.open
        if held is None or held.turn != event.turn:
            raise GapError(f"turn {event.turn} is not open")
        segment = e.Segment(
            utterance_id=event.utterance_id,
            revision=event.revision,
            text=event.text,
            start_ms=event.start_ms,
            end_ms=event.end_ms,
            confidence=event.confidence,
        )
        names = [known.utterance_id for known in held.segments]
        if event.utterance_id in names:
            place = names.index(event.utterance_id)
            kept = (*held.segments[:place], segment, *held.segments[place + 1 :])
        else:
            kept = (*held.segments, segment)
        self.open = replace(held, segments=kept)


def _report(told: e.ReportView) -> e.ReportReady | e.ReportFailed:
    """Return the event that told it, without its id."""
    if told.report_id is not None:
        return e.ReportReady(report_id=told.report_id)
    return e.ReportFailed(code=told.code or "", retryable=told.retryable)
