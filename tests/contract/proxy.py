"""A TCP proxy in front of a server, which can go silent or cut its connections."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from urllib.parse import urlsplit


class Proxy:
    """Passes bytes on while ``passing`` is set; a black hole otherwise. ``mute`` loses replies."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 0)
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.passing = asyncio.Event()
        self.passing.set()
        self.mute = False
        self.port = 0
        self.connections = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def open(self) -> int:
        return len(self._writers) // 2

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections, and cut those there are."""
        if self._server is not None:
            self._server.close()
            self.cut()
            await self._server.wait_closed()
            self._server = None

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        onward, back = await asyncio.open_connection(*self._target)
        pair = {writer, back}
        self._writers |= pair
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, back, pair, answers=False))
                group.create_task(self._pump(onward, writer, pair, answers=True))
        finally:
            self._writers -= pair

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pair: set[asyncio.StreamWriter],
        *,
        answers: bool,
    ) -> None:
        with contextlib.suppress(ConnectionError, RuntimeError):  # uvloop's, of a write too late
            while data := await reader.read(65_536):
                await self.passing.wait()
                if not (answers and self.mute):
                    writer.write(data)
                    await writer.drain()
        for each in pair:
            each.transport.abort()


@contextlib.asynccontextmanager
async def proxied(target: str) -> AsyncGenerator[Proxy]:
    proxy = Proxy(target)
    await proxy.start()
    try:
        yield proxy
    finally:
        proxy.passing.set()
        await proxy.stop()
