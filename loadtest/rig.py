"""Instances behind proxies, and candidates in interviews on them: what every run is made of."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession as Http
from aiohttp import TCPConnector
from msgspec import Struct, field

from loadtest.candidate import PLAN, Candidate
from loadtest.processes import Served
from loadtest.redisproxy import Arguments, RedisProxy
from loadtest.verdict import faults_of
from protocol import events as e

SETTLED_S = 0.3
"""What arrives so soon after a blow was under way before: no lease lapses as early."""
PATIENCE_S = 20.0


class Config(Struct, frozen=True, kw_only=True):
    """What is run. ``settings`` go to every instance."""

    redis_url: str
    database_url: str
    directory: Path
    seed: int = 1
    instances: int = 3
    settings: Mapping[str, str] = {}
    resumable: bool = False
    """Whether the source of words can be taken up where it broke off: no reset is right then."""
    proxied: bool = True
    """Whether each instance has Redis behind a proxy, which a fault can be put into, or a watch.

    It runs on the candidates' loop: with hundreds of them it is slower than any network.
    """


class Report(Struct, kw_only=True):
    """What was seen. Times in seconds."""

    seed: int
    interviews: int = 0
    turns: int = 0
    answers: int = 0
    resets: Counter[str] = field(default_factory=Counter[str])
    recoveries: list[float] = field(default_factory=list[float])
    closes: Counter[int] = field(default_factory=Counter[int])
    sources: Counter[str] = field(default_factory=Counter[str])
    faults: list[str] = field(default_factory=list[str])

    def percentile(self, share: float) -> float:
        """Return a percentile of the recoveries."""
        ordered = sorted(self.recoveries) or [0.0]
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def __str__(self) -> str:
        """Return it for people."""
        counts = (
            f"seed {self.seed}: {self.interviews} interviews, {self.turns} turns,"
            f" {self.answers} answers, resets {dict(self.resets)}, words by {dict(self.sources)}"
        )
        recoveries = (
            f"until it went on, {len(self.recoveries)} times:"
            f" p50 {self.percentile(0.5):.2f} s, p95 {self.percentile(0.95):.2f} s,"
            f" p99 {self.percentile(0.99):.2f} s, max {self.percentile(1.0):.2f} s"
        )
        codes = {int(code): count for code, count in sorted(self.closes.items())}
        return "\n".join(
            (counts, recoveries, f"closes: {codes}", f"faults: {self.faults or 'none'}")
        )


class Rig:
    """The servers and candidates of one run."""

    def __init__(self, config: Config, report: Report) -> None:
        self.config = config
        self.report = report
        self.proxies: list[RedisProxy] = []
        self.served: list[Served] = []
        self.candidates: list[Candidate] = []
        self.runner: dict[str, int] = {}
        """Which instance ran the turn of an interview last."""
        self.away: set[int] = set()
        """Instances that no client is sent to."""
        self._http: Http | None = None
        self._born = 0
        self._waiting: dict[str, tuple[float, float]] = {}
        self._calm = asyncio.Event()
        self._calm.set()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["Rig"]:
        """Start every instance; in the end kill what is left of them."""
        async with AsyncExitStack() as stack:
            self._http = await stack.enter_async_context(Http(connector=TCPConnector(limit=500)))
            for place in range(self.config.instances):
                redis_url = self.config.redis_url
                if self.config.proxied:
                    proxy = RedisProxy(redis_url)
                    proxy.seen = self._watching(place)
                    self.proxies.append(await stack.enter_async_context(proxy.running()))
                    redis_url = proxy.url
                self.served.append(self._instance(place, redis_url))
            stack.callback(self._end_all)
            await asyncio.gather(*(served.start() for served in self.served))
            yield self

    def newcomer(self, plan: Mapping[str, Any] = PLAN) -> Candidate:
        """Return a new candidate; somebody has to `run` it."""
        assert self._http is not None, "the rig is running"  # noqa: S101
        self._born += 1
        name = f"{self.config.seed} {self._born}"
        candidate = Candidate(self._http, self.urls, name, plan)
        candidate.heard = lambda message: self._heard(candidate, message)
        self.candidates.append(candidate)
        return candidate

    def urls(self) -> Sequence[str]:
        """Return where a balancer would send a client."""
        there = [x for place, x in enumerate(self.served) if x.running and place not in self.away]
        return [served.url for served in there] or [self.served[0].url]

    # --- how long until it goes on ---

    def await_progress(
        self, candidates: Sequence[Candidate], *, settled_s: float = SETTLED_S
    ) -> None:
        """From now on measure how long each of them gets nothing new.

        What arrives within ``settled_s`` is not new.
        """
        now = time.monotonic()
        for candidate in candidates:
            if not candidate.session.view.over:
                self._waiting[candidate.interview_id] = (now, settled_s)
                self._calm.clear()

    async def progressed(self) -> None:
        """Wait until all of them go on; what does not is a fault."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._calm.wait()
        except TimeoutError:
            self.report.faults += [
                f"{interview_id}: nothing came {PATIENCE_S:.0f} s long"
                for interview_id in self._waiting
            ]
        self._waiting.clear()
        self._calm.set()

    def _heard(self, candidate: Candidate, message: e.ServerMessage) -> None:
        waiting = self._waiting.get(candidate.interview_id)
        if waiting is None or not isinstance(message, e.Event):
            return
        struck, settled_s = waiting
        waited = time.monotonic() - struck
        if waited >= settled_s:
            self.report.recoveries.append(waited)
        elif not isinstance(message, e.TurnCompleted) and not candidate.session.view.over:
            return  # under way before; a turn that is complete had nothing to wait for
        del self._waiting[candidate.interview_id]
        if not self._waiting:
            self._calm.set()

    # --- the verdict ---

    async def judge(self) -> None:
        """Hold each interview's stored transcript against what its candidate saw and gave."""
        for candidate in self.candidates:
            stored = await candidate.transcript()
            self._count(candidate, stored)
            faults = faults_of(candidate, stored)
            if self.config.resumable and candidate.resets:
                faults.append(f"resets of what can be taken up: {dict(candidate.resets)}")
            self.report.faults += [f"{candidate.interview_id}: {fault}" for fault in faults]

    def _count(self, candidate: Candidate, stored: Sequence[Mapping[str, Any]]) -> None:
        report = self.report
        report.interviews += 1
        report.turns += len(stored)
        report.answers += sum(turn["speaker"] == "candidate" for turn in stored)
        report.resets.update(candidate.resets)
        report.closes.update(candidate.closes)
        report.sources.update(turn["source"] for turn in stored if turn.get("source"))

    # --- instances ---

    def _instance(self, place: int, redis_url: str) -> Served:
        settings = {
            "DATABASE_URL": self.config.database_url,
            "REDIS_URL": redis_url,
            "VIVA_MAX_INTERVIEWS_PER_USER": "10000",
            **self.config.settings,
        }
        return Served(settings, self.config.directory / f"instance-{place}.log")

    def _end_all(self) -> None:
        for served in self.served:
            served.kill()

    def _watching(self, place: int) -> Callable[[str, Arguments], None]:
        def seen(name: str, values: Arguments) -> None:
            if name == "acquire":
                self._runs(values[3], place)
            elif name == "append":  # for many interviews, with two keys each
                for key in values[3 : 3 + int(values[2]) : 2]:
                    self._runs(key, place)
            elif name == "xadd" and b":log:" in values[1]:  # a word, by the log's name
                self._runs(values[1].partition(b":log:")[0], place)

        return seen

    def _runs(self, key: bytes, place: int) -> None:
        self.runner[key.decode().rpartition(":")[2]] = place
