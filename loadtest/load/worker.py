"""A generator process: `python -m loadtest.load.worker`, its `Job` as JSON on standard input.

It prints one `Tick` a second as a line of JSON; the last one says so. Processes of one run share
nothing but the time at which they begin.
"""

import asyncio
import contextlib
import gc
import resource
import signal
import sys
import time

import msgspec
import uvloop
from msgspec import Struct

from loadtest.load.api import Api
from loadtest.load.arrival import arrivals
from loadtest.load.crowd import Crowd
from loadtest.load.interview import SILENCE_S
from loadtest.load.keys import Keys
from loadtest.load.person import Person
from loadtest.load.rest import Rest
from loadtest.load.scenario import Scenario
from loadtest.load.stored import Stored
from loadtest.yielding import give_way

LAG_S = 0.05
CALM_S = 2.0
"""So long before what counts, everything stands still for the last time."""
LAST_WORDS_S = 25.0
"""For transcripts that are being read when the time to settle is over."""


class Job(Struct, frozen=True, kw_only=True):
    """What a process does. ``begin`` is the machine's monotonic clock, in seconds."""

    scenario: Scenario
    keys: Keys
    begin: float
    worker: int = 0
    workers: int = 1
    database_url: str = ""
    """Where what was stored can be looked at; empty: nowhere."""


class Generator:
    """One process's part of a run."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._stored = Stored(job.database_url) if job.database_url else None
        self._crowd = Crowd(job.scenario, job.begin, self._stored)
        self._api = Api(job.keys.urls)
        self._told = 0
        self._cpu_s = 0.0
        self._rest: Rest | None = None
        if job.scenario.rest.per_second:
            self._rest = Rest(self._crowd, self._api, job.keys, job.worker, job.workers)

    async def run(self) -> None:
        """Send everyone, and tell each second what they saw."""
        scenario, crowd = self._job.scenario, self._crowd
        async with asyncio.TaskGroup() as watching:
            tasks = [watching.create_task(each) for each in (self._tell(), self._watch_lag())]
            if scenario.stalls.share:
                tasks.append(watching.create_task(self._stall()))
            try:
                async with asyncio.timeout_at(self._deadline()), asyncio.TaskGroup() as group:
                    group.create_task(self._end())
                    if self._rest is not None:
                        group.create_task(self._rest.run())
                    await self._send(group)
            except TimeoutError:
                crowd.tally.error("unfinished", "some users could not be ended in time")
            for task in tasks:
                task.cancel()
        self._api.close()
        if self._stored is not None:
            await self._stored.close()
        self._tick(over=True)

    def _deadline(self) -> float:
        scenario = self._job.scenario
        return self._job.begin + scenario.ends_s + scenario.settle_s + LAST_WORDS_S

    async def _send(self, group: asyncio.TaskGroup) -> None:
        """Send each user at its time."""
        job = self._job
        for arrival in arrivals(job.scenario, job.worker, job.workers):
            due = job.begin + arrival.at
            pause = due - self._crowd.now()
            if pause > 0:
                await asyncio.sleep(pause)
            person = Person(self._crowd, self._api, job.keys, arrival.number)
            group.create_task(person.run(due))

    async def _end(self) -> None:
        scenario, crowd = self._job.scenario, self._crowd
        await self._until(scenario.begins_s - CALM_S)
        gc.collect()
        gc.freeze()  # a full collection over thousands of users would stop them all
        await self._until(scenario.ends_s)
        if crowd.stalling:
            crowd.stall(stalled=False)
        crowd.settle()
        await self._until(scenario.ends_s + scenario.settle_s, lambda: not crowd.guests)
        crowd.close()

    async def _until(self, second: float, enough: object = None) -> None:
        while (left := self._job.begin + second - self._crowd.now()) > 0:
            if callable(enough) and enough():
                return
            await asyncio.sleep(min(left, 0.2) if enough else left)

    async def _stall(self) -> None:
        """Have those who stall do so, all the time or in every second round."""
        scenario, crowd = self._job.scenario, self._crowd
        await self._until(scenario.begins_s)
        round_s, number = scenario.stalls.round_s, 0
        while not crowd.ending:
            crowd.stall(stalled=not round_s or number % 2 == 1)
            number += 1
            await self._until(scenario.begins_s + number * (round_s or scenario.duration_s))

    async def _watch_lag(self) -> None:
        due = self._crowd.now()
        while True:
            due += LAG_S
            await asyncio.sleep(max(0.0, due - self._crowd.now()))
            # Behind a long pause all that was due in it is late, each by its own time.
            self._crowd.tally.latencies.record("lag", self._crowd.now() - due)

    async def _tell(self) -> None:
        while True:
            await self._until(self._told + 1)
            scenario = self._job.scenario
            if scenario.measures(self._told) and not scenario.measures(self._told + 1):
                self._crowd.waits()
                if self._rest is not None:
                    self._rest.waits()
            self._tick()
            self._watch_silence()

    def _watch_silence(self) -> None:
        now = self._crowd.now()
        for guest in self._crowd.guests:
            silent_s = guest.silent_s(now)
            if silent_s > SILENCE_S:
                self._crowd.silent(guest, silent_s)

    def _tick(self, *, over: bool = False) -> None:
        cpu_s = time.process_time()
        tick = self._crowd.tally.tick(self._told, cpu_s - self._cpu_s, over=over)
        self._told, self._cpu_s = self._told + 1, cpu_s
        sys.stdout.buffer.write(msgspec.json.encode(tick) + b"\n")
        sys.stdout.buffer.flush()


def main() -> None:
    """Do the job on standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it ends it
    give_way()
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))
    uvloop.run(_run(job))


async def _run(job: Job) -> None:
    await Generator(job).run()


if __name__ == "__main__":
    main()
