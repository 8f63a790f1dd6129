"""What the turn runner and the interviewer say to each other."""

from msgspec import Struct

from protocol.guide import Guide
from protocol.plan import Plan
from protocol.scalars import Kind, Phase, Source
from protocol.session import Turn


class TurnRequest(Struct, frozen=True, kw_only=True):
    """An attempt at one of the interviewer's turns.

    ``turns`` are all finished turns, cut to what was heard. ``handle`` is what was saved with the
    last piece of this attempt that reached the log, and ``logged`` all of its text there; both are
    empty for an attempt that begins.

    ``guide`` holds the main questions; None only for interviews from before there were guides.
    """

    interview_id: str
    user_id: str
    turn: int
    attempt: int
    kind: Kind
    question_id: str | None
    phase: Phase
    plan: Plan
    turns: tuple[Turn, ...]
    handle: str = ""
    logged: str = ""
    guide: Guide | None = None


class Words(Struct, frozen=True, gc=False):
    """A piece of the turn, never empty, fit for the log: no NUL, no half of a surrogate pair.

    ``handle`` lets any instance go on right behind this piece; empty where the source cannot.
    """

    text: str
    handle: str = ""


class Fallback(Struct, frozen=True):
    """The question bank speaks from here on. Comes before the attempt's first words, or never.

    ``reason`` is a short code: ``offline`` where no model is configured.
    """

    reason: str


class Low(Struct, frozen=True):
    """A soft cap of the budget is passed: the bank may have to speak soon. Comes at most once."""


class End(Struct, frozen=True):
    """The turn is complete; nothing follows."""

    source: Source


Spoken = Words | Fallback | Low | End


class AttemptFailedError(Exception):
    """Words of this attempt are out and the rest will never come: the next attempt has to begin.

    ``reason`` is a short code, fit for ``turn.reset``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
