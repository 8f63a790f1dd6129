"""Readings of processes and of the machine; known on Linux."""

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from loadtest.bench.arithmetic import Noise
from loadtest.load import machine

_PROC = Path("/proc")
_KB = re.compile(r"^(Rss|Private_Clean|Private_Dirty):\s+(\d+) kB$", re.MULTILINE)


class Memory(NamedTuple):
    """Of a process, in bytes; ``own`` is what it shares with nobody (USS)."""

    whole: int
    own: int


def memory(pid: int) -> Memory:
    """Return what a process holds, 0 where it cannot be read."""
    try:
        text = (_PROC / str(pid) / "smaps_rollup").read_text()
    except OSError:
        return Memory(0, 0)
    kinds = {name: int(size) * 1024 for name, size in _KB.findall(text)}
    own = kinds.get("Private_Clean", 0) + kinds.get("Private_Dirty", 0)
    return Memory(kinds.get("Rss", 0), own)


def family(mark: str) -> set[int]:
    """Return this process, all below it, and those whose command line holds ``mark``."""
    found = set(machine.processes_of(mark)) if mark else set[int]()
    parents: dict[int, int] = {}
    for folder in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            parents[int(folder.name)] = int(fields[1])
    own = os.getpid()
    for pid in parents:
        above, passed = pid, set[int]()
        while above in parents and above != own and above not in passed:
            passed.add(above)  # an id may have been taken by another process meanwhile
            above = parents[above]
        if above == own:
            found.add(pid)
    return found


class Used(Struct, kw_only=True):
    """CPU seconds between two readings, by name, and how quiet the machine was."""

    seconds: float
    cpu: dict[str, float]
    noise: Noise


Groups = Callable[[], Mapping[str, Iterable[int]]]
"""Returns process ids by what they are; PostgreSQL has a process for each connection."""


class Meter:
    """Reads the CPU of named groups of processes, and of all that belong to the run.

    ``awake`` is whether idle cores are kept from sleeping meanwhile.
    """

    def __init__(self, groups: Groups, mark: str, *, awake: bool = True) -> None:
        self._groups = groups
        self._mark = mark
        self._awake = awake
        self._cpu = {pid: machine.cpu_of(pid) for pids in groups().values() for pid in pids}
        self._begin = time.monotonic()
        self._family = {pid: machine.cpu_of(pid) for pid in family(mark)}
        self._machine = machine.cpu()

    def used(self) -> Used:
        """Return what was used since it was made."""
        seconds, cpu, now = time.monotonic() - self._begin, self._since(), machine.cpu()
        ours = sum(
            max(0.0, machine.cpu_of(pid) - self._family.get(pid, 0.0)) for pid in family(self._mark)
        )
        foreign = stolen = 0.0
        if now is not None and self._machine is not None and seconds > 0:
            whole = now.whole - self._machine.whole
            busy = now.busy_since(self._machine) * whole
            stolen = now.stolen_since(self._machine)
            foreign = max(0.0, busy - stolen * whole - ours) / seconds
        return Used(
            seconds=seconds,
            cpu=cpu,
            noise=Noise(foreign, stolen, self._awake),
        )

    def _since(self) -> dict[str, float]:
        """Return what each group used; one that came meanwhile used all that it has."""
        return {
            name: sum(max(0.0, machine.cpu_of(pid) - self._cpu.get(pid, 0.0)) for pid in pids)
            for name, pids in self._groups().items()
        }
