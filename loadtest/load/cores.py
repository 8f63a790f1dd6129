"""The CPU of the processes that belong to a run, while some come and others go."""

from collections import defaultdict
from collections.abc import Callable, Mapping

ANEW_S = 5
"""So often the processes are listed: that reads all that the machine has."""

Listing = Callable[[], Mapping[int, str]]
"""Returns process ids and names; several may have one name."""


class Spent:
    """Seconds of CPU by name, since it was made; ``used`` tells all that a process has used."""

    def __init__(self, listing: Listing, used: Callable[[int], float]) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._listing = listing
        self._used = used
        self._names = dict(listing())
        self._last = {pid: used(pid) for pid in self._names}

    def read(self, *, anew: bool = False) -> None:
        """Add what was used since; with ``anew`` who came meanwhile counts with all it used."""
        if anew:
            for pid, name in self._listing().items():
                self._names[pid] = name
                self._last.setdefault(pid, 0.0)
        for pid, before in tuple(self._last.items()):
            now = self._used(pid)
            self.seconds[self._names[pid]] += max(0.0, now - before)
            if now < before:  # it has ended, and its id may be given to another
                del self._last[pid]
            else:
                self._last[pid] = now


def others(cores: Mapping[str, float], stolen: float) -> float | None:
    """Return the cores that are none of the run's, where it knows of all that are.

    ``cores`` are those in use, by name; ``machine`` is all of them, with those that were
    ``stolen`` by the machine's host.
    """
    if "machine" not in cores or "instances" not in cores:
        return None
    own = sum(cores.values()) - cores["machine"]
    return max(0.0, cores["machine"] - stolen - own)
