"""Cores that do not sleep while something is measured."""

import contextlib
import os
import struct
from collections.abc import Generator
from pathlib import Path

DEVICE = Path("/dev/cpu_dma_latency")
IDLE = Path("/sys/devices/system/cpu/cpu0/cpuidle/state0/name")
"""What an idle core does that may lose no time; there is none where the system has no choice."""
REFUSED = f"this run could not keep idle cores awake ({DEVICE})"
"""What may be why much was stolen."""
_NO_TIME = struct.pack("=i", 0)


@contextlib.contextmanager
def awake(*, wanted: bool = True, device: Path = DEVICE, idle: Path = IDLE) -> Generator[bool]:
    """Keep idle cores of this machine from sleeping; gives whether they are kept from it.

    A server with time to spare sleeps and is woken thousands of times a second. On a virtual
    machine a core that sleeps goes back to the host, and how long the host takes to give it again
    counts as stolen. As long as somebody who may (root, as a rule) holds the device open, an idle
    core goes round instead. No process of this machine waits for it, and it is idle in all figures,
    but it takes power, and the half of a core that it shares with another.

    Source: Linux, "PM Quality Of Service Interface", `/dev/cpu_dma_latency`.
    """
    with contextlib.ExitStack() as held:
        yield wanted and _polls(idle) and _asked(device, held)


def _polls(idle: Path) -> bool:
    """Whether a core can go round: else the device is written to, and changes nothing."""
    try:
        return idle.read_text().strip() == "POLL"
    except OSError:
        return False


def _asked(device: Path, held: contextlib.ExitStack) -> bool:
    try:
        descriptor = os.open(device, os.O_WRONLY)
        held.callback(os.close, descriptor)
        os.write(descriptor, _NO_TIME)
    except OSError:  # not Linux, or not allowed
        return False
    return True
