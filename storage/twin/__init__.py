"""The live store in memory: the same answers as Redis, with a clock and faults of the caller's."""

from storage.twin.notify import TwinNotifier
from storage.twin.server import TwinServer, Wire
from storage.twin.store import Twin

__all__ = ["Twin", "TwinNotifier", "TwinServer", "Wire"]
