"""Requests beside the interviews, each at its time, whatever became of those before it."""

import asyncio
import random

from loadtest.load.api import Api, ApiError
from loadtest.load.arrival import poisson
from loadtest.load.crowd import Crowd
from loadtest.load.keys import Keys

WAITING = 5_000
"""More requests under way than this are not begun, and are errors."""
HAD = 0.5
READY_S = 5.0
"""So long it may take to create what is read; behind that, and the ramp, it is an error."""
_PATHS = {
    "list": "/api/interviews?limit=20",
    "read": "/api/interviews/{id}",
    "transcript": "/api/interviews/{id}/transcript",
    "me": "/api/me",
    "progress": "/api/progress",
    "live": "/health/live",
}


class Rest:
    """The part of the mix that one generator process asks for."""

    def __init__(self, crowd: Crowd, api: Api, keys: Keys, worker: int, workers: int) -> None:
        self._crowd = crowd
        self._api = api
        self._rest = crowd.scenario.rest
        self._per_second = self._rest.per_second / workers
        self._seed = f"{crowd.scenario.seed} rest {worker}"
        self._draw = random.Random(self._seed)
        self._headers = [
            keys.headers(f"{crowd.scenario.seed}-rest-{number}")
            for number in range(worker, max(self._rest.users, workers), workers)
        ]
        self._known: list[tuple[bytes, str]] = []
        self._waiting: dict[object, tuple[str, float]] = {}
        """Each request that is under way, and when it was due."""

    async def run(self) -> None:
        """Create what is read, then ask until the run ends, ever more often while users come.

        So caches and connections are warm when it counts, as they are in a server that runs.
        """
        await asyncio.gather(*(self._prepare(headers) for headers in self._headers))
        if not self._known:
            self._crowd.tally.error("rest: nothing to read", "no interview could be created")
            return
        scenario = self._crowd.scenario
        names = list(self._rest.mix)
        weights = [self._rest.mix[name] for name in names]
        ready = self._crowd.now()
        times = poisson(self._seed, self._per_second, scenario.begins_s, scenario.ends_s)
        async with asyncio.TaskGroup() as group:
            for at in times:
                due = self._crowd.begin + at
                if due < ready:  # while users come: what is not measured may begin later
                    if at >= max(scenario.begins_s, READY_S):
                        self._crowd.tally.error(
                            "rest: not begun", "creating what is read took long"
                        )
                    continue
                pause = due - self._crowd.now()
                if pause > 0:
                    await asyncio.sleep(pause)
                if len(self._waiting) < WAITING:
                    group.create_task(self._request(self._draw.choices(names, weights)[0], due))
                else:
                    self._crowd.tally.error("rest: too many under way")

    async def _prepare(self, headers: bytes) -> None:
        script = self._crowd.scenario.script
        plan = {"type": script.type, "role": script.role, "duration_minutes": 15}
        for place in range(self._rest.interviews):
            try:
                made = await self._api.ask(place, "POST", "/api/interviews", headers, plan)
                interview_id = made.value("id")
            except ApiError as error:
                self._crowd.tally.error(f"create: {error.kind}", str(error))
            else:
                self._known.append((headers, interview_id))

    async def _request(self, name: str, due: float) -> None:
        tally = self._crowd.tally
        # Those that were created to be read have no turns, and are in PostgreSQL alone: half of the
        # transcripts are of interviews that were had.
        real = name == "transcript" and self._draw.random() < HAD
        had = self._crowd.had if real else ()
        headers, interview_id = self._draw.choice(had or self._known)
        request = object()
        self._waiting[request] = name, due
        try:
            place = self._draw.randrange(1_000_000)
            await self._api.ask(place, "GET", _PATHS[name].format(id=interview_id), headers)
        except ApiError as error:
            tally.error(f"{name}: {error.kind}", str(error))
            self._waited(name, due)  # what fails at once would make the others look quick
        else:
            tally.counts["requests"] += 1
            latency = self._crowd.now() - due
            tally.latencies.record("rest", latency)
            tally.latencies.record(f"rest {name}", latency)
        finally:
            del self._waiting[request]

    def waits(self) -> None:
        """See `Crowd.waits`."""
        for name, due in self._waiting.values():
            self._waited(name, due)

    def _waited(self, name: str, due: float) -> None:
        self._crowd.waited("rest", due)
        self._crowd.waited(f"rest {name}", due)
