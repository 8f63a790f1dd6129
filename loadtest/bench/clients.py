"""Clients at the least cost, and what they heard: of a plain relay, and of viva."""

import asyncio
from abc import ABC, abstractmethod
from collections import Counter

import msgspec
from msgspec import Struct, field

from loadtest.load.view import StreamView
from loadtest.load.wire import Socket
from loadtest.stamps import MARK, ages_us, now_us
from protocol import commands as c
from protocol import events as e
from protocol.client import ClientSession
from protocol.view import GapError

PROMPT = b"Ask me."
ANSWER = "I moved the work out of the request, and measured it before and after."
_CONSENT = c.Consent(version="2026-01", at=1_795_000_000_000)
_mark = MARK.encode()
_decode = msgspec.json.Decoder[e.ServerMessage](e.ServerMessage).decode


class Piece(Struct):
    """A message of a plain relay: a ``delta`` with its text, or one without."""

    type: str = ""
    text: str = ""


_piece = msgspec.json.Decoder(Piece).decode


class Shared(Struct, kw_only=True):
    """What all clients of a process count together."""

    tokens: int = 0
    delays_us: list[int] = field(default_factory=list[int])
    wrong: Counter[str] = field(default_factory=Counter[str])


class Client(ABC):
    """One client, over all its connections. It is the owner of its socket."""

    path = "/relay"

    def __init__(self, shared: Shared) -> None:
        self.live = False
        self.heard = False
        """Whether there were any of the model's words."""
        self._shared = shared
        self._socket: Socket | None = None

    async def attach(self, socket: Socket) -> None:
        """Speak over a socket that is open; returns once the client has caught up."""
        self._socket = socket
        self.live = True

    def hang_up(self) -> None:
        """Break the connection."""
        if self._socket is not None:
            self._socket.abort()

    def closed(self, code: int) -> None:
        """See `loadtest.load.wire.Owner`."""
        del code
        self.live = False

    def _post(self, frame: bytes) -> None:
        if self._socket is not None:
            self._socket.send(frame)

    def _count(self, text: str) -> None:
        """Count tokens that tell when they were sent."""
        ages = ages_us(text, now_us()) if MARK in text else []
        self._shared.tokens += len(ages)
        self._shared.delays_us += ages

    @abstractmethod
    def received(self, payload: bytes) -> None:
        """See `loadtest.load.wire.Owner`."""

    @abstractmethod
    def speak(self) -> None:
        """Have the model speak."""

    @abstractmethod
    def texts(self) -> list[str]:
        """Return what the model said, turn by turn."""


class PlainClient(Client):
    """Sends a prompt and takes the pieces of one completion."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._pieces: list[str] = []

    def received(self, payload: bytes) -> None:
        """See `loadtest.load.wire.Owner`."""
        piece = _piece(payload)
        if piece.type == "delta":
            self.heard = True
            self._pieces.append(piece.text)
            self._count(piece.text)

    def speak(self) -> None:
        """See `Client.speak`."""
        self._post(PROMPT)

    def texts(self) -> list[str]:
        """See `Client.texts`."""
        return ["".join(self._pieces)] if self._pieces else []


class VivaClient(Client):
    """A candidate who answers as soon as the word is theirs; every event is held to what was."""

    def __init__(self, shared: Shared, path: str, ticket: str) -> None:
        super().__init__(shared)
        self.path = f"{path}/socket"
        self._ticket: str | None = ticket
        self._view = StreamView()
        self._session = ClientSession("json")
        self._session.view = self._view
        self._caught_up: asyncio.Future[None] | None = None
        self._beat: asyncio.TimerHandle | None = None
        self._answers = 0
        self._repeats = 0

    async def attach(self, socket: Socket) -> None:
        """See `Client.attach`."""
        self._socket = socket
        self._caught_up = asyncio.get_running_loop().create_future()
        ticket, self._ticket = self._ticket, None
        for frame in self._session.connection_opened(ticket):
            self._post(frame)
        await self._caught_up

    def closed(self, code: int) -> None:
        """See `loadtest.load.wire.Owner`."""
        super().closed(code)
        self._session.connection_closed(code, 0.0)
        if self._beat is not None:
            self._beat.cancel()
        if self._caught_up is not None and not self._caught_up.done():
            self._caught_up.set_exception(ConnectionResetError(f"closed with {code}"))

    def received(self, payload: bytes) -> None:
        """See `loadtest.load.wire.Owner`."""
        message = _decode(payload)
        if type(message) is e.TurnDelta:
            try:
                new = self._view.hear(message)
            except GapError:
                self._shared.wrong["gap"] += 1
                return
            opened = self._view.open
            if not new:
                self._count_repeats()
            elif opened is not None and opened.speaker == "interviewer":
                self.heard = True
                self._count(message.text)
            return
        self._take(message)

    def _count_repeats(self) -> None:
        more, self._repeats = self._view.repeats - self._repeats, self._view.repeats
        if more:
            self._shared.wrong["repeat"] += more

    def _take(self, message: e.ServerMessage) -> None:
        taken = self._session.take(message)
        for frame in taken.frames:
            self._post(frame)
        if taken.misled is not None:
            self._shared.wrong["misled"] += 1
        self._count_repeats()
        match message:
            case e.Live():
                self.live = True
                self._pulse()
                if self._caught_up is not None and not self._caught_up.done():
                    self._caught_up.set_result(None)
            case e.TurnStarted(speaker="candidate"):
                self._answers += 1
                self._give(c.AnswerSubmit(id=f"a{self._answers}", text=ANSWER))
            case e.Rejected(code=code):
                self._shared.wrong[f"rejected {code}"] += 1
            case _:
                pass

    def _pulse(self) -> None:
        def beat() -> None:
            for frame in self._session.send(c.Ping(nonce="beat")):
                self._post(frame)
            self._pulse()

        loop = asyncio.get_running_loop()
        self._beat = loop.call_later(self._session.heartbeat_s, beat)

    def _give(self, command: c.Command) -> None:
        for frame in self._session.send(command):
            self._post(frame)

    def speak(self) -> None:
        """See `Client.speak`."""
        self._give(c.InterviewStart(id="start", consent=_CONSENT))

    def texts(self) -> list[str]:
        """See `Client.texts`."""
        return [turn.text for turn in self._view.turns if turn.speaker == "interviewer"]
