"""The small types every message is made of, with the bounds the contract gives them."""

from typing import Annotated, Literal

from msgspec import Meta

MAX_INTEGER = 2**53 - 1
"""The largest integer a message may carry: what an IEEE 754 double holds exactly (RFC 8259, §6)."""

Count = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
"""A counter, an offset or a length in Unicode code points."""

Ordinal = Annotated[int, Meta(ge=1, le=MAX_INTEGER)]
"""A number that counts from one: a turn, an attempt, a revision's bearer."""

Milliseconds = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
"""A Unix time, or a duration where the field's name ends in ``_ms``."""

Text = Annotated[str, Meta(pattern=r"\A[^\x00]*\Z")]
"""Free text. NUL is refused because PostgreSQL's ``text`` cannot hold it; the codec itself refuses
lone surrogates."""

CommandId = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{1,64}\Z")]
"""A client's idempotency key."""

Position = Annotated[str, Meta(pattern=r"\A(0|[1-9][0-9]{0,15})-(0|[1-9][0-9]{0,15})\Z")]
"""An event id, ``<seq>-<check>`` in decimal (:mod:`protocol.ids`)."""

Name = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"\A[^\x00]*\Z")]
"""A short identifier that a client chooses, such as an utterance's."""

Nonce = Text | Count | Annotated[float, Meta(ge=0.0, le=float(MAX_INTEGER))]
"""What a client tells one ``ping`` from another by: any text, and any number within the bounds."""

Confidence = Annotated[float, Meta(ge=0.0, le=1.0)]

Role = Literal["candidate", "transcriber", "observer"]
Speaker = Literal["interviewer", "candidate"]
Kind = Literal["question", "probe", "hint", "reply", "closing", "answer"]
Outcome = Literal["final", "interrupted", "failed"]
Source = Literal["model", "cache", "bank"]
Status = Literal[
    "created",
    "live",
    "paused",
    "disconnected",
    "completed",
    "abandoned",
    "expired",
    "terminated",
]
EndReason = Literal["completed", "abandoned", "expired", "terminated"]
Phase = Literal["lobby", "consent", "warmup", "core", "candidate_questions", "wrap_up", "closed"]
NoticeCode = Literal["time_low", "time_up", "budget_low", "fallback_in_use", "degraded"]
InterviewType = Literal[
    "behavioral",
    "situational",
    "technical",
    "coding",
    "system_design",
    "case",
    "screening",
    "mixed",
]
Difficulty = Literal["easy", "medium", "hard"]
Mode = Literal["practice", "assessment"]
Level = Literal["intern", "junior", "mid", "senior", "staff"]

ENDED: frozenset[Status] = frozenset(("completed", "abandoned", "expired", "terminated"))
"""The statuses an interview never leaves."""
