"""Kill instances at chosen moments under load, and count what was lost.

Each instance reaches Redis through a proxy of its own, so that it can be killed before a Function
call is heard, in place of its reply, or behind it, at a chosen token. Every kill finds candidates'
commands in flight. In the end each interview's transcript is held against what its candidate saw.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from aiohttp import ClientSession as Http
from msgspec import Struct, field

from loadtest.candidate import Candidate
from loadtest.processes import Served
from loadtest.redisproxy import Arguments, Moment, RedisProxy, Rule
from loadtest.verdict import faults_of
from protocol import events as e

FUNCTIONS = (
    "append", "append", "append", "append", "acquire", "renew", "ingest", "finish", "cancel",
    "create", "join", "stored", "take", "settle", "park", "erase",
)  # fmt: skip
MOMENTS: tuple[Moment, ...] = ("before", "instead", "after")
PROVOKED_S = 12.0
"""How long the chosen call may keep us waiting before an instance is killed without it."""
RECOVERED_S = 20.0
SETTLED_S = 0.3
"""What arrives so soon after a kill was under way before: no lease lapses as early."""
IDLE_S = 2


class Config(Struct, frozen=True, kw_only=True):
    """What is run. ``settings`` go to every instance."""

    redis_url: str
    database_url: str
    directory: Path
    kills: int = 10
    seed: int = 1
    instances: int = 3
    seats: int = 5
    settings: Mapping[str, str] = {}
    resumable: bool = False
    """Whether the source of words can be taken up where it broke off: no reset is right then."""


class Report(Struct, kw_only=True):
    """What was seen. Times in seconds."""

    seed: int
    kills: Counter[str] = field(default_factory=Counter[str])
    interviews: int = 0
    turns: int = 0
    answers: int = 0
    resets: int = 0
    recoveries: list[float] = field(default_factory=list[float])
    closes: Counter[int] = field(default_factory=Counter[int])
    faults: list[str] = field(default_factory=list[str])

    def percentile(self, share: float) -> float:
        """Return a percentile of the recoveries."""
        ordered = sorted(self.recoveries) or [0.0]
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def __str__(self) -> str:
        """Return it for people."""
        counts = (
            f"seed {self.seed}: {self.kills.total()} kills, {self.interviews} interviews,"
            f" {self.turns} turns, {self.answers} answers, {self.resets} resets"
        )
        recoveries = (
            f"from kill to next delta, reset or end, {len(self.recoveries)} turns:"
            f" p50 {self.percentile(0.5):.2f} s, p95 {self.percentile(0.95):.2f} s,"
            f" p99 {self.percentile(0.99):.2f} s, max {self.percentile(1.0):.2f} s"
        )
        kills = f"kills: {dict(sorted(self.kills.items()))}"
        closes = f"closes: {dict(sorted(self.closes.items()))}"
        return "\n".join((counts, recoveries, kills, closes, f"faults: {self.faults or 'none'}"))


class Chaos:
    """One run of a `Config`."""

    def __init__(self, config: Config, progress: Callable[[str], None] = lambda _: None) -> None:
        self.config = config
        self.report = Report(seed=config.seed)
        self._progress = progress
        self._draw = random.Random(config.seed)
        self._proxies: list[RedisProxy] = []
        self._served: list[Served] = []
        self._candidates: list[Candidate] = []
        self._runner: dict[str, int] = {}
        self._waiting: dict[str, float] = {}
        self._calm = asyncio.Event()
        self._calm.set()
        self._left: list[tuple[str, Moment]] = []
        self._busy = True
        self._born = 0

    async def run(self) -> Report:
        """Run it and judge every interview."""
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(Http())
            for place in range(self.config.instances):
                proxy = RedisProxy(self.config.redis_url)
                proxy.seen = self._watching(place)
                self._proxies.append(await stack.enter_async_context(proxy.running()))
                self._served.append(self._instance(place))
            stack.callback(self._end_all)
            await asyncio.gather(*(served.start() for served in self._served))
            async with asyncio.TaskGroup() as group:
                for _ in range(self.config.seats):
                    group.create_task(self._seat(group, http))
                for number in range(self.config.kills):
                    await self._kill(group, http)
                    self._progress(f"{number + 1} of {self.config.kills} kills")
                self._busy = False
            for candidate in self._candidates:
                await self._judge(candidate)
        return self.report

    def _instance(self, place: int) -> Served:
        settings = {
            "DATABASE_URL": self.config.database_url,
            "REDIS_URL": self._proxies[place].url,
            "VIVA_IDLE_S": str(IDLE_S),
            "VIVA_MAX_INTERVIEWS_PER_USER": "10000",
            **self.config.settings,
        }
        return Served(settings, self.config.directory / f"instance-{place}.log")

    def _end_all(self) -> None:
        for served in self._served:
            served.kill()

    def _urls(self) -> Sequence[str]:
        return [served.url for served in self._served if served.running] or [self._served[0].url]

    # --- candidates ---

    def _newcomer(self, http: Http) -> Candidate:
        self._born += 1
        candidate = Candidate(http, self._urls, f"{self.config.seed} {self._born}")
        candidate.heard = lambda message: self._heard(candidate, message)
        self._candidates.append(candidate)
        return candidate

    async def _seat(self, group: asyncio.TaskGroup, http: Http) -> None:
        """One interview after the other, while instances are killed."""
        while self._busy:
            await group.create_task(self._newcomer(http).run())

    def _heard(self, candidate: Candidate, message: e.ServerMessage) -> None:
        struck = self._waiting.get(candidate.interview_id)
        if struck is None or time.monotonic() - struck < SETTLED_S:
            return
        if isinstance(message, e.TurnDelta | e.TurnReset | e.TurnCompleted):
            self.report.recoveries.append(time.monotonic() - struck)
            del self._waiting[candidate.interview_id]
            if not self._waiting:
                self._calm.set()

    # --- kills ---

    def _watching(self, place: int) -> Callable[[str, Arguments], None]:
        def seen(name: str, values: Arguments) -> None:
            if name in ("append", "acquire"):
                interview_id = values[3].decode().rpartition(":")[2]
                self._runner[interview_id] = place

        return seen

    async def _kill(self, group: asyncio.TaskGroup, http: Http) -> None:
        name, moment = self._next_call()
        nth = self._draw.randrange(1, 40) if name == "append" else 1
        await asyncio.sleep(self._draw.random())
        struck = asyncio.Event()
        rules: list[tuple[RedisProxy, Rule]] = []

        def strike(place: int) -> None:
            if not struck.is_set():
                struck.set()
                self._strike(place)
                self.report.kills[f"{name} {moment}"] += 1

        for place, proxy in enumerate(self._proxies):
            rule = proxy.once(name, moment, lambda place=place: strike(place), nth=nth)
            rules.append((proxy, rule))
        provoking = group.create_task(self._provoke(name, http))
        try:
            async with asyncio.timeout(PROVOKED_S):
                await struck.wait()
        except TimeoutError:
            name, moment = "none", "after"
            strike(self._draw.randrange(self.config.instances))
        for proxy, rule in rules:
            proxy.forget(rule)
        await self._recovered()
        await asyncio.gather(*(s.start() for s in self._served if not s.running))
        await provoking

    def _strike(self, place: int) -> None:
        for candidate in self._candidates:
            candidate.poke()
        self._served[place].kill()
        now = time.monotonic()
        for candidate in self._candidates:
            mine = self._runner.get(candidate.interview_id) == place
            if mine and candidate.listening and not candidate.over.is_set():
                self._waiting[candidate.interview_id] = now
                self._calm.clear()

    def _next_call(self) -> tuple[str, Moment]:
        """Draw a call and a moment; every one has its turn before any comes again."""
        if not self._left:
            self._left = [(name, moment) for name in FUNCTIONS for moment in MOMENTS]
            self._draw.shuffle(self._left)
        return self._left.pop()

    async def _recovered(self) -> None:
        """Wait until every turn that the dead instance ran goes on."""
        try:
            async with asyncio.timeout(RECOVERED_S):
                await self._calm.wait()
        except TimeoutError:
            pass  # told of below
        for interview_id in self._waiting:
            self.report.faults.append(f"{interview_id}: nothing came {RECOVERED_S:.0f} s long")
        self._waiting.clear()
        self._calm.set()

    async def _provoke(self, name: str, http: Http) -> None:
        """Bring about a call that does not come by itself."""
        match name:
            case "cancel":
                for _ in range(20):
                    await asyncio.sleep(0.2)
                    for candidate in self._candidates[-self.config.seats :]:
                        candidate.interrupt()
            case "create" | "join":
                await self._newcomer(http).run()
            case "park":
                guest = self._newcomer(http)
                guest.leaves_after = 1  # it stays silent, and is parked
                having = asyncio.ensure_future(guest.run())
                await asyncio.sleep(IDLE_S + 4)
                guest.leaves_after = None
                await having
            case "erase":
                await self._erase(http)
            case _:
                pass

    async def _erase(self, http: Http) -> None:
        guest = self._newcomer(http)
        self._candidates.remove(guest)
        having = asyncio.ensure_future(guest.run())
        await asyncio.sleep(2.0)
        await guest.erase()
        await having
        if await guest.exists():
            self.report.faults.append("an erased interview is back")

    # --- the verdict ---

    async def _judge(self, candidate: Candidate) -> None:
        stored: list[dict[str, Any]] = await candidate.transcript()
        report = self.report
        report.interviews += 1
        report.turns += len(stored)
        report.answers += sum(turn["speaker"] == "candidate" for turn in stored)
        report.resets += candidate.resets
        report.closes.update(candidate.closes)
        faults = faults_of(candidate, stored)
        if self.config.resumable and candidate.resets:
            faults.append(f"{candidate.resets} resets of a source that can be taken up")
        report.faults += [f"{candidate.interview_id}: {fault}" for fault in faults]
