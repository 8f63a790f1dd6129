"""A transport whose writes of one turn of the loop leave in one system call.

uvicorn writes an answer's head and its body one after the other, and each is sent at once: a second
system call, and often a second packet, for every answer of the API.
"""

import asyncio
from typing import Any


class Joined:
    """Stands before a transport; all but what is told here is the transport's own."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.transport = transport
        self._loop = loop
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

    def write(self, data: bytes) -> None:
        """Send soon, together with what else is written until then."""
        if not self._parts:
            self._loop.call_soon(self.flush)
        self._parts.append(data)

    def flush(self) -> None:
        """Send now what was written."""
        parts, self._parts = self._parts, []
        if parts:
            self.transport.write(parts[0] if len(parts) == 1 else b"".join(parts))

    def write_eof(self) -> None:
        """See `asyncio.WriteTransport.write_eof`."""
        self.flush()
        self.transport.write_eof()

    def close(self) -> None:
        """See `asyncio.BaseTransport.close`: what was written is sent before."""
        self.flush()
        self.transport.close()

    def abort(self) -> None:
        """See `asyncio.WriteTransport.abort`: what was written is lost."""
        self._parts.clear()
        self.transport.abort()
