"""What can happen to an interview: the inputs of the state machine, each with its time."""

from typing import Any

from msgspec import Struct

from protocol import commands as c
from protocol.probing import Lack
from protocol.scalars import NoticeCode, Outcome, Source


class Received(Struct, frozen=True, kw_only=True):
    """A durable command arrived.

    ``logged`` is the logged text of the interviewer's open turn, and ``source`` who speaks it, for
    the commands that cut it. ``lacks`` is what the answer lacks that the command ends, None where
    nobody read it.
    """

    command: c.DurableCommand
    at: int
    logged: str = ""
    source: Source = "model"
    lacks: tuple[Lack, ...] | None = None


class Speaking(Struct, frozen=True, kw_only=True):
    """The candidate is answering: words came of which none is final yet, or a sign of typing."""

    at: int


class Finished(Struct, frozen=True, kw_only=True):
    """The interviewer's turn was generated to its end; ``text`` is all of it."""

    turn: int
    attempt: int
    text: str
    at: int
    source: Source
    outcome: Outcome = "final"


class Lost(Struct, frozen=True, kw_only=True):
    """An attempt at the interviewer's turn will never end; the next one takes its place."""

    turn: int
    attempt: int
    reason: str
    at: int


class Noted(Struct, frozen=True, kw_only=True):
    """Something the candidate should know, told once an interview."""

    code: NoticeCode
    message: str
    at: int


class Ticked(Struct, frozen=True, kw_only=True):
    """Time passed; `protocol.clock.next_tick` tells when it matters.

    ``lacks`` is what the open answer lacks so far, which silence may end.
    """

    at: int
    lacks: tuple[Lack, ...] | None = None


class Left(Struct, frozen=True, kw_only=True):
    """Nobody is there any more who could answer, ``since`` the last sign of life.

    They have ``grace_ms`` from then on to come back.
    """

    since: int
    grace_ms: int
    at: int


class Arrived(Struct, frozen=True, kw_only=True):
    """Somebody is there who can answer."""

    at: int


class Rated(Struct, frozen=True, kw_only=True):
    """The answers to a main question were rated; ``ratings`` are as clients see them.

    ``turn`` is the turn that asked it. Only practice interviews tell their candidate.
    """

    question_id: str
    turn: int
    ratings: tuple[dict[str, Any], ...]
    at: int


class Reported(Struct, frozen=True, kw_only=True):
    """The report was written, or will not be: ``code`` tells why."""

    report_id: str = ""
    code: str = ""
    retryable: bool = False
    at: int


Input = Received | Speaking | Finished | Lost | Noted | Ticked | Left | Arrived | Rated | Reported
