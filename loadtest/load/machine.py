"""What the machine does besides: its CPU, and that of single processes; known on Linux."""

import os
import time
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


_WORK = 5_000
"""Steps of the work that `yardstick` times: half a millisecond to one."""


class Cpu(NamedTuple):
    """Seconds of all cores since the machine started."""

    whole: float
    idle: float
    stolen: float

    def busy_since(self, before: "Cpu") -> float:
        """Return the share that was in use."""
        whole = self.whole - before.whole
        return 1 - (self.idle - before.idle) / whole if whole > 0 else 0.0

    def stolen_since(self, before: "Cpu") -> float:
        """Return the share that other guests of the host took."""
        whole = self.whole - before.whole
        return (self.stolen - before.stolen) / whole if whole > 0 else 0.0


def cpu() -> Cpu | None:
    """Read `/proc/stat` (proc(5)): user nice system idle iowait irq softirq steal."""
    try:
        words = (_PROC / "stat").read_text().partition("\n")[0].split()[1:9]
    except OSError:
        return None
    times = [int(word) / _TICKS for word in words]
    return Cpu(sum(times), times[3] + times[4], times[7])


def yardstick() -> float:
    """Return the CPU time that a fixed piece of work takes right now, in microseconds.

    A core that shares its silicon with another, or with another guest of the host, does less in the
    same time, and no counter of the system tells.
    """
    began, total = time.thread_time_ns(), 0
    for step in range(_WORK):
        total += step * step
    return (time.thread_time_ns() - began) / 1000


def cpu_of(pid: int) -> float:
    """Return the seconds that a process used, 0 where it is not there."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def processes_of(mark: str) -> dict[int, str]:
    """Return the processes whose command line holds ``mark``, and their children, with names."""
    parents: dict[int, int] = {}
    names: dict[int, str] = {}
    found: set[int] = set()
    for folder in _PROC.glob("[0-9]*"):
        try:
            text = (folder / "stat").read_text()
            line = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        pid = int(folder.name)
        names[pid] = text.partition("(")[2].rpartition(")")[0]
        parents[pid] = int(text.rpartition(")")[2].split()[1])
        if mark.encode() in line:
            found.add(pid)
    for pid in names:
        line_of, above = [pid], parents.get(pid, 0)
        while above and above not in found and above in parents and above not in line_of:
            line_of.append(above)
            above = parents[above]
        if above in found:
            found.update(line_of)
    return {pid: names[pid] for pid in found}
