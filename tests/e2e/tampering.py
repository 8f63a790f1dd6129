"""A proxy that is no good: it drops or repeats one event on its way to the client."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Literal

How = Literal["drop", "repeat"]


class Tampering:
    """Between a client and an instance, frame by frame: it tampers with one in ``every`` deltas."""

    def __init__(self, port: int, how: How, every: int) -> None:
        self._port = port
        self._how = how
        self._every = every
        self._deltas = 0
        self.tampered = 0
        self._serving: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[str]:
        """Serve; gives the address."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        async with server:
            try:
                yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            finally:
                for task in self._serving:
                    task.cancel()
                await asyncio.gather(*self._serving, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            async with asyncio.TaskGroup() as group:
                up = group.create_task(_copy(reader, back))
                await self._down(there, writer)
                up.cancel()
        except* OSError:
            pass
        finally:
            back.close()
            writer.close()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Copy plain HTTP as it is, and a WebSocket's frames one by one."""
        with contextlib.suppress(asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n")
            writer.write(head)
            if b" 101 " not in head:
                await _copy(reader, writer)
                return
            writer.write(await reader.readuntil(b"\r\n\r\n"))
            while True:
                for frame in self._tampered(await _frame(reader)):
                    writer.write(frame)
                await writer.drain()

    def _tampered(self, frame: bytes) -> list[bytes]:
        if b'"type":"turn.delta"' not in frame:
            return [frame]
        self._deltas += 1
        if self._deltas % self._every:
            return [frame]
        self.tampered += 1
        return [] if self._how == "drop" else [frame, frame]


async def _frame(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(2)
    length = head[1]
    if length > 125:
        more = await reader.readexactly(2 if length == 126 else 8)
        head, length = head + more, int.from_bytes(more, "big")
    return head + await reader.readexactly(length)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
