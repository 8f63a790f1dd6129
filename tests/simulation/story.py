"""One simulated run: interviews on several instances while everything fails, then calm."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from uuid import UUID

from msgspec import Struct

from protocol.plan import Plan
from protocol.session import Session
from server.credentials import Credentials
from tests.simulation.candidate import USER, Candidate
from tests.simulation.house import SECRET, SimInstance
from tests.simulation.verdict import faults_of
from tests.simulation.witness import Witness
from tests.simulation.world import EPOCH_MS, Network, SimArchive, SimClock

INSTANCES = 4
STORM_S = 90.0
PATIENCE_S = 1_800.0


class Report(Struct):
    """What a run showed."""

    seed: int
    faults: list[str]
    injected: Counter[str]
    calls: int
    fenced_writes: int
    turns: int


class Story:
    """One run, all of it drawn from its seed."""

    def __init__(self, seed: int, interviews: int) -> None:
        self.draw = random.Random(seed)
        self.seed = seed
        self.network = Network(random.Random(f"{seed} network"))
        clock = SimClock(self.draw)
        self.witness = Witness(clock.now, self.network)
        self.archive = SimArchive(random.Random(f"{seed} archive"))
        self.stored = self.draw.random() < 0.5
        self.instances: list[SimInstance] = []
        self.born = 0
        self.injected: Counter[str] = Counter()
        self.faults: list[str] = []
        credentials = Credentials(SECRET, clock.now, clock.nonce)
        self.candidates = [self._candidate(number, credentials) for number in range(interviews)]

    async def run(self) -> Report:
        """Play the story to its end."""
        async with asyncio.TaskGroup() as group:
            for _ in range(INSTANCES):
                self._begin(group)
            having = [group.create_task(candidate.run()) for candidate in self.candidates]
            await self._storm(group)
            for candidate in self.candidates:
                candidate.calm = True
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await asyncio.gather(*having)
            except TimeoutError:
                self.faults.append("an interview never ended")
            for instance in self.instances:
                await instance.kill()
        self._judge()
        return Report(
            seed=self.seed,
            faults=self.faults,
            injected=self.injected,
            calls=self.witness.calls.total(),
            fenced_writes=self.witness.writes,
            turns=sum(len(restore.turns) for restore in self.archive.restores.values()),
        )

    def _candidate(self, number: int, credentials: Credentials) -> Candidate:
        name = str(
            UUID(int=(EPOCH_MS << 80) | (7 << 76) | (0b10 << 62) | self.draw.getrandbits(62))
        )
        draw = random.Random(f"{self.seed} candidate {number}")
        plan = Plan(type="technical", role="Engineer", duration_minutes=15)
        self.archive.add(
            Session(interview_id=name, user_id=USER, created_at=EPOCH_MS, plan=plan, phase="lobby")
        )
        return Candidate(name, self.witness, self._up, credentials, draw)

    def _up(self) -> list[SimInstance]:
        return [instance for instance in self.instances if instance.up]

    def _begin(self, group: asyncio.TaskGroup) -> None:
        self.born += 1
        instance = SimInstance(
            f"instance-{self.born}",
            self.witness,
            self.network,
            self.archive,
            self.seed,
            stored=self.stored,
        )
        self.instances.append(instance)
        instance.start(group)

    # --- what goes wrong ---

    async def _storm(self, group: asyncio.TaskGroup) -> None:
        ends = asyncio.get_running_loop().time() + STORM_S
        while asyncio.get_running_loop().time() < ends:
            await asyncio.sleep(self.draw.expovariate(0.7))
            if len(self._up()) < INSTANCES:
                self._begin(group)
            fault = self.draw.choice(
                (
                    self._kill,
                    self._kill,
                    self._terminate,
                    self._stop,
                    self._cut,
                    self._lose_calls,
                    self._redis_down,
                    self._redis_full,
                    self._flush,
                    self._fail_over,
                    self._archive_down,
                )
            )
            self.injected[fault.__name__.strip("_")] += 1
            await fault()

    async def _kill(self) -> None:
        await self._on_one(SimInstance.kill)

    async def _terminate(self) -> None:
        await self._on_one(SimInstance.drain)

    async def _on_one(self, act: Callable[[SimInstance], Awaitable[None]]) -> None:
        if self._up():
            instance = self.draw.choice(self._up())
            await act(instance)
            self.instances.remove(instance)
            self._look_at(instance)

    async def _stop(self) -> None:
        if self._up():
            name = self.draw.choice(self._up()).name
            self.network.stop(name)
            await asyncio.sleep(self.draw.random() * 8)
            self.network.go_on(name)

    async def _cut(self) -> None:
        if self._up():
            name = self.draw.choice(self._up()).name
            self.network.cut.add(name)
            await asyncio.sleep(self.draw.random() * 5)
            self.network.cut.discard(name)

    async def _lose_calls(self) -> None:
        for operation in tuple(self.witness.calls):
            part = self.draw.choice(("request", "reply"))
            if part == "request":
                self.witness.lose(operation, "request")
            else:
                self.witness.lose(operation, "reply")

    async def _redis_down(self) -> None:
        self.witness.down = True
        await asyncio.sleep(self.draw.random() * 12)
        self.witness.down = False

    async def _redis_full(self) -> None:
        self.witness.full = True
        await asyncio.sleep(self.draw.random() * 6)
        self.witness.full = False

    async def _flush(self) -> None:
        self.witness.flush()
        self.witness.lose_fences()

    async def _fail_over(self) -> None:
        self.witness.fail_over(self.draw.randrange(1, 40))
        self.witness.lose_fences()

    async def _archive_down(self) -> None:
        self.archive.down = True
        await asyncio.sleep(self.draw.random() * 10)
        self.archive.down = False

    # --- the verdict ---

    def _look_at(self, instance: SimInstance) -> None:
        if instance.failure is not None:
            self.faults.append(f"{instance.name} failed: {instance.failure!r}")

    def _judge(self) -> None:
        for instance in self.instances:
            self._look_at(instance)
        self.faults += self.witness.faults
        self.faults += self.archive.faults
        for number, candidate in enumerate(self.candidates):
            stored = self.archive.restores[candidate.interview_id]
            self.faults += [f"interview {number}: {it}" for it in faults_of(candidate, stored)]
