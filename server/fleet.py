"""The instances that `viva up` runs: one process each, started again when one ends by itself."""

import asyncio
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from server.embedded import EmbeddedError
from server.embedded.process import Child, Program

READY_S = 30.0
GOODBYE_S = 20.0
"""How much longer than its turns may run on an instance may take to end: 1.5 s for balancers to
find out, 5 s each to release the turns (or 7 s for the sockets), to queue the last ledger rows and
to close what is left; and some to spare.
"""
POLL_S = 0.05
RESTART_S = 1.0
RESTART_CAP_S = 60.0
"""An instance that keeps ending is started again after a second, two, four … up to so many."""
LOG_TAIL = 2_000
"""So much of its log, in characters, is told of an instance that does not start."""
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Opens what is on this machine, which no proxy that the environment names can reach."""


class Member:
    """One instance on its port."""

    def __init__(
        self, port: int, data_dir: Path, environment: Mapping[str, str], stop_s: float
    ) -> None:
        self.port = port
        self.log = data_dir / f"instance-{port}.log"
        self._program = Program(
            binary=Path(sys.executable),
            arguments=["-m", "server", "serve", "--host", "127.0.0.1", "--port", str(port)],
            cwd=Path.cwd(),
            log=self.log,
            environment=environment,
            death_signal=signal.SIGTERM,
            argv0=sys.executable,
        )
        self._child: Child | None = None
        self._stop_s = stop_s
        self._started = 0.0
        self._ended: float | None = None
        self._pause_s = RESTART_S

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._child is not None and self._child.returncode is None

    @property
    def pid(self) -> int | None:
        """Its process id, None while it does not run."""
        return self._child.pid if self._child is not None and self.running else None

    def start(self) -> None:
        """Start the process.

        Raises:
            EmbeddedError: it cannot be, where the disk is full for one; with a sentence.
        """
        self._started, self._ended = time.monotonic(), None  # what fails is tried again when due
        try:
            self._child = Child(self._program)
        except OSError as error:
            raise EmbeddedError(
                f"the server on port {self.port} cannot be started ({error.strerror})"
            ) from None

    def due(self, now: float) -> bool:
        """Whether a process that ended is to be started again; notes when it was seen to end."""
        if self.running:
            return False
        if self._ended is None:
            self._ended = now
        return now >= self._started + self._pause_s

    def start_again(self) -> float:
        """Start the process anew; return when it would be started the next time, in seconds.

        Raises:
            EmbeddedError: it cannot be started; with a sentence.
        """
        ended = time.monotonic() if self._ended is None else self._ended
        lived = ended - self._started  # without the pause, which may be long
        longer = min(RESTART_CAP_S, 2 * self._pause_s)
        self._pause_s = RESTART_S if lived > RESTART_CAP_S else longer
        self.start()
        return self._pause_s

    async def ready(self) -> None:
        """Wait until the instance serves.

        Raises:
            EmbeddedError: it ended, or is not ready in time; the message holds the end of its log.
        """
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            if not self.running:
                raise EmbeddedError(f"the server ended while it started:\n{self._tail()}")
            if await asyncio.to_thread(_answers, self.port):
                return
            await asyncio.sleep(POLL_S)
        raise EmbeddedError(f"the server is not ready after {READY_S:.0f} s:\n{self._tail()}")

    def hurry(self) -> None:
        """Have it skip what is left of its drain, see `server.serving`; nothing if it is gone."""
        if self._child is not None:
            self._child.send(signal.SIGTERM)

    async def stop(self) -> None:
        """Drain and end it; killed where that takes too long."""
        if self._child is None:
            return
        self._child.send(signal.SIGTERM)
        if not await self._child.gone(self._stop_s):
            self._child.kill()

    def _tail(self) -> str:
        return self._child.output()[-LOG_TAIL:].strip() if self._child is not None else ""


class Fleet:
    """All instances of one `viva up`."""

    def __init__(
        self,
        ports: list[int],
        data_dir: Path,
        environment: Mapping[str, str],
        say: Callable[[str], None],
        *,
        drain_s: float,
    ) -> None:
        whole = {**os.environ, **environment, **_own_modules()}
        stop_s = drain_s + GOODBYE_S
        self.members = [Member(port, data_dir, whole, stop_s) for port in ports]
        self._say = say

    async def start(self) -> None:
        """Start all; returns when every one serves.

        Raises:
            EmbeddedError: one does not; with a sentence.
        """
        for member in self.members:
            member.start()
        await asyncio.gather(*(member.ready() for member in self.members))

    async def watch(self) -> None:
        """Start again what ends by itself, for ever."""
        while True:
            await asyncio.sleep(RESTART_S)
            for member in self.members:
                if member.due(time.monotonic()):
                    self._start_again(member)

    def _start_again(self, member: Member) -> None:
        try:
            pause = member.start_again()
        except EmbeddedError as error:
            self._say(f"{error}; it is tried again")
        else:
            self._say(
                f"the server on port {member.port} ended and is started again, the next"
                f" time after {pause:.0f} s; its log is {member.log}"
            )

    def hurry(self) -> None:
        """Have those that drain skip the rest."""
        for member in self.members:
            member.hurry()

    async def stop(self) -> None:
        """Drain and end all."""
        await asyncio.gather(*(member.stop() for member in self.members))


def _own_modules() -> dict[str, str]:
    """Return what has a child find this `server`, and none that stands in the working directory.

    ``-m`` looks there first, and the secrets are in the child's environment.
    """
    root = str(Path(__file__).absolute().parent.parent)
    given = os.environ.get("PYTHONPATH")
    path = os.pathsep.join((root, given)) if given else root
    return {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}


def _answers(port: int) -> bool:
    try:
        with _DIRECT.open(f"http://127.0.0.1:{port}/health/ready", timeout=2) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False
