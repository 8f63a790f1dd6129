"""What the turn runner and the interviewer say to each other."""

from typing import Protocol

from msgspec import Struct

from protocol.guide import Guide, Intent
from protocol.plan import Plan
from protocol.probing import Lack
from protocol.scalars import Kind, Phase
from protocol.session import Turn


class TurnRequest(Struct, kw_only=True):
    """An attempt at one of the interviewer's turns.

    ``turns`` are all finished turns, cut to what was heard. ``handle`` is what was saved with the
    last piece of this attempt that reached the log, and ``logged`` all of its text there; both are
    empty for an attempt that begins.

    ``guide`` holds the main questions; None only for interviews from before there were guides.
    ``intent`` is what a probe is for, and ``lacks`` what the answer before the turn lacks; None
    where nobody read it.
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
    intent: Intent | None = None
    lacks: tuple[Lack, ...] | None = None

    @property
    def main_questions(self) -> int:
        """How many main questions are planned."""
        return len(self.guide.questions) if self.guide else self.plan.main_questions

    def let_go(self) -> None:
        """Drop what only the beginning of a turn needs: its first words are out.

        A turn lasts for a minute, and the interview up to it is most of what it holds. ``plan``,
        ``guide`` and ``turns`` are gone then: to look at one is an `AttributeError`, and so is to
        compare, copy or print the request.
        """
        del self.plan, self.guide, self.turns


class Listener(Protocol):
    """Whoever hears a turn. What it raises ends the attempt."""

    def words(self, text: str, handle: str) -> None:
        """Take a piece of the turn: never empty, no NUL, no half of a surrogate pair.

        ``handle`` lets any instance go on right behind it; empty where the source cannot.
        """

    async def fallback(self, reason: str) -> None:
        """Note that the question bank speaks from here on; before the attempt's first words only.

        ``reason`` is a short code: ``offline`` where no model is configured.
        """

    async def low(self) -> None:
        """Note that a soft cap of the budget is passed: the bank may have to speak soon."""


class AttemptFailedError(Exception):
    """Words of this attempt are out and the rest will never come: the next attempt has to begin.

    ``reason`` is a short code, fit for ``turn.reset``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
