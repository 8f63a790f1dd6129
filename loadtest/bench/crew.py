"""The process of clients, as seen by the one that measures."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator

import msgspec

from loadtest.bench.listeners import CHUNK, Order, Place, Told
from loadtest.processes import ProcessError, environment

ANSWER_S = 150.0
_LINE = 64 * 2**20


class Crew:
    """Gives orders; what went wrong is kept until somebody asks."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.wrong: dict[str, int] = {}

    async def order(self, order: Order) -> Told:
        """Have something done.

        Raises:
            ProcessError: the process is gone, or too slow.
        """
        return await self._ask(msgspec.json.encode(order))

    async def open(self, count: int) -> Told:
        """Have ``count`` more clients join, a few at a time: a ticket is good for 60 s."""
        told = Told()
        while count > 0:
            some = min(count, CHUNK)
            await self.order(Order(do="prepare", count=some))
            told = await self.order(Order(do="join", count=some))
            count -= some
        return told

    async def speak(self, count: int) -> Told:
        """Have the model speak to ``count`` more of those who are there."""
        return await self.order(Order(do="speak", count=count))

    async def read(self) -> Told:
        """Return what was heard since the order before."""
        return await self.order(Order(do="read"))

    async def _ask(self, line: bytes) -> Told:
        process = self._process
        assert process.stdin is not None  # noqa: S101 - both were asked for
        assert process.stdout is not None  # noqa: S101
        process.stdin.write(line + b"\n")
        answer = b""
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(ANSWER_S):
                answer = await process.stdout.readline()
        if not answer:
            raise ProcessError("the process of clients does not answer")
        told = msgspec.json.decode(answer, type=Told)
        for kind, count in told.wrong.items():
            self.wrong[kind] = self.wrong.get(kind, 0) + count
        return told


@contextlib.asynccontextmanager
async def crew(place: Place) -> AsyncGenerator[Crew]:
    """Run a process of clients for the body."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "loadtest.bench.listeners"),
        env=environment({}),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LINE,
    )
    assert process.stdin is not None  # noqa: S101 - it was asked for
    process.stdin.write(msgspec.json.encode(place) + b"\n")
    try:
        yield Crew(process)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
