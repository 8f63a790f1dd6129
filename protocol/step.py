"""One transition being made: the state so far, the effects it has gathered, or a refusal."""

from typing import Any, NamedTuple

from msgspec.structs import replace

from protocol import events as e
from protocol.effects import Effect, Emit, Reject
from protocol.probing import Lack
from protocol.scalars import Phase
from protocol.session import OpenTurn, Session


class Transition(NamedTuple):
    """The state after an input, and what is to be done about it, all or nothing."""

    session: Session
    effects: tuple[Effect, ...]


class Refusal(Exception):  # noqa: N818  # carries a decision out of the rules; it is no error
    """The command does not fit: nothing changes, and its sender is told why."""

    def __init__(self, code: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(code)
        self.reject = Reject(code, message, retryable)


class Step:
    """A transition from ``session`` at the time ``at``, as far as it has come.

    ``lacks`` is what the answer lacks that the input ends, where it was read.
    """

    def __init__(self, session: Session, at: int, lacks: tuple[Lack, ...] | None) -> None:
        self.session = session
        self.effects: list[Effect] = []
        self.at = at
        self.lacks = lacks

    @property
    def opened(self) -> OpenTurn:
        """The open turn, for what has made sure that there is one."""
        turn = self.session.open
        assert turn is not None, "the rules look for an open turn before they finish it"  # noqa: S101
        return turn

    def change(self, **fields: Any) -> None:
        """Give the session's ``fields`` new values."""
        self.session = replace(self.session, **fields)

    def emit(self, event: e.Event) -> None:
        """Append an event to the log."""
        self.effects.append(Emit(event))

    def enter(self, phase: Phase) -> None:
        """Begin a phase, unless it is the present one."""
        if self.session.phase != phase:
            self.change(phase=phase)
            self.emit(e.PhaseChanged(phase=phase))

    def stop_clock(self, at: int) -> None:
        """Stop the clock as of ``at``."""
        self.change(elapsed_ms=self.session.elapsed(at), running_since=None)
