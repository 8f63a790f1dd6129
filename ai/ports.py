"""What the interviewer needs from outside: time, chance, names, and a place for its ledger rows."""

from typing import Protocol

from protocol.ledger import LedgerEntry


class Clock(Protocol):
    """Time and chance. Waiting is done with asyncio, whose loop a simulation replaces."""

    def now(self) -> int:
        """Return the Unix time in milliseconds."""
        ...

    def monotonic(self) -> float:
        """Return the running loop's time in seconds."""
        ...

    def random(self) -> float:
        """Return a number in [0, 1)."""
        ...

    def nonce(self) -> str:
        """Return a new identifier that nobody else will ever use."""
        ...


class LedgerSink(Protocol):
    """Takes ledger rows."""

    def record(self, entry: LedgerEntry) -> None:
        """Queue a row. Must neither block nor raise: it is called while a call is torn down."""
        ...
