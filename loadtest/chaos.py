"""Kill instances at chosen moments under load, and count what was lost.

Each instance reaches Redis through a proxy of its own, so that it can be killed before a Function
call is heard, in place of its reply, or behind it, at a chosen token. Every kill finds candidates'
commands in flight. In the end each interview's transcript is held against what its candidate saw.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable

from msgspec import field
from msgspec.structs import replace

from loadtest import rig
from loadtest.redisproxy import Moment, RedisProxy, Rule

FUNCTIONS = (  # and `xadd`, by which words come behind a turn's first
    "xadd", "xadd", "xadd", "append", "acquire", "renew", "ingest", "finish", "cancel",
    "create", "join", "stored", "take", "settle", "park", "erase",
)  # fmt: skip
MOMENTS: tuple[Moment, ...] = ("before", "instead", "after")
PROVOKED_S = 12.0
"""How long the chosen call may keep us waiting before an instance is killed without it."""
IDLE_S = 2


class Config(rig.Config, frozen=True, kw_only=True):
    """What is run: so many kills, while so many seats are taken by one interview after another."""

    kills: int = 10
    seats: int = 5


class Report(rig.Report, kw_only=True):
    """What was seen, and which kills there were."""

    kills: Counter[str] = field(default_factory=Counter[str])

    def __str__(self) -> str:
        """Return it for people."""
        kills = f"{self.kills.total()} kills: {dict(sorted(self.kills.items()))}"
        return f"{kills}\n{super().__str__()}"


class Chaos:
    """One run of a `Config`."""

    def __init__(self, config: Config, progress: Callable[[str], None] = lambda _: None) -> None:
        self.config = config
        self.report = Report(seed=config.seed)
        parked = {"VIVA_IDLE_S": str(IDLE_S), **config.settings}
        self._rig = rig.Rig(replace(config, settings=parked), self.report)
        self._progress = progress
        self._draw = random.Random(config.seed)
        self._left: list[tuple[str, Moment]] = []
        self._busy = True

    async def run(self) -> Report:
        """Run it and judge every interview."""
        async with self._rig.running():
            async with asyncio.TaskGroup() as group:
                for _ in range(self.config.seats):
                    group.create_task(self._seat())
                for number in range(self.config.kills):
                    await self._kill(group)
                    self._progress(f"{number + 1} of {self.config.kills} kills")
                self._busy = False
            await self._rig.judge()
        return self.report

    async def _seat(self) -> None:
        """One interview after the other, while instances are killed."""
        while self._busy:
            await self._rig.newcomer().run()

    async def _kill(self, group: asyncio.TaskGroup) -> None:
        name, moment = self._next_call()
        nth = self._draw.randrange(1, 40) if name == "xadd" else 1
        await asyncio.sleep(self._draw.random())
        struck = asyncio.Event()
        rules: list[tuple[RedisProxy, Rule]] = []

        def strike(place: int) -> None:
            if not struck.is_set():
                struck.set()
                self._strike(place)

        for place, proxy in enumerate(self._rig.proxies):
            rule = proxy.once(name, moment, lambda place=place: strike(place), nth=nth)
            rules.append((proxy, rule))
        provoking = group.create_task(self._provoke(name))
        kind = f"{name} {moment}"
        try:
            async with asyncio.timeout(PROVOKED_S):
                await struck.wait()
        except TimeoutError:
            kind = "at no call"
            strike(self._draw.randrange(self.config.instances))
        self.report.kills[kind] += 1
        for proxy, rule in rules:
            proxy.forget(rule)
        await self._rig.progressed()
        await asyncio.gather(*(s.start() for s in self._rig.served if not s.running))
        await provoking

    def _next_call(self) -> tuple[str, Moment]:
        """Draw a call and a moment; every one has its turn before any comes again."""
        if not self._left:
            self._left = [(name, moment) for name in FUNCTIONS for moment in MOMENTS]
            self._draw.shuffle(self._left)
        return self._left.pop()

    def _strike(self, place: int) -> None:
        candidates = self._rig.candidates
        for candidate in candidates:
            candidate.poke()
        self._rig.served[place].kill()
        runner = self._rig.runner
        self._rig.await_progress(
            [x for x in candidates if x.listening and runner.get(x.interview_id) == place]
        )

    async def _provoke(self, name: str) -> None:
        """Bring about a call that does not come by itself."""
        match name:
            case "cancel":
                for _ in range(20):
                    await asyncio.sleep(0.2)
                    for candidate in self._rig.candidates[-self.config.seats :]:
                        candidate.interrupt()
            case "create" | "join":
                await self._rig.newcomer().run()
            case "park":
                guest = self._rig.newcomer()
                guest.leaves_after = 1  # it stays silent, and is parked
                async with asyncio.TaskGroup() as group:
                    group.create_task(guest.run())
                    await asyncio.sleep(IDLE_S + 4)
                    guest.leaves_after = None
            case "erase":
                await self._erase()
            case _:
                pass

    async def _erase(self) -> None:
        guest = self._rig.newcomer()
        self._rig.candidates.remove(guest)
        async with asyncio.TaskGroup() as group:
            group.create_task(guest.run())
            await asyncio.sleep(2.0)
            await guest.erase()
        if await guest.exists():
            self.report.faults.append("an erased interview is back")
