"""What a simulation is made of: chance, time, the network, and an archive in memory."""

import asyncio
import random
from collections.abc import Sequence

from msgspec.structs import replace

from protocol.ids import ORIGIN, EventId
from protocol.ledger import LedgerEntry
from protocol.session import Session, Turn
from storage.errors import BackendDownError, ErasedError
from storage.live import Restore, Unstored

EPOCH_MS = 1_795_000_000_000


class SimClock:
    """One instance's clock in virtual time; its chance and its names come from the seed."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw

    def now(self) -> int:
        return EPOCH_MS + int(asyncio.get_running_loop().time() * 1000)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def random(self) -> float:
        return self._draw.random()

    def nonce(self) -> str:
        return f"{self._draw.getrandbits(64):016x}"


class Network:
    """The way of each call between an instance and Redis: slow, cut off, stopped or dead."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self.dead: set[str] = set()
        self.cut: set[str] = set()
        self._stopped: dict[str, asyncio.Event] = {}

    def stop(self, client: str) -> None:
        """As SIGSTOP does: nothing leaves the instance and nothing reaches it."""
        self._stopped[client] = asyncio.Event()

    def go_on(self, client: str) -> None:
        """As SIGCONT does."""
        self._stopped.pop(client).set()

    def stopped(self, client: str) -> bool:
        """Whether the instance is stopped."""
        return client in self._stopped

    async def running(self, client: str) -> None:
        """Wait while the instance is stopped."""
        while client in self._stopped:
            await self._stopped[client].wait()

    async def request(self, client: str, operation: str) -> None:
        await self.running(client)  # what was sent before a stop is on its way, stopped or not
        await self._way(client, f"{operation} was not heard")

    async def reply(self, client: str, operation: str) -> None:
        await self._way(client, f"{operation} was not answered")
        await self.running(client)
        self._pass(client)

    async def _way(self, client: str, failure: str) -> None:
        self._pass(client)
        await asyncio.sleep(self._draw.expovariate(2000))
        self._pass(client)
        if client in self.cut:
            await asyncio.sleep(0.8)  # the client's socket time-out
            raise BackendDownError(failure)

    def _pass(self, client: str) -> None:
        if client in self.dead:
            raise BackendDownError("a dead instance says nothing")


class SimArchive:
    """PostgreSQL in memory: the rules of `storage.postgres.writing`, and outages."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self.down = False
        self.restores: dict[str, Restore] = {}
        self.ledger: dict[str, LedgerEntry] = {}
        self.faults: list[str] = []

    def add(self, session: Session) -> None:
        """Create an interview."""
        new = Restore(session=session, version=0, head=ORIGIN, tick=0)
        self.restores[session.interview_id] = new

    async def rebuild(self, interview_id: str) -> Restore | None:
        await self._work()
        return self.restores.get(interview_id)

    async def write(self, unstored: Unstored) -> EventId | None:
        await self._work()
        state, name = unstored.state, unstored.state.session.interview_id
        held = self.restores.get(name)
        if held is None:
            raise ErasedError
        if held.head not in (state.stored, state.head):
            return held.head
        if held.head == state.head and (
            state.version < held.version
            or (state.version == held.version and state.session != held.session)
        ):
            return held.head
        self.restores[name] = replace(
            held,
            session=state.session,
            version=state.version,
            head=state.head,
            turns=self._merged(held.turns, state.turns),
            commands=tuple({**dict(held.commands), **dict(unstored.commands)}.items()),
        )
        await self._work()  # committed, and the reply may be lost
        return None

    async def write_ledger(self, rows: Sequence[LedgerEntry]) -> None:
        await self._work()
        self.ledger.update((row.id, row) for row in rows)

    def _merged(self, held: tuple[Turn, ...], new: tuple[Turn, ...]) -> tuple[Turn, ...]:
        known = {turn.turn: turn for turn in held}
        for turn in new:
            if known.setdefault(turn.turn, turn) != turn:
                self.faults.append(f"turn {turn.turn} changed after it was stored")
        if {turn.turn for turn in new} < known.keys():
            self.faults.append("a stored turn is missing from a later state")
        return tuple(known[number] for number in sorted(known))

    async def _work(self) -> None:
        await asyncio.sleep(self._draw.expovariate(300))
        if self.down:
            raise BackendDownError("PostgreSQL is down")
