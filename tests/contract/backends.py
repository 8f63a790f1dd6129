"""The live store's backends as the suite sees them: new clients, and what a test does to them."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any, Protocol

from storage.live import LOG_LENGTH, Listener, LiveStore, Notifier
from storage.redis import keys
from storage.redis.connect import Client, connect
from storage.redis.notify import RedisNotifier
from storage.redis.store import RedisStore
from storage.twin import Twin, TwinNotifier, TwinServer

COMPARED: Counter[str] = Counter()
"""The calls of random traces that twin and server answered alike, for the report's last lines."""


class Backend(Protocol):
    def store(self, *, max_log: int = LOG_LENGTH) -> LiveStore:
        """A client of its own, as another instance has."""
        ...

    def now(self) -> int: ...

    async def lapse(self, interview_id: str) -> None:
        """Let the lease of the interview's turn be over."""
        ...

    def full(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Memory is out."""
        ...

    def listening(self, listener: Listener) -> contextlib.AbstractAsyncContextManager[Notifier]: ...

    async def sockets(self, interview_id: str) -> int:
        """How many slots are remembered."""
        ...

    async def timer(self, interview_id: str) -> float:
        """When the interview is looked at next, in Unix ms."""
        ...

    async def dead(self, partition: int) -> list[tuple[str, bytes, str]]: ...

    async def aclose(self) -> None: ...


class TwinBackend:
    def __init__(self) -> None:
        self.server = TwinServer(self.now)

    def now(self) -> int:
        return time.time_ns() // 1_000_000

    def store(self, *, max_log: int = LOG_LENGTH) -> LiveStore:
        return Twin(self.server, max_log=max_log)

    async def lapse(self, interview_id: str) -> None:
        held = self.server.interviews[interview_id]
        held.lease_until = min(held.lease_until, self.now() - 1) if held.lease_until else 0
        self.server.partition(interview_id).leases[interview_id] = 1

    @contextlib.asynccontextmanager
    async def full(self) -> AsyncGenerator[None]:
        self.server.full = True
        yield
        self.server.full = False

    @contextlib.asynccontextmanager
    async def listening(self, listener: Listener) -> AsyncGenerator[Notifier]:
        notifier = TwinNotifier(self.server)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(notifier.run(listener))
            await asyncio.sleep(0)
            yield notifier
            running.cancel()

    async def sockets(self, interview_id: str) -> int:
        return len(self.server.interviews[interview_id].sockets)

    async def timer(self, interview_id: str) -> float:
        return self.server.partition(interview_id).timers[interview_id]

    async def dead(self, partition: int) -> list[tuple[str, bytes, str]]:
        letters = self.server.partitions[partition].dead
        return [(entry.interview_id, entry.ledger, code) for entry, code in letters]

    async def aclose(self) -> None:
        pass


PATIENT_S = 10.0
"""How long a reply may take here: machines that run tests are busy, and time-outs have tests."""


class RedisBackend:
    """A real server. Its keys are emptied, and its clients closed, by each test."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.raw: Any = connect(url, PATIENT_S)
        self._clients: list[Client] = []

    def now(self) -> int:
        return time.time_ns() // 1_000_000

    def client(self) -> Client:
        client = connect(self.url, PATIENT_S)
        self._clients.append(client)
        return client

    def store(self, *, max_log: int = LOG_LENGTH) -> LiveStore:
        return RedisStore(self.client(), max_log=max_log)

    async def lapse(self, interview_id: str) -> None:
        own, *_, leases = keys.interview_keys(interview_id)[:6]
        until = int(await self.raw.hget(own, "lease_until"))
        await self.raw.hset(own, "lease_until", min(until, self.now() - 1) if until else 0)
        await self.raw.zadd(leases, {interview_id: 1})
        log, name = keys.interview_keys(interview_id)[1], await self.raw.hget(own, "log")
        if name and await self.raw.exists(f"{log}{name.decode()}"):
            # Its holder's own clock would tell it, past the lease's time. The name does it now.
            other = f":{int(name[1:]) + 1}"
            await self.raw.rename(f"{log}{name.decode()}", f"{log}{other}")
            await self.raw.hset(own, "log", other)

    @contextlib.asynccontextmanager
    async def full(self) -> AsyncGenerator[None]:
        await self.raw.config_set("maxmemory", 1)
        try:
            yield
        finally:
            await self.raw.config_set("maxmemory", 0)

    @contextlib.asynccontextmanager
    async def listening(self, listener: Listener) -> AsyncGenerator[Notifier]:
        notifier = RedisNotifier(self.client())
        async with asyncio.TaskGroup() as group:
            running = group.create_task(notifier.run(listener))
            yield notifier
            running.cancel()

    async def sockets(self, interview_id: str) -> int:
        fields = await self.raw.hkeys(keys.interview_keys(interview_id)[0])
        return sum(field.startswith(b"socket:") for field in fields)

    async def timer(self, interview_id: str) -> float:
        return await self.raw.zscore(keys.interview_keys(interview_id)[6], interview_id)

    async def dead(self, partition: int) -> list[tuple[str, bytes, str]]:
        letters = await self.raw.xrange(keys.dead_key(partition))
        return [
            (fields[b"i"].decode(), fields.get(b"l", b""), fields[b"code"].decode())
            for _, fields in letters
        ]

    async def aclose(self) -> None:
        for client in (*self._clients, self.raw):
            await client.aclose()
