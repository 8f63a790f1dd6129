"""A transport that goes nowhere: what was written to it, and what became of it."""

import asyncio
from typing import Any


class Line(asyncio.Transport):
    """The server's end of a connection. ``protocol`` is told when it is lost."""

    def __init__(self, protocol: Any = None) -> None:
        super().__init__()
        self.protocol = protocol
        self.sent = bytearray()
        self.ended = self.closed = self.aborted = False
        self.reading = True

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def write(self, data: Any) -> None:
        assert not self.ended
        self.sent += data

    def write_eof(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        self.aborted = True
        self.close()

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    @property
    def status(self) -> int:
        """The status that was answered, 0 as long as there is none."""
        return int(self.sent.split(b" ", 2)[1]) if self.sent else 0
