"""Cores that do not sleep while something is measured."""

import contextlib
import struct
from collections.abc import Generator
from pathlib import Path

DEVICE = Path("/dev/cpu_dma_latency")
_AT_ONCE = struct.pack("=i", 0)


@contextlib.contextmanager
def awake(*, wanted: bool = True, device: Path = DEVICE) -> Generator[bool]:
    """Keep idle cores of this machine from sleeping; gives whether they are kept from it.

    A server with time to spare sleeps and is woken thousands of times a second. A core that sleeps
    for so long is a figure of the machine: on a virtual one it goes back to the host each time, and
    how long the host takes to give it again counts as stolen. The system keeps all cores awake for
    as long as somebody who may (root, as a rule) holds the device open, and no longer. They take
    no CPU time from anybody, and are idle in all figures, but they do take power.

    Source: Linux, "PM Quality Of Service Interface", `/dev/cpu_dma_latency`.
    """
    with contextlib.ExitStack() as held:
        yield wanted and _asked(device, held)


def _asked(device: Path, held: contextlib.ExitStack) -> bool:
    try:
        held.enter_context(device.open("r+b", buffering=0)).write(_AT_ONCE)
    except OSError:  # not Linux, or not allowed
        return False
    return True
