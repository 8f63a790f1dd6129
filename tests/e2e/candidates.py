"""A candidate that stays in its interview whatever happens to the servers."""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any
from uuid import uuid4

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from protocol import commands as c
from protocol import events as e
from protocol.client import ClientSession, Reconnect
from protocol.codec import Encoding
from protocol.ids import parse_event_id
from protocol.view import View

CONSENT = c.Consent(version="2026-01", at=1_795_000_000_000)
PATIENCE_S = 20.0


class Candidate:
    """`ClientSession` over real sockets; what it saw is kept for the test."""

    def __init__(
        self,
        url: str,
        interview_id: str,
        tickets: Callable[[], Awaitable[str]],
        encoding: Encoding,
    ) -> None:
        self.session = ClientSession(encoding, client="candidate")
        self.closes: list[int] = []
        self.held = 0
        """The last `seq` of the last connection that was closed."""
        self.seen: list[e.ServerMessage] = []
        self.answers: list[str] = []
        self._answered = 0
        self._url = f"{url.replace('http', 'ws', 1)}/api/interviews/{interview_id}/socket"
        self._encoding = encoding
        self._tickets = tickets
        self._socket: ClientConnection | None = None
        self._changed = asyncio.Condition()

    @property
    def view(self) -> View:
        return self.session.view

    def of(self, kind: type[Any]) -> list[Any]:
        """Every message of a type, in the order in which they came."""
        return [message for message in self.seen if isinstance(message, kind)]

    @property
    def sequence(self) -> list[int]:
        """Every `seq` that the durable events stood for, merged deltas spelt out."""
        covered: list[int] = []
        for event in self.of(e.Event):
            last = parse_event_id(event.id).seq
            first = (event.first if isinstance(event, e.TurnDelta) else None) or last
            covered.extend(range(first, last + 1))
        return covered

    @contextlib.asynccontextmanager
    async def present(self) -> AsyncGenerator[None]:
        """Be there, over any number of connections, until the end of the block."""
        async with asyncio.TaskGroup() as group:
            staying = group.create_task(self._stay())
            yield
            staying.cancel()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until a message made it so."""
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(holds)

    async def question(self) -> None:
        """Wait until the interviewer is in the middle of a turn."""

        def speaking() -> bool:
            turn = self.view.open
            return turn is not None and turn.speaker == "interviewer" and bool(turn.text)

        await self.until(speaking)

    async def start(self) -> None:
        await self.send(c.InterviewStart(id=str(uuid4()), consent=CONSENT))

    async def answer(self) -> bool:
        """Answer the next question; False where the interview ends instead."""

        def asked() -> bool:
            turn = self.view.open
            return turn is not None and turn.speaker == "candidate" and turn.turn > self._answered

        await self.until(lambda: asked() or self.view.over)
        if self.view.open is None:
            return False
        self._answered = self.view.open.turn
        self.answers.append(f"My answer in turn {self._answered}: naïve 日本語 👩🏽‍💻.")
        await self.send(c.AnswerSubmit(id=str(uuid4()), text=self.answers[-1]))
        return True

    async def send(self, command: c.Command) -> None:
        """Send it now, or with the next connection."""
        frames = self.session.send(command)
        if self._socket is not None:
            await self._out(self._socket, frames)

    async def _stay(self) -> None:
        ticket: str | None = await self._tickets()
        while True:
            code = await self._connection(ticket)
            after = self.session.connection_closed(code, random.random())
            assert isinstance(after, Reconnect), after
            await asyncio.sleep(after.after_s)
            ticket = await self._tickets() if after.needs_ticket else None

    async def _connection(self, ticket: str | None) -> int:
        """Have one connection; how it was closed."""
        offered: Any = [f"interview.v1.{self._encoding}"]
        try:
            async with connect(
                self._url, subprotocols=offered, compression=None, proxy=None, open_timeout=5
            ) as socket:
                self._socket = socket
                await self._out(socket, self.session.connection_opened(ticket))
                with contextlib.suppress(ConnectionClosed):  # its code is read below
                    while True:
                        await self._take(socket, await socket.recv())
        except (InvalidHandshake, OSError):  # the balancer found no instance
            return 1006
        finally:
            self._socket = None
        code = socket.close_code or 1006
        self.closes.append(code)
        self.held = self.view.head.seq
        return code

    async def _take(self, socket: ClientConnection, frame: str | bytes) -> None:
        received = self.session.receive(frame)
        assert received.misled is None, received.misled
        self.seen.append(received.message)
        await self._out(socket, received.frames)
        async with self._changed:
            self._changed.notify_all()

    async def _out(self, socket: ClientConnection, frames: list[bytes]) -> None:
        try:
            for frame in frames:
                await socket.send(frame, text=self._encoding == "json")
        except ConnectionClosed:
            return  # durable commands are kept, and go out with the next connection
