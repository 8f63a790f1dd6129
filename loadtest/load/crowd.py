"""What all users of a generator process share: the clock, the counts, and who is there."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from loadtest.load.scenario import Provider, Scenario
from loadtest.load.stored import Stored
from loadtest.load.tally import Tally

AWAY_S = 30.0
"""Who is cut off for longer when the run ends was locked out, whatever broke the connection."""
OWED_S = 30.0
"""Who has heard nothing for longer when the run ends, and was to, would not have heard any more."""
AFTER_S = 30.0
"""So long after an instance was killed a connection may have broken for it."""
HAD = 1_000
LONG_S = 1.0
"""What has been waited for since less than this is not counted when the measured time ends."""


class Waiting(Protocol):
    """Who may be waiting for something."""

    def waits(self) -> Iterator[tuple[str, float]]:
        """Give what it waits for, by the name of the latency, and since when."""
        ...


class Guest(Waiting, Protocol):
    """Who is in an interview."""

    finished: bool

    @property
    def settled(self) -> bool:
        """Whether all that was given is answered, and all that was seen as a whole is stored."""
        ...

    def settle(self) -> None:
        """Leave as soon as may be."""

    def finish(self) -> None:
        """Leave now."""

    def stall(self, *, stalled: bool) -> None:
        """Stop reading, or read on."""

    def silent_s(self, now: float) -> float:
        """Return for how long nothing has come of what the server is to do next."""
        ...

    def away(self, now: float) -> float:
        """Return for how long it has been cut off."""
        ...


class Crowd:
    """The shared state of one process. Times are the loop's, which is the machine's monotonic."""

    def __init__(self, scenario: Scenario, begin: float, stored: Stored | None = None) -> None:
        self.scenario = scenario
        self.stored = stored
        """Where what is stored can be looked at, if it can."""
        self.begin = begin
        self.tally = Tally()
        self.added = self.tally.latencies.many("added")
        self.ending = False
        """Whether nothing new is begun any more."""
        self.stalling = False
        """Whether those who stall do so now."""
        self.guests: set[Guest] = set()
        self.had: deque[tuple[bytes, str]] = deque(maxlen=HAD)
        """Interviews that are over, and as whom they are read."""
        self.coming: set[Waiting] = set()
        """Users, who may be waiting for an interview to be created."""
        self._loop = asyncio.get_running_loop()
        self.now = time.monotonic  # the loop's own is the same clock, and dearer
        self.pace_s = _pace_s(scenario.provider)
        """How far tokens are apart, 0 where nobody knows when the next one is due."""
        self.by_model = stored is not None and bool(self.pace_s)
        """Whether nobody but a model may speak: the run's own fake provider, which never fails."""
        self._streaming: set[Guest] = set()
        self._unchecked: set[Guest] = set()
        self._silent: set[Guest] = set()

    def at(self, when: float, call: Callable[[], object]) -> asyncio.TimerHandle:
        """Call it at ``when``."""
        return self._loop.call_at(when, call)

    def later(self, after_s: float, call: Callable[[], object]) -> asyncio.TimerHandle:
        """Call it in a while."""
        return self._loop.call_later(after_s, call)

    def streams(self, guest: Guest, *, more: bool) -> None:
        """Note whether a guest is being spoken to."""
        if more:
            self._streaming.add(guest)
        else:
            self._streaming.discard(guest)
        self.tally.streaming = len(self._streaming)

    def excused(self) -> bool:
        """Whether connections may break now: an instance was killed on purpose."""
        return self.struck(AFTER_S)

    def struck(self, within_s: float = math.inf) -> bool:
        """Whether an instance was killed on purpose, ``within_s`` ago at the most."""
        strike = self.scenario.strike
        return strike is not None and 0 <= self.now() - self.begin - strike.at_s <= within_s

    def stall(self, *, stalled: bool) -> None:
        """Have those who stall stop reading, or read on."""
        self.stalling = stalled
        for guest in self.guests:
            guest.stall(stalled=stalled)

    def settle(self) -> None:
        """Begin nothing new, and let everyone leave."""
        self.ending = True
        now = self.now()
        for guest in tuple(self.guests):
            away = guest.away(now)
            if away > AWAY_S + 2 * self.scenario.users.away_s:  # so long on purpose, at the most
                self.tally.error("away", f"not back {away:.0f} s after its connection broke")
            self._owed(guest, now)
            guest.settle()

    def _owed(self, guest: Guest, now: float) -> None:
        silent_s = guest.silent_s(now)
        if silent_s > OWED_S:
            self.silent(guest, silent_s)

    def silent(self, guest: Guest, silent_s: float) -> None:
        """Count an interview, once, in which the server does not do what is its turn."""
        if guest not in self._silent:
            self._silent.add(guest)
            self.tally.error("silence", f"nothing came for {silent_s:.0f} s")

    def waits(self) -> None:
        """Count what has long been waited for with the time that it has taken so far.

        Else what takes longest would be in no figure: it ends when the measured time is over.
        """
        for waiting in (*self.guests, *self.coming):
            self.waited_all(waiting)

    def waited_all(self, waiting: Waiting) -> None:
        """Count all that one waits for."""
        for name, since in waiting.waits():
            self.waited(name, since)

    def waited(self, name: str, since: float) -> None:
        """Count one such wait, unless it has only begun, which says nothing yet."""
        waited_s = self.now() - since
        if waited_s >= LONG_S:
            self.tally.latencies.record(name, waited_s)

    def unchecked(self, guest: Guest) -> None:
        """Count an interview, once, that could not be held against its transcript."""
        if guest not in self._unchecked:
            self._unchecked.add(guest)
            self.tally.wrong("unchecked", "not stored, or not answered, in time")

    def close(self) -> None:
        """Send everyone away."""
        for guest in tuple(self.guests):
            if not guest.settled:
                self.unchecked(guest)
            guest.finish()


def _pace_s(provider: Provider) -> float:
    """Return how far a provider's tokens are apart; one with faults may be silent by itself."""
    known = provider.source == "fake" and not provider.faults
    return 1 / provider.tokens_per_second if known else 0.0
