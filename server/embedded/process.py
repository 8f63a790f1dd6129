"""One child process: started through `launch.py`, watched by polling, ended within a bound.

It uses plain `Popen` and short polls rather than asyncio's subprocesses, so that a server belongs
to no event loop: a test session starts it in one loop and restarts it from another.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from server.embedded.directory import open_log
from server.embedded.errors import EmbeddedError

POLL_S = 0.01
_LAUNCHER = Path(__file__).with_name("launch.py")
_COMM_LENGTH = 15  # the kernel keeps this much of a program's name, proc(5)


@dataclass(frozen=True, slots=True)
class Identity:
    """The user a server runs as."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to execute and how.

    `cwd` is entered before root is dropped, so the child may live in a directory that its user
    cannot reach by path. `death_signal` is what the kernel sends it when the starting thread ends.
    """

    binary: Path
    arguments: Sequence[str]
    cwd: Path
    log: Path
    environment: Mapping[str, str]
    identity: Identity | None = None
    death_signal: signal.Signals = signal.SIGKILL
    argv0: str | None = None

    def command(self) -> list[str]:
        """The launcher's command line."""
        who = self.identity
        prefix = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid())]
        prefix += [str(int(self.death_signal)), str(who.uid if who else -1)]
        prefix += [str(who.gid if who else -1), self.argv0 or self.binary.name]
        return [*prefix, str(self.binary), *self.arguments]


class Child:
    """A running `Program`. The session of its own keeps a terminal's Ctrl-C away from it."""

    def __init__(self, program: Program, stdin: IO[bytes] | int | None = None) -> None:
        self._log = program.log
        self._log_start = program.log.stat().st_size if program.log.exists() else 0
        with open_log(program.log) as log:
            self._popen = subprocess.Popen(  # noqa: S603 - our own binaries and arguments
                program.command(),
                cwd=program.cwd,
                env=dict(program.environment),
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id, the same before and after the launcher's exec."""
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._popen.poll()

    def send(self, number: signal.Signals) -> None:
        """Signal it; nothing happens if it is gone."""
        self._popen.send_signal(number)

    async def gone(self, within_s: float) -> bool:
        """Wait until it has ended; False when it still runs after `within_s` seconds."""
        deadline = time.monotonic() + within_s
        while self._popen.poll() is None:
            if time.monotonic() >= deadline:
                return False
            await asyncio.sleep(POLL_S)
        return True

    def kill(self) -> None:
        """SIGKILL it with what it has forked, without an await: the last resort of a stop.

        Raises:
            EmbeddedError: The kernel did not end it within 5 s (it hangs in a system call).
        """
        if self._popen.poll() is None:  # not reaped, so the group's id is still its own
            os.killpg(self.pid, signal.SIGKILL)
        try:
            self._popen.wait(5)
        except subprocess.TimeoutExpired:
            raise EmbeddedError(f"process {self.pid} does not end, not even by SIGKILL") from None

    def output(self) -> str:
        """What it has logged since it was started (at most the last 64 KiB)."""
        with self._log.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start, end - 65536))
            return log.read().decode(errors="replace")


def processes_in(directory: Path, program: str) -> list[int]:
    """Ids of the processes called `program` whose working directory is `directory`.

    Servers stay in their data directory, so this finds what a crash left there with a certainty
    that no pid file has: a recycled pid is never mistaken for a server. Empty without a /proc.
    """
    try:
        entries = os.listdir("/proc")  # noqa: PTH208 - names are all that is needed
        home = directory.stat()
    except OSError:
        return []
    return [
        int(name)
        for name in entries
        if name.isdigit() and _works_in(name, home, program[:_COMM_LENGTH])
    ]


def _works_in(pid: str, home: os.stat_result, comm: str) -> bool:
    process = Path("/proc") / pid
    try:
        if process.joinpath("comm").read_text().rstrip("\n") != comm:
            return False
        return os.path.samestat(process.joinpath("cwd").stat(), home)
    except OSError:  # gone, or another user's
        return False


async def end_processes(directory: Path, program: str, *numbers: signal.Signals) -> bool:
    """End every process of `processes_in`, by `numbers` in turn, 3 s each; True if there were any.

    Raises:
        EmbeddedError: Some are left after the last signal.
    """
    if not (left := processes_in(directory, program)):
        return False
    for number in numbers:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            if not (left := processes_in(directory, program)):
                return True
            await asyncio.sleep(POLL_S)
    raise EmbeddedError(f"{program} (pid {left[0]}) still runs in {directory} and does not end")
