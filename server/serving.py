"""One instance behind uvicorn: its listener, its signals, its end.

uvicorn closes sockets with 1012 before the lifespan ends, so draining comes first: the first
SIGTERM or SIGINT drains, and only then uvicorn is told to exit. A second one skips the rest, if it
comes `AGAIN_S` later: the kernel may tell of one death of a parent with threads several times.
One that comes earlier, while the instance is put together, is noted until `Host.run` takes it:
asyncio's own answer, to cancel the main task, would leave the lifespan's tasks to themselves.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Generator
from functools import partial
from typing import Any

import uvicorn

from protocol.limits import LIMITS
from server.frames import Frames
from server.intake import Bounds, Intake
from server.pings import Pings
from server.signals import Signals

SEND_BUFFER_BYTES = 64 * 1024
"""A small kernel buffer, so that a client that does not read is felt early."""
USER_TIMEOUT_MS = 20_000
"""TCP_USER_TIMEOUT (RFC 5482): frees a socket whose peer acknowledges nothing any more."""
BACKLOG = 4096
CLOSE_S = 5
AGAIN_S = 0.5
"""Signals that come sooner behind the first say no more than that one."""
PLAIN_CONNECTIONS = 1000
"""Connections beside the WebSockets that are let in: requests, and sockets that still knock."""


class ListenError(Exception):
    """The address cannot be listened on; the message says why."""


def listen(host: str, port: int, *, reuse_port: bool = False) -> socket.socket:
    """Open the instance's listener; accepted sockets inherit its options.

    Raises:
        ListenError: the port is taken, or the address is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ListenError(f"{host}:{port} cannot be listened on ({error.strerror})") from None
    return listener


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


class Host:
    """Runs an ASGI app until a signal, or until `fail` is called."""

    def __init__(self, app: Any, listener: socket.socket, *, sockets: int) -> None:
        """``sockets`` is how many WebSockets the app lets in: plain requests get room beside."""
        protocol: Any = partial(Intake, Bounds(connections=sockets + PLAIN_CONNECTIONS))
        frames: Any = partial(Frames, Pings())
        self._listener = listener
        self._server = _Server(
            uvicorn.Config(
                app,
                ws=frames,
                http=protocol,
                ws_max_size=LIMITS.frame_bytes,
                ws_per_message_deflate=False,
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=CLOSE_S,
            )
        )
        self._stop = asyncio.Event()
        self._signalled_at: float | None = None
        self.failed = False

    @property
    def started(self) -> bool:
        """Whether the app's lifespan began and the listener accepts."""
        return self._server.started

    def fail(self) -> None:
        """End at once: a part that everything needs has failed."""
        self.failed = True
        self._server.should_exit = True
        self._stop.set()

    async def run(self, signals: Signals, drain: Any) -> int:
        """Serve; at the first signal await ``drain()``, then exit. Returns the exit code."""
        with signals.taken(self._signalled):
            if self._stop.is_set():  # told to end before it began
                self._listener.close()
                await drain()
                return 0
            async with asyncio.TaskGroup() as group:
                leaving = group.create_task(self._leave(drain))
                await self._server.serve(sockets=[self._listener])
                leaving.cancel()
        return 1 if self.failed or not self._server.started else 0

    def _signalled(self) -> None:
        now = time.monotonic()
        self._stop.set()
        if self._signalled_at is None:
            self._signalled_at = now
        elif now - self._signalled_at >= AGAIN_S:
            self._server.force_exit = self._server.should_exit = True

    async def _leave(self, drain: Any) -> None:
        await self._stop.wait()
        if not self.failed:
            await drain()
        self._server.should_exit = True
