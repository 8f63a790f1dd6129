"""What clients send.

Unknown fields are refused: a misspelt ``heard`` must not cut a turn in the wrong place.
"""

from msgspec import Struct

from protocol.scalars import (
    CommandId,
    Confidence,
    Count,
    Milliseconds,
    Name,
    Nonce,
    Ordinal,
    Role,
    Text,
)


class _Message(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    pass


class Hello(_Message, frozen=True, kw_only=True, tag="hello"):
    """The first frame of every socket."""

    credential: str
    last_event_id: str | None = None
    client: str | None = None


class Ping(_Message, frozen=True, kw_only=True, tag="ping"):
    """The application's heartbeat; answered by ``pong`` with the same nonce."""

    nonce: Nonce


class Ack(_Message, frozen=True, kw_only=True, tag="ack"):
    """The client has applied everything up to ``event_id``."""

    event_id: str


TYPING = "typing"
"""The utterance by which a candidate's client tells that an answer is being typed."""


class SpeechPartial(_Message, frozen=True, kw_only=True, tag="speech.partial"):
    """Interim voice-to-text; the newest revision wins; never stored.

    The utterance ``typing``, without text, is no speech: the candidate types. Nobody is told of it.
    """

    utterance_id: Name
    revision: Count
    text: Text


class Durable(_Message, frozen=True, kw_only=True):
    """A command with an effect that outlives the socket. ``id`` is its idempotency key."""

    id: CommandId


class Consent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The version of the notice the candidate agreed to, and when."""

    version: Name
    at: Milliseconds


class InterviewStart(Durable, frozen=True, kw_only=True, tag="interview.start"):
    """The candidate agrees to the notice; the clock starts."""

    consent: Consent


class SpeechFinal(Durable, frozen=True, kw_only=True, tag="speech.final"):
    """A final segment of the open answer; a higher revision replaces a lower one.

    With ``turn`` it is for the answer of that number alone.
    """

    utterance_id: Name
    revision: Count
    text: Text
    turn: Ordinal | None = None
    start_ms: Milliseconds | None = None
    end_ms: Milliseconds | None = None
    confidence: Confidence | None = None


class AnswerSubmit(Durable, frozen=True, kw_only=True, tag="answer.submit"):
    """The candidate's turn is over; ``text``, unless empty, stands in for the recorded segments.

    With ``turn`` it is for the answer of that number alone.
    """

    text: Text | None = None
    turn: Ordinal | None = None


class TurnCancel(Durable, frozen=True, kw_only=True, tag="turn.cancel"):
    """Barge-in: stop this interviewer turn and keep its first ``heard`` code points."""

    turn: Ordinal
    attempt: Ordinal
    heard: Count | None = None


class HintRequest(Durable, frozen=True, kw_only=True, tag="hint.request"):
    """Ask for a hint on the open question, at most two a question; practice mode only.

    With ``turn`` it is for the answer of that number alone.
    """

    turn: Ordinal | None = None


class InterviewPause(Durable, frozen=True, kw_only=True, tag="interview.pause"):
    """Stop the clock."""


class InterviewResume(Durable, frozen=True, kw_only=True, tag="interview.resume"):
    """Let the clock run on."""


class InterviewEnd(Durable, frozen=True, kw_only=True, tag="interview.end"):
    """End the interview now, keeping everything said so far."""


DurableCommand = (
    InterviewStart
    | SpeechFinal
    | AnswerSubmit
    | TurnCancel
    | HintRequest
    | InterviewPause
    | InterviewResume
    | InterviewEnd
)
Command = DurableCommand | SpeechPartial | Ack | Ping

_TRANSCRIBER = (SpeechFinal, SpeechPartial, TurnCancel, AnswerSubmit, Ack, Ping)


def permitted(role: Role, command: Command) -> bool:
    """Tell whether ``role`` may send ``command`` at all."""
    match role:
        case "candidate":
            return True
        case "transcriber":
            return isinstance(command, _TRANSCRIBER)
        case "observer":
            return isinstance(command, Ack | Ping)
