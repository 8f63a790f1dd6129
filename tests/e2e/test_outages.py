"""The fault table: what happens to running interviews when something beneath them fails."""

import asyncio
import contextlib
import re
import signal
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import hiredis
import pytest
import redis.asyncio as redis

from loadtest.fakeopenai import Options
from loadtest.processes import migrate
from loadtest.redisproxy import Mode
from loadtest.rig import Config, Report, Rig
from loadtest.sources import Source, speaking
from server.embedded import PostgresServer, RedisServer
from tests.support.interviews import rows_of

pytestmark = pytest.mark.anyio

SEATS = 6
FENCE = re.compile(rb"(?<![0-9a-f])[0-9]+:[0-9a-f]{16}(?![0-9a-f])")
RECOVERED_S = 5.0
PATIENCE_S = 300.0
MODEL = Options(tokens=25, tokens_per_second=40.0)
LASTING = Options(tokens=60, tokens_per_second=10.0)
"""Turns of 6 s, so that nearly all candidates listen at the same time."""
BRISK = Options(tokens=60, tokens_per_second=30.0)
"""Turns of 2 s: one that has just begun is still running when its instance is stopped."""
STALL_S = 0.5
"""Where the instance, or this very process, got no CPU for so long within a second, leases may have
lapsed for that; a drain that went wrong then says nothing of the server, and is tried again."""


class Scene:
    """Servers of its own that may be broken, two instances, and candidates in interviews."""

    def __init__(self, rig: Rig, valkey: RedisServer, postgres: PostgresServer) -> None:
        self.rig = rig
        self.valkey = valkey
        self.postgres = postgres

    @contextlib.asynccontextmanager
    async def interviews(self, seats: int = SEATS) -> AsyncGenerator[None]:
        """Have interviews while the block runs; afterwards they go on to their end."""
        async with asyncio.TaskGroup() as group:
            for _ in range(seats):
                group.create_task(self.rig.newcomer().run())
            await asyncio.sleep(3.0)
            yield

    async def back(self) -> None:
        """The fault is over: measure how long each interview takes to go on."""
        self.rig.await_progress(self.rig.candidates, settled_s=0.0)
        await self.rig.progressed()

    def redis(self) -> Any:
        kind: Any = redis.Redis  # redis-py's commands are not typed strictly
        return kind.from_url(self.valkey.url)


@contextlib.asynccontextmanager
async def scene(
    directory: Path,
    source: Source = "bank",
    instances: int = 2,
    *,
    model: Options = MODEL,
    proxied: bool = True,
    **settings: str,
) -> AsyncGenerator[Scene]:
    valkey = RedisServer(directory / "valkey")
    postgres = PostgresServer(directory / "postgres", password="x", durable=False)
    await asyncio.gather(valkey.start(), postgres.start())
    try:
        urls = {"REDIS_URL": valkey.url, "DATABASE_URL": postgres.url}
        await migrate(urls)
        async with speaking(source, model) as (spoken, _):
            config = Config(
                redis_url=valkey.url,
                database_url=postgres.url,
                directory=directory,
                instances=instances,
                settings={**spoken, **settings},
                proxied=proxied,
            )
            rig = Rig(config, Report(seed=1))
            async with rig.running(), asyncio.timeout(PATIENCE_S):
                yield Scene(rig, valkey, postgres)
                await rig.judge()
        print(rig.report)  # noqa: T201 - the figures
        assert rig.report.faults == []
    finally:
        await asyncio.gather(valkey.stop(), postgres.stop())


async def _killed(it: Scene) -> None:
    await it.valkey.kill()
    await asyncio.sleep(1.0)
    await it.valkey.start()


async def _flushed(it: Scene) -> None:
    async with it.redis() as client:
        await client.flushall()


async def _full(it: Scene) -> None:
    async with it.redis() as client:
        await client.config_set("maxmemory", 1)
        await asyncio.sleep(4.0)
        await client.config_set("maxmemory", 0)


def _unreachable(mode: Mode, seconds: float) -> Callable[[Scene], Awaitable[None]]:
    async def fault(it: Scene) -> None:
        for proxy in it.rig.proxies:
            await proxy.set_mode(mode)
        await asyncio.sleep(seconds)
        for proxy in it.rig.proxies:
            await proxy.set_mode("pass")

    return fault


async def _tail_lost(it: Scene) -> None:
    """As a crash of the machine does: the last second of the log of writes is gone."""
    (log,) = (it.valkey.data / "appendonlydir").glob("*.incr.aof")
    before = log.stat().st_size
    await asyncio.sleep(1.0)
    await it.valkey.kill()
    with log.open("r+b") as file:
        file.truncate(before)
    await it.valkey.start()


FAULTS: dict[str, Callable[[Scene], Awaitable[None]]] = {
    "killed": _killed,
    "refused": _unreachable("refuse", 10.0),
    "swallowed": _unreachable("swallow", 10.0),
    "full": _full,
    "flushed": _flushed,
    "tail lost": _tail_lost,
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_redis_fails(fault: Callable[[Scene], Awaitable[None]], tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        async with it.interviews():
            await fault(it)
            await it.back()
        assert it.rig.report.recoveries
        assert it.rig.report.percentile(1.0) <= RECOVERED_S


async def _postgres_down(directory: Path, seconds: float) -> None:
    async with scene(directory) as it:
        async with it.interviews():
            await it.postgres.kill()
            down = time.monotonic()
            while time.monotonic() - down < seconds:
                it.rig.await_progress(it.rig.candidates, settled_s=0.0)  # they go on meanwhile
                await it.rig.progressed()
            assert it.rig.report.percentile(1.0) <= RECOVERED_S
            await it.postgres.start()
            back = time.monotonic()
        drained = max(0.0, time.monotonic() - back)
        count = "SELECT count(*), count(DISTINCT (interview_id, turn)) FROM turns"
        ((rows, distinct),) = rows_of(it.postgres.url, count)
        print(f"{rows} turns stored; all interviews over {drained:.1f} s after")  # noqa: T201
        assert rows == distinct


async def test_postgres_is_down_for_a_while(tmp_path: Path) -> None:
    await _postgres_down(tmp_path, 6.0)


@pytest.mark.torture
async def test_postgres_is_down_for_a_minute(tmp_path: Path) -> None:
    await _postgres_down(tmp_path, 60.0)


class Writes:
    """What one instance writes under which fence, as its proxy sees it."""

    def __init__(self) -> None:
        self.fences: set[bytes] = set()
        self.stale: set[bytes] = set()
        self.taken = self.refused = 0

    def answered(self, name: str, values: Sequence[bytes], reply: bytes) -> None:
        for fence, refused in _fenced_writes(name, values, reply):
            self.fences.add(fence)
            if fence in self.stale:
                self.refused += refused
                self.taken += not refused


def _fenced_writes(
    name: str, values: Sequence[bytes], reply: bytes
) -> Generator[tuple[bytes, bool]]:
    """Find the writes of one call: under which fence, and whether it was refused."""
    if name == "finish":
        fences = [found[0] for value in values if (found := FENCE.search(value))]
        yield from ((fence, b"fenced" in reply) for fence in fences[:1])
    elif name == "append":
        reader = hiredis.Reader()
        reader.feed(reply)
        arguments = values[3 + int(values[2]) :]
        answers: list[Any] | Exception = reader.gets()
        if isinstance(answers, list):  # else all of the call was refused
            for fence, answer in zip(arguments[::5], answers, strict=True):
                yield fence, answer is None or isinstance(answer, Exception)
    elif (
        name == "xadd" and values[2] == b"NOMKSTREAM"
    ):  # a word, by the log's name: that is its fence
        yield values[1], not reply.startswith(b"$") or reply.startswith(b"$-1")


async def test_an_instance_that_was_stopped_writes_nothing_when_it_wakes(tmp_path: Path) -> None:
    async with scene(tmp_path, model=BRISK) as it:
        seen = [Writes() for _ in it.rig.proxies]
        for proxy, writes in zip(it.rig.proxies, seen, strict=True):
            proxy.answered = writes.answered
        async with it.interviews(10):
            place, mine = await _busiest(it.rig)
            stopped, writes = it.rig.served[place], seen[place]
            stopped.signal(signal.SIGSTOP)
            await asyncio.sleep(4.6)  # three leases
            taken_over = [name for name in mine if it.rig.runner[name] != place]
            writes.stale = set(writes.fences)
            stopped.signal(signal.SIGCONT)
            await it.back()
        print(  # noqa: T201
            f"{len(taken_over)} turns taken over; writes of the woken instance under its old"
            f" fences: {writes.taken} taken, {writes.refused} refused"
        )
        assert taken_over
        assert writes.stale
        assert writes.taken == 0


async def _busiest(rig: Rig) -> tuple[int, list[str]]:
    """Wait until some instance runs turns; which, and those of which interviews."""
    while True:  # what the proxies saw is polled
        listening = [x.interview_id for x in rig.candidates if x.listening]
        for place in range(len(rig.served)):
            mine = [name for name in listening if rig.runner.get(name) == place]
            if len(mine) >= 2:
                return place, mine
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("seats", "model", "share"),
    [
        (40, MODEL, 0.6),
        pytest.param(200, LASTING, 0.9, marks=pytest.mark.torture),
    ],
    ids=("40", "200"),
)
async def test_sigterm_fails_no_turn(
    seats: int, model: Options, share: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    leaving = await _leaving(tmp_path_factory.mktemp("leaving"), seats, model, share)
    for _ in range(2):
        if not leaving.resets or leaving.stalled_s < STALL_S:
            break
        leaving = await _leaving(tmp_path_factory.mktemp("leaving"), seats, model, share)
    assert (leaving.code, dict(leaving.resets)) == (0, {}), leaving
    assert leaving.took_s <= 30


class Leaving(NamedTuple):
    """How an instance went that was asked to."""

    running: int
    code: int
    took_s: float
    resets: Counter[str]
    stalled_s: float
    """For how long it, or this process, got no CPU within a second, at the worst."""
    warnings: str
    """What both instances had to say."""


async def _leaving(directory: Path, seats: int, model: Options, share: float) -> Leaving:
    async with scene(
        directory, "chat", model=model, proxied=False, VIVA_MAX_CONNECTIONS="1000"
    ) as it:
        leaving, _ = it.rig.served
        it.rig.away = {1}
        async with _stalls(leaving.pid) as stalls, asyncio.TaskGroup() as group:
            for _ in range(seats):
                group.create_task(it.rig.newcomer().run())
            await _until(lambda: _listening(it.rig) >= share * seats)
            running = _listening(it.rig)
            it.rig.away = {0}
            began = time.monotonic()
            leaving.signal(signal.SIGTERM)
            code = await leaving.ended()
            took = time.monotonic() - began
        resets: Counter[str] = Counter()
        for candidate in it.rig.candidates:
            resets.update(candidate.resets)
        said = [line for x in it.rig.served for line in x.log.read_text().splitlines()]
        warnings = "\n".join(line for line in said if '"info"' not in line)
        found = Leaving(running, code, took, resets, max(stalls), warnings)
        print(found)  # noqa: T201
        return found


@contextlib.asynccontextmanager
async def _stalls(pid: int) -> AsyncGenerator[list[float]]:
    """Note each 50 ms for how long this loop, or a process within the last second, got no CPU."""
    stalls, waited = [0.0], deque([_waited_s(pid)], maxlen=20)

    async def watch() -> None:
        while True:
            due = time.monotonic() + 0.05
            await asyncio.sleep(0.05)
            waited.append(_waited_s(pid))
            stalls.append(max(time.monotonic() - due, waited[-1] - waited[0]))

    watching = asyncio.create_task(watch())
    try:
        yield stalls
    finally:
        watching.cancel()
        await asyncio.wait((watching,))


def _waited_s(pid: int) -> float:
    """For how long a process was ready and had no CPU, since it began; what the system counts.

    Source: the kernel's sched-stats: of a task, the time on a CPU, the time it waited for one.
    """
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):  # it is gone, or another system
        return 0.0


def _listening(rig: Rig) -> int:
    return sum(candidate.listening for candidate in rig.candidates)


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - what many candidates see is polled
            await asyncio.sleep(0.02)
