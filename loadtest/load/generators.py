"""One run against a target: generator processes, what they saw, and what the servers told."""

import asyncio
import contextlib
import math
import os
import re
import signal
import sys
import time
from collections.abc import AsyncGenerator, Callable, Collection

import msgspec

from loadtest.awake import awake
from loadtest.load import machine
from loadtest.load.aside import Aside
from loadtest.load.cores import ANEW_S, Spent, others
from loadtest.load.course import Course
from loadtest.load.judge import bounds, verdict, void
from loadtest.load.latencies import percentiles
from loadtest.load.readings import Noted, Readings
from loadtest.load.result import Result
from loadtest.load.scenario import Scenario
from loadtest.load.scrape import Kept, Reading, RedisScraper, Scraper, changed
from loadtest.load.tally import Tick
from loadtest.load.target import NAME_THEM, Target
from loadtest.load.worker import LAST_WORDS_S, Job
from loadtest.processes import ProcessError, Served, environment

BEGIN_S = 1.0
"""From the start of the processes to the first second: they import, and compute the schedule."""
USERS_PER_WORKER = 1_500
_LINE = 64 * 2**20
_SCRAPE_S = 2.0
_SPARE_S = 10.0

Progress = Callable[[Scenario, Course], None]


def workers_of(scenario: Scenario) -> int:
    """Return how many generator processes there are to be."""
    expected = scenario.users.count or scenario.users.per_second * 60
    wanted = 1 + int(expected / USERS_PER_WORKER) + int(scenario.rest.per_second / 1_000)
    return scenario.workers or max(1, min(wanted, os.cpu_count() or 1))


class Run:
    """One run of a scenario."""

    def __init__(
        self,
        name: str,
        scenario: Scenario,
        target: Target,
        tell: Progress,
        options: Collection[str] = (),
    ) -> None:
        self._name = name
        self._scenario = scenario
        self._target = target
        self._tell = tell
        self._options = options
        self._course = Course(scenario)
        self._begin = 0.0
        self._cores: dict[str, float] = {}
        self._readings = Readings(scenario)
        self._struck: list[Served] = []
        """Instances that were killed on purpose."""
        self._no_metrics = target.no_metrics
        """Why nothing is known of the servers' metrics, where that is so."""
        self._awake = False

    async def result(self) -> Result:
        """Run it.

        Raises:
            ProcessError: a generator process failed.
        """
        began = time.time()
        with awake(wanted=self._scenario.machine.awake) as self._awake:
            await self._load()
        return self._result(began, await self._target.bill())

    async def _load(self) -> None:
        """Run the generator processes to their end, and all that watches meanwhile."""
        workers = workers_of(self._scenario)
        self._begin = time.monotonic() + BEGIN_S
        async with asyncio.TaskGroup() as group:
            watching = [
                group.create_task(each) for each in (self._scrape(), self._measure(), self._watch())
            ]
            if self._scenario.strike is not None and self._target.served:
                watching.append(group.create_task(self._strike()))
            async with asyncio.TaskGroup() as generators:
                for number in range(workers):
                    job = Job(
                        scenario=self._scenario,
                        keys=self._target.keys,
                        begin=self._begin,
                        worker=number,
                        workers=workers,
                        database_url=self._target.database_url,
                    )
                    generators.create_task(self._generate(job))
            for task in watching:
                task.cancel()

    async def _generate(self, job: Job) -> None:
        """Run one generator process and take in what it tells."""
        scenario = self._scenario
        async with _process() as process:
            assert process.stdin is not None  # noqa: S101 - both were asked for
            assert process.stdout is not None  # noqa: S101
            process.stdin.write(msgspec.json.encode(job))
            process.stdin.close()
            longest = scenario.ends_s + scenario.settle_s + LAST_WORDS_S + _SPARE_S
            async with asyncio.timeout(longest):
                async for line in process.stdout:
                    tick = msgspec.json.decode(line, type=Tick)
                    self._course.add(tick)
                    if tick.over:
                        return
            raise ProcessError(f"a generator process ended by itself ({await process.wait()})")

    def _second(self) -> float:
        return time.monotonic() - self._begin

    async def _until(self, second: float) -> None:
        await asyncio.sleep(max(0.0, second - self._second()))

    async def _watch(self) -> None:
        """Note the machine's CPU each second, and tell how far it is."""
        before, second = machine.cpu(), 0
        while True:
            await self._until(second + 1)
            now = machine.cpu()
            if now is not None and before is not None:
                point = self._course.at(second)
                point.busy, point.stolen = now.busy_since(before), now.stolen_since(before)
                point.yardstick_us = machine.yardstick()
            before, second = now, second + 1
            self._all_live()
            self._tell(self._scenario, self._course)

    def _all_live(self) -> None:
        """Look for an instance that ended by itself: the rest of the run would say nothing.

        Raises:
            ProcessError: one did; with the end of its log.
        """
        for one in self._target.served:
            if not one.running and one not in self._struck:
                raise ProcessError(f"an instance ended by itself: {one.last_words()}")

    async def _scrape(self) -> None:
        """Read `/metrics` now and then; each point has what the reading behind it says."""
        scraper, redis = Scraper(self._target.metrics), RedisScraper(self._target.redis_url)
        before, at = await scraper.read(), time.monotonic()
        whole: Reading | None = None
        try:
            while True:
                await asyncio.sleep(_SCRAPE_S)
                asked_s = self._second()
                now, kept = await asyncio.gather(scraper.read(), redis.read())
                told_s = self._second()
                if 0 < now.answered < self._there():
                    continue  # sums of fewer are less, which says nothing
                if self._target.foreign and now.answered:
                    if whole is not None and changed(whole, now):
                        self._no_metrics = (
                            "an instance was started anew during the run, or another one answered:"
                            f" {NAME_THEM}, if they are not"
                        )
                    whole = now
                if now.answered and told_s >= 0:
                    self._readings.note(Noted(asked_s, told_s, now))
                    self._show(int(told_s), before, now, kept, time.monotonic() - at)
                before, at = now, time.monotonic()
        finally:
            scraper.close()
            await redis.close()

    def _there(self) -> int:
        """Return how many instances are to answer."""
        target = self._target
        return len(target.metrics) if target.foreign else sum(one.running for one in target.served)

    def _show(
        self, second: int, before: Reading, now: Reading, kept: Kept, passed_s: float
    ) -> None:
        """Write into the points what a reading says."""
        for place in range(max(0, second - int(_SCRAPE_S) + 1), second + 1):
            point = self._course.at(place)
            point.server_memory_mb, point.server_files = now.memory_mb, now.files
            point.server_tasks = now.tasks
            point.redis_keys, point.redis_lasting = kept.keys, kept.lasting
            point.redis_clients = kept.clients
            if now.answered == before.answered:  # a counter left with an instance that was killed
                point.server_cpu = max(0.0, now.cpu_s - before.cpu_s) / passed_s

    async def _measure(self) -> None:
        """Take the CPU of the run's own processes, by name, over the measured time."""
        begins_s, ends_s = self._scenario.begins_s, self._scenario.ends_s
        await self._until(begins_s)
        spent, began = Spent(self._own, machine.cpu_of), time.monotonic()
        seconds = math.ceil(ends_s - begins_s)
        for number in range(1, seconds + 1):  # what ends meanwhile takes its CPU with it
            await self._until(min(begins_s + number, ends_s))
            spent.read(anew=number % ANEW_S == 0 or number == seconds)
        passed_s = time.monotonic() - began
        self._cores = {name: used / passed_s for name, used in spent.seconds.items()}

    def _addresses(self) -> list[str]:
        """Return the deployment's addresses, without who logs in at them."""
        return [re.sub(r"//[^/@]*@", "//", url) for url in self._target.keys.urls]

    def _own(self) -> dict[int, str]:
        """Return the run's own processes and their names; generators tell of themselves."""
        target = self._target
        names = machine.processes_of(target.mark) if target.mark else {}
        names |= {pid: name for name, pid in target.pids.items()}
        names |= {one.pid: "instances" for one in target.served if one.running}
        return {**names, os.getpid(): "viva load"}

    async def _strike(self) -> None:
        """Kill an instance, and start it again where that is asked for."""
        strike = self._scenario.strike
        assert strike is not None  # noqa: S101 - it was looked at
        await self._until(strike.at_s)
        survivors = await self._survivors()
        self._readings.strike(self._second(), survivors)
        self._struck.append(self._target.served[0])
        self._target.served[0].kill()
        if strike.again_s:
            await asyncio.sleep(strike.again_s)
            await self._target.served[0].start()
            self._struck.clear()

    async def _survivors(self) -> Noted | None:
        """Read those that a strike leaves; None where one of them does not answer."""
        urls, asked_s = self._target.metrics[1:], self._second()
        scraper = Scraper(urls)
        try:
            reading = await scraper.read()
        finally:
            scraper.close()
        return Noted(asked_s, self._second(), reading) if reading.answered == len(urls) else None

    def _result(self, began: float, bill: dict[str, int]) -> Result:
        course, scenario = self._course, self._scenario
        if self._no_metrics:
            self._readings.forget()
            course.forget_servers()
        elif not self._readings:
            self._no_metrics = "/metrics did not answer"
        course.complete()
        held = course.histograms()
        latencies = {name: percentiles(one) for name, one in held.items()}
        figures = course.figures() | self._readings.figures()
        measured = course.measured
        cores = self._cores | {
            "generator": sum(p.generator_cpu for p in measured) / max(1, len(measured)),
        }
        busy = [point.busy for point in measured if point.busy is not None]
        if busy:
            cores["machine"] = sum(busy) / len(busy) * (os.cpu_count() or 1)
        stolen = [point.stolen for point in measured if point.stolen is not None]
        taken = sum(stolen) / max(1, len(stolen)) * (os.cpu_count() or 1)
        tokens = sum(point.counts.get("tokens", 0) for point in measured)
        if tokens:
            figures["generator_cpu_us_per_token"] = (
                1e6 * sum(p.generator_cpu for p in measured) / tokens
            )
        aside = Aside(
            options=self._options,
            foreign=self._target.foreign,
            metrics=self._target.no_metrics,  # what was lost during the run was not measured
        )
        judged = bounds(scenario, figures, latencies, aside)
        fit = course.judged()
        reasons = list(
            void(
                scenario.machine,
                fit,
                course.late_ms(fit),
                others=others(cores, taken),
                awake=self._awake,
                provider=cores.get("provider", 0.0),
            )
        )
        return Result(
            name=self._name,
            scenario=scenario,
            started_at=began,
            target="own servers" if self._target.served else ", ".join(self._addresses()),
            verdict=verdict(reasons, judged),
            void=reasons,
            no_metrics=self._no_metrics,
            bounds=judged,
            figures=figures,
            latencies=latencies,
            histograms={name: one.encode().decode() for name, one in held.items()},
            errors=dict(course.errors.most_common()),
            samples=course.samples,
            closes=dict(course.closes),
            points=course.points,
            awake=self._awake,
            cores=cores,
            provider=bill,
        )


@contextlib.asynccontextmanager
async def _process() -> AsyncGenerator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "loadtest.load.worker"),
        env=environment({}),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LINE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            await process.wait()
