"""What is left on the interview's clock, as the talk shows it."""

import time
from collections.abc import Callable

from protocol import events as e


class Countdown:
    """Takes what the server tells of its clock, and counts on from there."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._told_ms = 0
        self._runs_since: float | None = None

    @property
    def left_ms(self) -> int:
        """What is left now, below zero in overtime."""
        if self._runs_since is None:
            return self._told_ms
        return self._told_ms - int((self._now() - self._runs_since) * 1000)

    def take(self, message: e.ServerMessage) -> None:
        """Take what ``message`` tells of the clock, if anything."""
        match message:
            case e.Welcome(snapshot=snapshot, clock=clock):
                told = clock if snapshot is None else snapshot.clock
                if told is not None:
                    self._set(told.remaining_ms, running=told.running)
            case e.InterviewStarted() | e.InterviewResumed():
                self._set(self.left_ms, running=True)
            case e.InterviewPaused() | e.InterviewEnded():
                self._set(self.left_ms, running=False)
            case _:
                pass

    def _set(self, left_ms: int, *, running: bool) -> None:
        self._told_ms = left_ms
        self._runs_since = self._now() if running else None
