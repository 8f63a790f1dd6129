"""What comes behind a response's head: pushed to a sink, or pulled like any other stream."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import httpx2

HELD_BYTES = 256 * 1024
"""What nobody took yet may be so much; then the connection is not read."""


class Sink(Protocol):
    """Takes a body as it comes. Neither method may raise or block."""

    def data(self, chunk: bytes) -> None:
        """Take the next bytes."""

    def end(self, error: Exception | None) -> None:
        """Nothing follows; ``error`` where the body broke off."""


class Chunks(Protocol):
    """A body that can be listened to, once."""

    def listen(self, sink: Sink) -> None:
        """Push what has come and what will come to ``sink``."""
        ...


class Source(Protocol):
    """The connection beneath a body."""

    def pause(self) -> None:
        """Read no more for now."""

    def resume(self) -> None:
        """Read on."""

    def leave(self) -> None:
        """The body is of no more interest."""


class Body(httpx2.AsyncByteStream):
    """The body of one response. `listen` to it or iterate over it, then close it."""

    __slots__ = ("_closed", "_ended", "_error", "_held", "_news", "_sink", "_size", "_source")

    def __init__(self, source: Source) -> None:
        self._source = source
        self._sink: Sink | None = None
        self._held: list[bytes] = []
        self._size = 0
        self._ended = False
        self._error: Exception | None = None
        self._news: asyncio.Event | None = None
        """There while somebody pulls; few do."""
        self._closed = False

    def push(self, chunk: bytes) -> None:
        """Take bytes from the connection; those behind the end were not asked for."""
        if self._ended:
            return
        if self._sink is not None:
            self._sink.data(chunk)
            return
        self._held.append(chunk)
        self._size += len(chunk)
        if self._size > HELD_BYTES:
            self._source.pause()
        if self._news is not None:
            self._news.set()

    def finish(self, error: Exception | None) -> None:
        """Take the end from the connection. Only the first counts."""
        if self._ended:
            return
        self._ended, self._error = True, error
        if self._sink is not None:
            self._sink.end(error)
        if self._news is not None:
            self._news.set()

    def listen(self, sink: Sink) -> None:
        """See `Chunks.listen`."""
        while self._held:
            sink.data(self._held.pop(0))
        if self._ended:
            sink.end(self._error)
            return
        self._sink = sink
        self._source.resume()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Give the bytes as they come.

        Raises:
            httpx2.TransportError: the body broke off.
        """
        self._news = asyncio.Event()
        while True:
            while self._held:
                chunk = self._held.pop(0)
                self._size -= len(chunk)
                yield chunk
            if self._ended:
                break
            self._source.resume()
            self._news.clear()
            await self._news.wait()
        if self._error is not None:
            raise self._error

    async def aclose(self) -> None:
        """Give the connection back, or close it where the body has not ended."""
        self._sink = None
        if not self._closed:  # by now the connection may carry another's
            self._closed = True
            self._source.leave()


class _Pump:
    """Pushes what can only be pulled; whatever the stream raises ends it, and the sink is told."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self.task: asyncio.Task[None] | None = None

    def listen(self, sink: Sink) -> None:
        self.task = asyncio.create_task(self._run(sink))

    async def _run(self, sink: Sink) -> None:
        try:
            async for chunk in self._chunks:
                sink.data(chunk)
        except Exception as error:  # noqa: BLE001  # for the sink to judge
            sink.end(error)
        else:
            sink.end(None)


@asynccontextmanager
async def pumped(chunks: AsyncIterator[bytes]) -> AsyncGenerator[Chunks]:
    """Make a stream that can only be pulled one that pushes; leaving stops it."""
    pump = _Pump(chunks)
    try:
        yield pump
    finally:
        if pump.task is not None:
            pump.task.cancel()
            await asyncio.wait((pump.task,))
