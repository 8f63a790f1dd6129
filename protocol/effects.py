"""What a transition asks for, as data: all of it together, or nothing of it."""

from msgspec import Struct

from protocol.events import Event
from protocol.session import Turn


class Emit(Struct, frozen=True):
    """Append this event to the log."""

    event: Event


class Keep(Struct, frozen=True):
    """Keep this finished turn."""

    turn: Turn


class Run(Struct, frozen=True):
    """Generate the interviewer's turn: whoever takes its lease."""

    turn: int
    attempt: int


class Stop(Struct, frozen=True):
    """Fence out whoever generates ``turn``: it ended without them."""

    turn: int


class Store(Struct, frozen=True):
    """Queue the interview for PostgreSQL."""


class Reject(Struct, frozen=True):
    """The command has no effect; nothing else is asked for."""

    code: str
    message: str
    retryable: bool = False


Effect = Emit | Keep | Run | Stop | Store | Reject
