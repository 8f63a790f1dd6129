"""When to call the model again, and when not to call it at all."""

from collections.abc import Callable

from ai.failures import CallFailedError, Remedy
from ai.ports import Clock

BASE_S = 0.5
CAP_S = 4.0
RETRY_AFTER_CAP_S = 5.0
"""A provider that asks for more patience than this gets it: the bank speaks meanwhile."""
SHUN_S = 60.0
OUTAGE_AFTER = 3
OUTAGE_S = 20.0


def delay_before(retry: int, failure: CallFailedError, chance: float) -> float | None:
    """Return the seconds to wait before the ``retry``-th retry (0, 1, 2 …), None for: do not.

    Full jitter: ``chance`` in [0, 1) of the exponential bound, on top of what the provider asks
    for. Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    asked = failure.retry_after_s or 0.0
    if failure.remedy is not Remedy.RETRY or asked > RETRY_AFTER_CAP_S:
        return None
    return asked + chance * min(CAP_S, BASE_S * 2 ** min(retry, 16))


class Circuit:
    """Remembers for a short while that the model cannot be reached, so that not every turn pays.

    Opened by failures that nobody's retry can mend, by a provider that asks for long patience, and
    by `OUTAGE_AFTER` turns in a row that were lost to the bank. Closes by itself.

    ``opened`` is called with the code, the seconds, and whether the provider itself has told so:
    that holds for everybody, while an outage may be this process's own. It may not block.
    """

    def __init__(
        self, clock: Clock, opened: Callable[[str, float, bool], None] | None = None
    ) -> None:
        self._clock = clock
        self._opened = opened
        self._until = float("-inf")
        self._code = ""
        self._lost = 0

    def open(self) -> str:
        """Return the code of the failure that keeps the model from being called, else nothing."""
        return self._code if self._clock.monotonic() < self._until else ""

    def succeeded(self) -> None:
        """Note that the model answered."""
        self._lost = 0

    def lost(self, failure: CallFailedError, *, turn: bool = True) -> None:
        """Note that the model is not asked again because of ``failure``.

        ``turn``: a turn is lost to the bank with it. Without one no outage is made of it.
        """
        if failure.ours:
            return
        if failure.remedy is Remedy.SHUN:
            self._shut(failure.code, SHUN_S, told=True)
        elif (failure.retry_after_s or 0.0) > RETRY_AFTER_CAP_S:
            self._shut(failure.code, min(failure.retry_after_s or 0.0, SHUN_S), told=True)
        elif failure.remedy is Remedy.RETRY and turn:
            self._lost += 1
            if self._lost >= OUTAGE_AFTER:
                self._shut(failure.code, OUTAGE_S, told=False)

    def heard(self, code: str, seconds: float) -> None:
        """Note that another process was told so by the provider, for ``seconds`` from now on."""
        self._keep_open(code, min(seconds, SHUN_S))

    def _shut(self, code: str, seconds: float, *, told: bool) -> None:
        was = self.open()
        self._keep_open(code, seconds)
        if self._opened is not None and not was:
            self._opened(code, seconds, told)

    def _keep_open(self, code: str, seconds: float) -> None:
        self._code = code
        self._until = max(self._until, self._clock.monotonic() + seconds)
