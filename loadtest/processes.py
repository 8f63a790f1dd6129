"""The processes under test: embedded servers, and instances that may be killed at any moment."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

import aiohttp

START_S = 30.0
STOP_S = 45.0
SECRET = "a secret of the harness, long enough"  # noqa: S105 - of servers that live for one run
_TIED = Path(__file__).with_name("tied.py")
_OWN = ("VIVA_", "OPENAI_", "REDIS_", "DATABASE_", "CACHE_")


class ProcessError(Exception):
    """A process did not start or stop as it should; the message ends with its last words."""


def free_port() -> int:
    """Return a port of the loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with exactly ``settings`` of viva's.

    Children find the packages that this one is of, and none of the same name that stands in the
    working directory, where ``-m`` looks first.
    """
    kept = {name: text for name, text in os.environ.items() if not name.startswith(_OWN)}
    root, given = str(Path(__file__).absolute().parent.parent), os.environ.get("PYTHONPATH")
    path = os.pathsep.join((root, given)) if given else root
    return {**kept, **settings, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}


def tied(*arguments: str) -> list[str]:
    """Return the command of a Python that ends with this process, even where that is killed."""
    return [
        *(sys.executable, "-I", "-S", str(_TIED), str(os.getpid())),
        *(sys.executable, *arguments),
    ]


class Served:
    """One instance, `viva serve`, on a port that it keeps over restarts."""

    def __init__(self, settings: Mapping[str, str], log: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        self._environment = environment({"VIVA_JWT_SECRET": SECRET, **settings})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process's id, 0 while there is none."""
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    async def start(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            ProcessError: it is not, within `START_S`.
        """
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - it forks and returns at once
                tied("-m", "server", "serve", "--port", str(self.port)),
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_S
        async with aiohttp.ClientSession() as session:
            while not await self._ready(session):
                if not self.running or time.monotonic() > deadline:
                    raise ProcessError(f"an instance does not start: {self.last_words()}")
                await asyncio.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL, at once; returns when the process is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self._process is not None:
            self._process.send_signal(number)

    async def ended(self, within_s: float = STOP_S) -> int:
        """Wait for its end and return its exit code.

        Raises:
            ProcessError: it goes on.
        """
        deadline = time.monotonic() + within_s
        while self._process is not None and self._process.poll() is None:
            if time.monotonic() > deadline:
                raise ProcessError(f"an instance does not end: {self.last_words()}")
            await asyncio.sleep(0.05)
        return self._process.returncode if self._process else 0

    def last_words(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace")[-2_000:] if self.log.exists() else ""

    async def _ready(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(f"{self.url}/health/ready") as reply:
                return reply.status == 200
        except (aiohttp.ClientError, OSError):
            return False


@contextlib.asynccontextmanager
async def services(directory: Path, *options: str) -> AsyncGenerator[dict[str, str]]:
    """Run the embedded servers; gives ``REDIS_URL`` and ``DATABASE_URL``, migrated.

    ``options`` are those of `viva services`.

    Raises:
        ProcessError: they do not start.
    """
    process = await asyncio.create_subprocess_exec(
        *tied("-m", "server", "services", "--data-dir", str(directory), *options),
        env=environment({}),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        urls = await asyncio.wait_for(_announced(process, "the embedded servers"), START_S)
        await migrate(urls)
        yield urls
    finally:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), STOP_S)


@contextlib.asynccontextmanager
async def fake_provider(*options: str) -> AsyncGenerator[tuple[str, int]]:
    """Run the fake provider in a process of its own; gives its address and its process id.

    ``options`` are those of `python -m loadtest.fakeopenai`.

    Raises:
        ProcessError: it does not start.
    """
    process = await asyncio.create_subprocess_exec(
        *tied("-m", "loadtest.fakeopenai", *options),
        env=environment({}),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        told = await asyncio.wait_for(_announced(process, "the fake provider"), START_S)
        yield told["OPENAI_BASE_URL"], process.pid
    finally:
        if process.returncode is None:
            process.kill()  # there is nothing that it would have to finish
            await process.wait()


async def migrate(urls: Mapping[str, str]) -> None:
    """Bring the schema up to date.

    Raises:
        ProcessError: it cannot be.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server", "migrate"),
        env=environment({**urls, "VIVA_JWT_SECRET": SECRET}),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, words = await asyncio.wait_for(process.communicate(), START_S)
    if process.returncode:
        raise ProcessError(words.decode(errors="replace"))


async def _announced(process: asyncio.subprocess.Process, title: str) -> dict[str, str]:
    assert process.stdout is not None  # noqa: S101 - it was asked for
    urls: dict[str, str] = {}
    async for line in process.stdout:
        name, _, value = line.decode().strip().partition("=")
        if name == "ready":
            return urls
        urls[name] = value
    raise ProcessError(f"{title} did not start")
