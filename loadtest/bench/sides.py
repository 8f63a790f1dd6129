"""Who is measured: viva and its peers, each a process of its own beside a provider of its own."""

import asyncio
import contextlib
import importlib.util
import sys
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import redis.asyncio as redis
from msgspec import Struct

from loadtest.bench.listeners import Place
from loadtest.load import machine
from loadtest.processes import (
    SECRET,
    START_S,
    ProcessError,
    Served,
    environment,
    fake_provider,
    free_port,
    services,
)

MODEL = "bench"
_VIVA = {
    "OPENAI_API_KEY": "a key of the fake",
    "VIVA_MODEL": MODEL,
    "VIVA_ASSESSOR_MODEL": MODEL,
    "VIVA_PRICES": f"{MODEL}=0.4/0.1/1.6",
    "VIVA_MAX_INTERVIEWS_PER_USER": "10000",
    "VIVA_BUDGET_INTERVIEW_USD": "0",
    "VIVA_BUDGET_USER_DAY_USD": "0",
    "VIVA_LOG_LEVEL": "warning",
    # Each turn is the model's own: shared wordings would spare it what is to be measured.
    "VIVA_QUESTION_CACHE": "0",
}
"""Everything on, with money enough."""


class Peer(Struct, frozen=True, kw_only=True):
    """A server beside which viva is measured."""

    module: str
    needs: tuple[str, ...] = ()
    about: str = ""
    most_streams: int = 1_000
    most_idle: int = 5_000


PEERS: Mapping[str, Peer] = {
    "floor": Peer(
        module="loadtest.bench.servers.floor",
        about="a bare protocol on uvloop that cuts the text out and puts it into a frame",
        most_streams=5_000,
    ),
    "fastapi": Peer(
        module="loadtest.bench.servers.fastapi_relay",
        needs=("fastapi",),
        about="FastAPI with the openai client's `stream=True`, which keeps nothing",
    ),
    "pipecat": Peer(
        module="loadtest.bench.servers.pipecat_relay",
        needs=("fastapi", "pipecat"),
        about="Pipecat with its OpenAI service and its FastAPI WebSocket transport",
        most_streams=300,
        most_idle=500,
    ),
}
NAMES = ("floor", "viva", "fastapi", "pipecat")
VIVA_MOST_STREAMS = 1_000
"""As many as the peers, for which it is what the openai client has connections for."""


class Speech(Struct, frozen=True, kw_only=True):
    """How the provider speaks: replies of half of ``tokens`` at least, which outlast any reading.

    viva cuts its own at 4,000 characters, 400 stamps; see `LONGEST_S`.
    """

    tokens: int = 30_000
    per_second: float = 30.0
    script: str = "stamps"


class Side(Struct, frozen=True, kw_only=True):
    """A server that runs."""

    name: str
    pid: int
    place: Place
    provider_url: str
    mark: str = ""
    """What the command lines of the Redis and the PostgreSQL hold that it uses, if any."""

    def groups(self) -> dict[str, tuple[int, ...]]:
        """Return process ids by what they are: ``server``, and for viva ``redis``, ``postgres``."""
        return {"server": (self.pid,), **(backends(self.mark) if self.mark else {})}


class Ground(Struct, frozen=True, kw_only=True):
    """What lasts for the whole run: a directory, and viva's Redis and PostgreSQL."""

    directory: Path
    urls: Mapping[str, str]

    @property
    def mark(self) -> str:
        """What the command lines of the embedded servers hold."""
        return str(self.directory)


def missing(name: str) -> str:
    """Return which package a side lacks, empty where it can run."""
    needs = PEERS[name].needs if name in PEERS else ()
    return next((need for need in needs if importlib.util.find_spec(need) is None), "")


def most_streams(name: str) -> int:
    """Return how many streams a side can have."""
    return PEERS[name].most_streams if name in PEERS else VIVA_MOST_STREAMS


def most_idle(name: str) -> int:
    """Return how many silent clients a side is asked to hold."""
    return PEERS[name].most_idle if name in PEERS else 5_000


@contextlib.asynccontextmanager
async def ground(directory: Path) -> AsyncGenerator[Ground]:
    """Start Redis and PostgreSQL."""
    async with services(directory / "services") as urls:
        yield Ground(directory=directory, urls=urls)


@contextlib.asynccontextmanager
async def running(name: str, speech: Speech, ground: Ground) -> AsyncGenerator[Side]:
    """Run a side, and a provider that only it asks."""
    async with _provider(speech) as provider_url:
        made = (
            _viva(provider_url, ground)
            if name == "viva"
            else _peer(name, provider_url, ground.directory / f"{name}.log")
        )
        async with made as side:
            yield side


@contextlib.asynccontextmanager
async def _viva(provider_url: str, ground: Ground) -> AsyncGenerator[Side]:
    settings = {**ground.urls, **_VIVA, "OPENAI_BASE_URL": provider_url}
    served = Served(settings, ground.directory / "viva.log")
    async with _forgotten(ground.urls["REDIS_URL"]):
        try:
            await served.start()
            yield Side(
                name="viva",
                pid=served.pid,
                place=Place(dialect="viva", url=served.url, secret=SECRET),
                provider_url=provider_url,
                mark=ground.mark,
            )
        finally:
            served.kill()


@contextlib.asynccontextmanager
async def _forgotten(url: str) -> AsyncGenerator[None]:
    """Flush behind the body; what it failed of is told, whatever Redis says then."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(redis.RedisError, OSError):
            await flush(url)
        raise
    await flush(url)


def backends(mark: str) -> dict[str, tuple[int, ...]]:
    """Return the processes of Redis and PostgreSQL."""
    names = machine.processes_of(mark)
    return {
        "redis": tuple(p for p, name in names.items() if "valkey" in name or "redis" in name),
        "postgres": tuple(pid for pid, name in names.items() if "postgres" in name),
    }


async def flush(url: str) -> None:
    """Forget every interview: what was broken off is not to be taken over by the next round."""
    clients: Any = redis.Redis  # redis-py's commands are not typed strictly
    client = clients.from_url(url)
    try:
        await client.execute_command("FLUSHALL", "SYNC")
        await client.execute_command("FUNCTION", "FLUSH", "SYNC")
    finally:
        await client.aclose()


@contextlib.asynccontextmanager
async def _peer(name: str, provider_url: str, log: Path) -> AsyncGenerator[Side]:
    port = free_port()
    settings = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": provider_url, "PORT": str(port)}
    with log.open("ab") as written:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", PEERS[name].module),
            env=environment(settings),
            stdout=written,
            stderr=written,
        )
    try:
        if not await _answers(port, process):
            raise ProcessError(f"{name} does not start: {_end_of(log)}")
        yield Side(
            name=name,
            pid=process.pid,
            place=Place(dialect="plain", url=f"http://127.0.0.1:{port}"),
            provider_url=provider_url,
        )
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-2_000:]


async def _answers(port: int, process: asyncio.subprocess.Process) -> bool:
    """Wait until somebody listens; whether somebody does, in time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_S):
            while process.returncode is None:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.1)
                else:
                    writer.close()
                    return True
    return False


@contextlib.asynccontextmanager
async def _provider(speech: Speech) -> AsyncGenerator[str]:
    """Run the fake provider in a process of its own; gives its address."""
    options = (
        *("--script", speech.script, "--tokens", str(speech.tokens)),
        *("--tokens-per-second", str(speech.per_second), "--first-token-s", "0.05"),
    )
    async with fake_provider(*options) as (url, _):
        yield url


async def bill(side: Side) -> dict[str, Any]:
    """Return what the side's provider delivered, call by call."""
    address = urlsplit(side.provider_url)._replace(path="/_control/bill").geturl()
    async with aiohttp.ClientSession() as http, http.get(address) as reply:
        found: dict[str, Any] = await reply.json()
        return found
