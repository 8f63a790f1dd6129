"""What both servers share: start on a kept port, get ready, stop within a bound, be killed."""

import abc
import asyncio
import signal
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import ClassVar

from server.embedded.directory import make_private
from server.embedded.errors import EmbeddedError, PortTakenError
from server.embedded.ports import free_port, is_free
from server.embedded.process import POLL_S, Child, Program, end_processes

_LOG_LIMIT = 8 << 20  # bytes; a longer log is put aside at the next start
_PORT_TRIES = 3


class Server(abc.ABC):
    """One server in one directory, used from one task at a time.

    `port` must be free at the first start; `preferred_port` is taken if it is. From then on the
    port is kept: `stop` or `kill`, then `start`, gives the same address and the same data.
    """

    title: ClassVar[str]
    ready_within_s: ClassVar[float]
    stop_signals: ClassVar[Sequence[tuple[signal.Signals, float]]]

    def __init__(
        self, directory: Path, *, port: int | None = None, preferred_port: int | None = None
    ) -> None:
        self.directory = directory.absolute()
        self._fixed_port = port
        self._preferred_port = preferred_port
        self.avoided: Collection[int] = ()
        """Ports that are for others, who do not listen on them yet."""
        self._child: Child | None = None

    @property
    def log(self) -> Path:
        """Where the server writes its log."""
        return self.directory / "server.log"

    @property
    def port(self) -> int:
        """The port on 127.0.0.1.

        Raises:
            EmbeddedError: It was never started.
        """
        if self._fixed_port is None:
            raise EmbeddedError(f"{self.title} was not started yet")
        return self._fixed_port

    @property
    def pid(self) -> int:
        """The process id of the running server.

        Raises:
            EmbeddedError: It is not started.
        """
        if self._child is None:
            raise EmbeddedError(f"{self.title} is not running")
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._child is not None and self._child.returncode is None

    @property
    def failure(self) -> str | None:
        """A sentence if the server ended although nobody called `stop` or `kill`."""
        if self._child is None or self._child.returncode is None:
            return None
        code = self._child.returncode
        return f"{self.title} ended unexpectedly (exit code {code}); its log is {self.log}"

    async def start(self) -> None:
        """Start and wait until it answers; nothing happens if it runs.

        What a crash left behind (a server that still runs, a stale pid file) is cleared away
        first: the caller must own the directory, see `directory.locked`.

        Raises:
            PortTakenError: A given or kept port is in use.
            EmbeddedError: It did not start; the sentence carries the last line of its log.
        """
        if self.running:
            return
        make_private(self.directory, ours=True)
        self._rotate_log()
        await self._prepare()
        for _ in range(_PORT_TRIES):
            port = self._choose_port()
            try:
                await self._launch(port)
            except PortTakenError:
                if self._fixed_port is not None:
                    raise
                continue
            self._fixed_port = port
            return
        raise EmbeddedError(f"{self.title} found no port that stays free")

    async def stop(self) -> None:
        """End it in order, then harder, then by SIGKILL; a cancelled stop kills at once."""
        if (child := self._child) is None:
            return
        try:
            for number, patience_s in self.stop_signals:
                child.send(number)
                if await child.gone(patience_s):
                    break
        finally:
            child.kill()
            self._child = None
        await self._end_leftovers(signal.SIGKILL)

    async def kill(self) -> None:
        """SIGKILL the server and everything it has forked, as a crash would."""
        if self._child is not None:
            self._child.kill()
            self._child = None
        await self._end_leftovers(signal.SIGKILL)

    async def restart(self) -> None:
        """`stop`, then `start` on the same port with the same data."""
        await self.stop()
        await self.start()

    async def _launch(self, port: int) -> None:
        child = self._child = Child(self._program(port))
        try:
            await self._wait_ready(child, port)
        except BaseException:
            child.kill()
            self._child = None
            raise

    async def _wait_ready(self, child: Child, port: int) -> None:
        deadline = time.monotonic() + self.ready_within_s
        while not await self._answers(child, port):
            if child.returncode is not None:
                raise self._refusal(child, port)
            if time.monotonic() > deadline:
                wait = f"{self.ready_within_s:.0f} s"
                raise EmbeddedError(f"{self.title} was not ready in {wait}; its log is {self.log}")
            await asyncio.sleep(POLL_S)

    def _refusal(self, child: Child, port: int) -> EmbeddedError:
        if not is_free(port):
            return PortTakenError(self.title, port)
        lines = child.output().strip().splitlines() or [f"exit code {child.returncode}"]
        telling = [line for line in lines if "FATAL" in line or "Fatal" in line or "rror" in line]
        return EmbeddedError(
            f"{self.title} did not start: {(telling or lines)[-1].strip()}; its log is {self.log}"
        )

    def _choose_port(self) -> int:
        if self._fixed_port is not None:
            if not is_free(self._fixed_port):
                raise PortTakenError(self.title, self._fixed_port)
            return self._fixed_port
        preferred, self._preferred_port = self._preferred_port, None
        if preferred is not None and preferred not in self.avoided and is_free(preferred):
            return preferred
        return free_port(self.avoided)

    def _rotate_log(self) -> None:
        if self.log.exists() and self.log.stat().st_size > _LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".log.1"))

    async def _end_leftovers(self, *numbers: signal.Signals) -> bool:
        return await end_processes(self.data, self._program_name(), *numbers)

    @property
    @abc.abstractmethod
    def data(self) -> Path:
        """The directory that the server works in."""

    @property
    @abc.abstractmethod
    def url(self) -> str:
        """The address with its password."""

    @abc.abstractmethod
    def _program_name(self) -> str:
        """The binary's name, as the kernel shows it."""

    @abc.abstractmethod
    async def _prepare(self) -> None:
        """Clear away what a crash left and make the data directory ready."""

    @abc.abstractmethod
    def _program(self, port: int) -> Program:
        """What to execute."""

    @abc.abstractmethod
    async def _answers(self, child: Child, port: int) -> bool:
        """Whether it serves clients now."""
