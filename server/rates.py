"""How much one socket may send."""

from protocol.limits import ERROR_WINDOW_S, ERRORS_TO_CLOSE, LIMITS, OVERRATE_CLOSE_S

_CALM_S = 1.0
"""A second without surplus ends a spell of too many commands."""


class CommandRate:
    """A token bucket; times are monotonic seconds."""

    __slots__ = ("_at", "_last", "_since", "_tokens")

    def __init__(self, now: float) -> None:
        self._tokens = float(LIMITS.command_burst)
        self._at = now
        self._since: float | None = None
        self._last = now

    def admit(self, now: float) -> bool:
        """Take one token, if there is one."""
        refill = (now - self._at) * LIMITS.commands_per_second
        self._tokens = min(float(LIMITS.command_burst), self._tokens + refill)
        self._at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return True
        if self._since is None or now - self._last > _CALM_S:
            self._since = now
        self._last = now
        return False

    def exhausted(self, now: float) -> bool:
        """Whether there has been surplus for so long that the socket is closed."""
        if self._since is None or now - self._last > _CALM_S:
            return False
        return now - self._since >= OVERRATE_CLOSE_S


class ErrorCount:
    """Counts messages that fit no schema."""

    __slots__ = ("_times",)

    def __init__(self) -> None:
        self._times: list[float] = []

    def add(self, now: float) -> bool:
        """Count one; tell whether it was one too many."""
        self._times = [time for time in self._times if now - time < ERROR_WINDOW_S]
        self._times.append(now)
        return len(self._times) >= ERRORS_TO_CLOSE
