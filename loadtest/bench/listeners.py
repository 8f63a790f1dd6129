"""A process of clients: `python -m loadtest.bench.listeners`, orders in, what was heard out.

Its `Place` is the first line of standard input, then an `Order` a line; each is answered by one
line, what was heard since the order before. Nobody else's CPU is counted as the server's.
"""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeVar
from urllib.parse import urlsplit

import msgspec
import uvloop
from msgspec import Struct

from loadtest.bench.clients import Client, PlainClient, Shared, VivaClient
from loadtest.load.api import Api, ApiError, connect
from loadtest.load.keys import Keys
from loadtest.load.wire import HandshakeError, Socket

PLAN = {"type": "behavioral", "role": "Engineer", "duration_minutes": 60}
AT_ONCE = 25
"""So many join at a time."""
CHUNK = 250
"""So many tickets are asked for before they are used: one is good for 60 s."""
JOIN_S = 20.0
SPEAK_S = 60.0
_POLL_S = 0.02
_SUBPROTOCOL = "interview.v1.json"
_T = TypeVar("_T")


class Place(Struct, frozen=True, kw_only=True):
    """Where the clients go, and what is spoken there."""

    dialect: Literal["plain", "viva"]
    url: str
    secret: str = ""


class Order(Struct, frozen=True, kw_only=True):
    """What is to be done with ``count`` clients."""

    do: Literal["prepare", "join", "speak", "resume", "read", "texts"]
    count: int = 0


class Told(Struct, kw_only=True):
    """What was heard since the last order, and how things are."""

    tokens: int = 0
    connected: int = 0
    delays_us: list[int] = []
    """The median and the 99th percentile of the time from the provider to the client."""
    wrong: dict[str, int] = {}
    texts: list[list[str]] = []


class Listeners:
    """All clients of the process."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._url = urlsplit(place.url)
        self._api = Api([place.url])
        self._keys = Keys(urls=[place.url], secret=place.secret, names="bench-")
        self._shared = Shared()
        self._clients: list[Client] = []
        self._joined = 0
        self._speaking = 0

    async def follow(self, order: Order) -> Told:
        """Do as told."""
        match order.do:
            case "prepare":
                await self._each(range(order.count), self._prepare)
            case "join":
                due = self._clients[self._joined : self._joined + order.count]
                self._joined += len(due)
                await self._each(due, self._join)
            case "speak":
                await self._speak(order.count)
            case "resume":
                await self._resume()
            case "read" | "texts":
                pass
        return self._told(texts=order.do == "texts")

    def _told(self, *, texts: bool) -> Told:
        shared = self._shared
        told = Told(
            tokens=shared.tokens,
            connected=sum(client.live for client in self._clients),
            delays_us=_percentiles(shared.delays_us),
            wrong=dict(shared.wrong),
            texts=[client.texts() for client in self._clients] if texts else [],
        )
        shared.tokens = 0
        shared.delays_us.clear()
        shared.wrong.clear()
        return told

    async def _prepare(self, number: int) -> None:
        """Make what a client joins; on a plain relay there is nothing to make."""
        if self._place.dialect == "plain":
            self._clients.append(PlainClient(self._shared))
            return
        headers = self._keys.headers(f"{len(self._clients)}-{number}")
        try:
            made = await self._api.ask(0, "POST", "/api/interviews", headers, PLAN)
            path = f"/api/interviews/{made.value('id')}"
            reply = await self._api.ask(0, "POST", f"{path}/tickets", headers, {})
            ticket = reply.value("ticket")
        except ApiError as error:
            self._shared.wrong[error.kind] += 1
            return
        self._clients.append(VivaClient(self._shared, path, ticket))

    async def _join(self, client: Client) -> None:
        """Open a socket and wait until its client has caught up."""
        socket = Socket(client, self._url, client.path, _SUBPROTOCOL)
        try:
            async with asyncio.timeout(JOIN_S):
                await connect(self._url, lambda: socket)
                await socket.opened
                await client.attach(socket)
        except (HandshakeError, OSError, TimeoutError) as error:
            socket.opened.cancel()
            socket.abort()
            self._shared.wrong[f"join: {type(error).__name__}"] += 1

    async def _speak(self, count: int) -> None:
        """Have ``count`` more clients be spoken to, and wait for the first words of each."""
        due = self._clients[self._speaking : self._speaking + count]
        self._speaking += len(due)
        for client in due:
            client.speak()
            await asyncio.sleep(0.002)  # they do not all begin in one moment
        try:
            async with asyncio.timeout(SPEAK_S):
                while not all(client.heard for client in due):  # noqa: ASYNC110 - no event a token
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            self._shared.wrong["silent"] += sum(not client.heard for client in due)

    async def _resume(self) -> None:
        """Break every connection, as a network does, and come back."""
        back = [client for client in self._clients if client.live]
        for client in back:
            client.hang_up()
        async with asyncio.timeout(JOIN_S):
            while any(client.live for client in back):  # noqa: ASYNC110 - a moment only
                await asyncio.sleep(_POLL_S)
        await self._each(back, self._join)

    async def _each(self, things: Sequence[_T], do: Callable[[_T], Awaitable[None]]) -> None:
        waiting = iter(things)

        async def work() -> None:
            for thing in waiting:
                await do(thing)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(AT_ONCE, len(things))):
                group.create_task(work())


def _percentiles(delays: list[int]) -> list[int]:
    if not delays:
        return []
    ordered = sorted(delays)
    return [ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]]


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    listeners = Listeners(msgspec.json.decode(await lines.readline(), type=Place))
    while line := await lines.readline():
        told = await listeners.follow(msgspec.json.decode(line, type=Order))
        sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it ends it
    uvloop.run(_serve())
