"""What one generator process saw within a second."""

from collections import Counter

from msgspec import Struct, field

from loadtest.load.latencies import Latencies

SAMPLES = 5
"""So many errors of a kind are told in full."""


class Tick(Struct, kw_only=True, omit_defaults=True):
    """One second of one process, as it goes to the process that merges."""

    second: int
    counts: dict[str, int] = {}
    errors: dict[str, int] = {}
    closes: dict[str, int] = {}
    latencies: dict[str, bytes] = {}
    connected: int = 0
    streaming: int = 0
    users: int = 0
    cpu_s: float = 0.0
    samples: dict[str, list[str]] = {}
    over: bool = False
    """Whether it is the last one."""


class Tally(Struct, kw_only=True):
    """Counts since the last tick; all users of a process share one."""

    latencies: Latencies = field(default_factory=Latencies)
    counts: Counter[str] = field(default_factory=Counter[str])
    errors: Counter[str] = field(default_factory=Counter[str])
    closes: Counter[str] = field(default_factory=Counter[str])
    samples: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    connected: int = 0
    streaming: int = 0
    users: int = 0

    def error(self, kind: str, told: str = "", count: int = 1) -> None:
        """Count an error; the first of a kind are kept in full."""
        self.errors[kind] += count
        kept = self.samples.setdefault(kind, [])
        if told and len(kept) < SAMPLES:
            kept.append(told[:300])

    def wrong(self, figure: str, told: str, count: int = 1) -> None:
        """Count what must never happen: it is a figure of its own, and an error."""
        self.counts[figure] += count
        self.error(figure, told, count)

    def tick(self, second: int, cpu_s: float, *, over: bool = False) -> Tick:
        """Return what was counted and begin anew."""
        tick = Tick(
            second=second,
            counts=dict(self.counts),
            errors=dict(self.errors),
            closes=dict(self.closes),
            latencies=self.latencies.take(),
            connected=self.connected,
            streaming=self.streaming,
            users=self.users,
            cpu_s=cpu_s,
            samples=self.samples if over else {},
            over=over,
        )
        for counter in (self.counts, self.errors, self.closes):
            counter.clear()
        return tick
