"""What is to be measured, and how long."""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from loadtest.bench.findings import Findings
from loadtest.bench.gauge import Meter
from loadtest.bench.sides import Ground, Side

Tell = Callable[[str], None]
"""Told of each reading, as a line."""
LONGEST_S = 9.0
"""A reading that is longer may not fit into viva's replies, which last 13 s: the server settles
before it, and begins hundreds of them one by one."""
PARTS = ("relay", "joins", "memory", "growth", "peak", "parts")


class Plan(Struct, frozen=True, kw_only=True):
    """The measure of one run. The defaults are for a machine of two cores."""

    parts: Sequence[str] = PARTS
    sides: Sequence[str] = ()
    rounds: int = 3
    seconds: float = 8.0
    loads: Sequence[int] = (30, 50, 75, 100, 200, 300, 450, 600, 900, 1_200)
    per_second: float = 30.0
    joins: int = 500
    idle: Sequence[int] = (100, 300, 500)
    streaming: Sequence[int] = (50, 100, 200)
    slowly: float = 1.0
    """Tokens a second where it is memory that is measured: as many streams as may be."""
    growth: Sequence[int] = (100, 1_000)
    growth_streams: int = 100
    """All of the least number of interviews."""
    growth_rest_s: float = 15.0
    """From the last join to the first token: in that time a server puts in order the memory that
    the joins took, which is no part of a token's cost. viva looks 10 s after it was done last."""
    peak: tuple[int, int] = (1_000, 60)
    """So many interviews, and how many of them are spoken to."""
    spare: int = 3
    """So many rounds may be begun beyond ``rounds``, in place of those that do not count."""

    @property
    def tries(self) -> int:
        """So many rounds are begun at most."""
        return self.rounds + self.spare


def shown(plan: Plan) -> dict[str, str]:
    """Return a plan for people."""
    values = {name: getattr(plan, name) for name in Plan.__struct_fields__}
    return {
        name: f"{value:g}" if isinstance(value, float) else str(value)
        for name, value in values.items()
    }


class Run(Struct, frozen=True, kw_only=True):
    """A run under way: what is to be measured, where, and what was found."""

    plan: Plan
    ground: Ground
    found: Findings
    tell: Tell

    def meter(self, side: Side) -> Meter:
        """Return a meter of a side, which begins now."""
        return Meter(side.groups, self.ground.mark, awake=self.found.awake)

    def wrong(self, side: str, counts: Mapping[str, int]) -> None:
        """Note what went wrong at a side's clients."""
        for kind, count in counts.items():
            name = f"{side}: {kind}"
            self.found.wrong[name] = self.found.wrong.get(name, 0) + count


FULL_IDLE = (1_000, 2_000, 3_500, 5_000)
FULL_STREAMING = (250, 500, 1_000)
FULL_GROWTH = (100, 1_000, 5_000)
FULL_PEAK = (5_000, 300)
