"""The gate that calls go through: how many run at once, and how many tokens a minute they take."""

from typing import Protocol

from msgspec import Struct


class Slot(Protocol):
    """The right to make one call."""

    def leave(self, used: int) -> None:
        """Say that the call is over and took ``used`` tokens; called once, whatever became of it.

        Must neither block nor raise.
        """
        ...


class Gate(Protocol):
    """Who is asked for a slot before each call."""

    async def enter(
        self, interview_id: str, *, tokens: int, urgent: bool, wait_s: float
    ) -> Slot | None:
        """Wait for a slot, at most ``wait_s``; None where there was none in time.

        ``tokens`` is what the call is thought to take. Does not fail: where nobody knows how much
        goes on it decides by itself. Cancelled, it holds no slot.
        """
        ...


class _Free(Struct, frozen=True):
    def leave(self, used: int) -> None:
        pass


class Open:
    """No gate at all."""

    async def enter(
        self, interview_id: str, *, tokens: int, urgent: bool, wait_s: float
    ) -> Slot | None:
        """See `Gate.enter`."""
        del interview_id, tokens, urgent, wait_s
        return _Free()
