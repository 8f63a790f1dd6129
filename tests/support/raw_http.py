"""A real HTTP server that sends exactly the bytes it was told to, one script per request."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec
from msgspec import Struct

Step = bytes | float
"""Send bytes as one chunk, or wait seconds."""


class Request(Struct):
    """What a client sent."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    def json(self) -> dict[str, object]:
        return msgspec.json.decode(self.body, type=dict[str, object])


class Reply(Struct):
    """What the server sends back; ``cut`` breaks the connection off behind the last step."""

    steps: Sequence[Step] = ()
    status: int = 200
    headers: dict[str, str] = {}
    cut: bool = False


Answer = Callable[[Request], Reply]


class RawServer:
    """What was asked, and which connections the clients have closed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[Request] = []
        self.connections = 0
        self.gone = asyncio.Semaphore(0)
        """Released once for each connection that a client closed."""


@asynccontextmanager
async def raw_server(answer: Answer) -> AsyncGenerator[RawServer]:
    """Serve on a free loopback port until the end of the block."""
    writers = set[asyncio.StreamWriter]()
    ended = asyncio.Event()
    ended.set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.connections += 1
        number = running.connections
        writers.add(writer)
        ended.clear()
        try:
            while (request := await _read(reader, number)) is not None:
                running.requests.append(request)
                if not await _reply(reader, writer, answer(request)):
                    break
            running.gone.release()
        except ConnectionError:
            running.gone.release()
        finally:
            writers.discard(writer)
            writer.close()
            if not writers:
                ended.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    running = RawServer(f"http://127.0.0.1:{port}/v1")
    try:
        yield running
    finally:
        server.close()
        for writer in tuple(writers):
            writer.transport.abort()
        await server.wait_closed()
        async with asyncio.timeout(5):
            await ended.wait()


async def _read(reader: asyncio.StreamReader, connection: int) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.strip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, value in (x.split(":", 1) for x in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, target, headers, body, connection)


async def _reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reply: Reply) -> bool:
    """Send ``reply``; whether the connection can be used again."""
    headers = {"content-type": "text/event-stream", "transfer-encoding": "chunked"} | reply.headers
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"HTTP/1.1 {reply.status} Whatever\r\n{lines}\r\n".encode())
    for step in reply.steps:
        if isinstance(step, bytes):
            writer.write(b"%x\r\n%b\r\n" % (len(step), step))
            await writer.drain()
        elif await _left(reader, step):
            return False
    if reply.cut:
        writer.transport.abort()
        return False
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    return True


async def _left(reader: asyncio.StreamReader, seconds: float) -> bool:
    """Wait; whether the client closed the connection meanwhile."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            return await reader.read(1) == b""
    return False
