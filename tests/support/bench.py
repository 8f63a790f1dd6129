"""Findings of the bench, made up."""

from loadtest.bench.findings import Cost, Findings, Held
from loadtest.bench.plan import Plan, shown


def cost(
    side: str, number: int, us: float, streams: int = 50, *, carried: bool = True, void: str = ""
) -> Cost:
    return Cost(
        side=side,
        round=number,
        streams=streams,
        interviews=streams,
        connected=streams,
        tokens=1_000,
        seconds=1.0,
        us={"server": us, "redis": us / 2} if side == "viva" else {"server": us},
        delay_ms=[1.0, 2.0],
        carried=carried,
        void=void,
    )


def held(count: int, rss: int, *, number: int = 1, streaming: bool = False) -> Held:
    return Held(side="viva", round=number, streaming=streaming, count=count, rss=rss, uss=rss // 2)


def found(**parts: object) -> Findings:
    made = Findings(
        started_at=1_795_000_000.0,
        machine="2 cores",
        versions={"Python": "3.11"},
        options=shown(Plan()),
    )
    for name, value in parts.items():
        setattr(made, name, value)
    return made
