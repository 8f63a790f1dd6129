"""One timer for all streams: a stream costs nothing while it is silent, and no task per token."""

import asyncio
from collections import defaultdict
from collections.abc import Callable

TICK_S = 0.004
Due = Callable[[], float | None]
"""Called when it is time; returns the loop's time at which it wants the next call, if any."""


class Wheel:
    """Calls what is due, tick by tick; its timer runs only while something waits."""

    def __init__(self, tick_s: float = TICK_S) -> None:
        self._tick_s = tick_s
        self._loop = asyncio.get_running_loop()
        self._slots: defaultdict[int, list[Due]] = defaultdict(list)
        self._next = 0
        self._timer: asyncio.TimerHandle | None = None

    def at(self, when: float, due: Due) -> None:
        """Call ``due`` at ``when``, a tick later at most."""
        if self._timer is None:
            self._next = int(self._loop.time() / self._tick_s) + 1
            self._arm()
        self._slots[max(int(when / self._tick_s) + 1, self._next)].append(due)

    def stop(self) -> None:
        """Forget everything."""
        self._slots.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._timer = self._loop.call_at(self._next * self._tick_s, self._turn)

    def _turn(self) -> None:
        until = int(self._loop.time() / self._tick_s)
        while self._next <= until:  # more than one where the loop was late
            slot, self._next = self._next, self._next + 1
            for due in self._slots.pop(slot, ()):
                again = due()
                if again is not None:
                    self._slots[max(int(again / self._tick_s) + 1, self._next)].append(due)
        if self._slots:
            self._arm()
        else:
            self._timer = None
