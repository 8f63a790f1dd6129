"""The client's side of the contract, sans I/O: frames in, frames and decisions out.

One `ClientSession` lives as long as its user wants the interview, over any number of connections.
It holds the view, the newest resume token and the durable commands that PostgreSQL does not have
yet; it knows what to send on each new connection, and after each close whether to come back, when,
and with what. It reads no clock and draws no random number.
"""

from collections import OrderedDict
from typing import NamedTuple

from protocol import commands as c
from protocol import events as e
from protocol.closes import Close, may_reconnect
from protocol.codec import Encoding, decode_server, encode
from protocol.ids import ORIGIN, EventId, parse_event_id
from protocol.view import CorruptTurnError, GapError, View

BACKOFF_S = 0.5
BACKOFF_CAP_S = 20.0
COMMANDS_KEPT = 10_000


class Reconnect(NamedTuple):
    """Come back after so many seconds; with a new ticket where ``needs_ticket``."""

    after_s: float
    needs_ticket: bool


class Stopped(NamedTuple):
    """Stay away: the interview is over, or this client is not wanted."""

    code: int


class Misled(NamedTuple):
    """What the server sent cannot be right: close this connection and open another.

    ``corrupt``: all of a turn has come and is not what its digest says; else something is missing.
    """

    reason: str
    corrupt: bool = False


class Received(NamedTuple):
    """What a frame held, what is to be sent now, and whether the connection is still good."""

    message: e.ServerMessage
    frames: list[bytes]
    misled: Misled | None = None


_Answers = c.SpeechFinal | c.AnswerSubmit | c.HintRequest
"""Commands that build an answer: their order matters, and so does the turn they were meant for."""


class _Kept:
    """A durable command on its way to PostgreSQL. ``turn`` is the answer it builds, 0 for none."""

    def __init__(self, command: c.DurableCommand, turn: int) -> None:
        self.command = command
        self.turn = turn
        self.sent = False
        self.effect: EventId | None = None


class ClientSession:
    """One interview as one client holds it."""

    def __init__(self, encoding: Encoding = "json", client: str | None = None) -> None:
        self.view = View()
        self.live = False
        self.resume_token: str | None = None
        self.heartbeat_s = 15.0
        self.stored = ORIGIN
        self._encoding: Encoding = encoding
        self._client = client
        self._known = False
        self._welcomed = False
        self._attempt = 0
        self._draining_s: float | None = None
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    @property
    def unanswered(self) -> list[str]:
        """The ids of durable commands that have no answer yet."""
        return [name for name, kept in self._kept.items() if kept.effect is None]

    @property
    def unstored(self) -> list[str]:
        """The ids of durable commands that would be sent again if Redis lost everything."""
        return list(self._kept)

    def connection_opened(self, ticket: str | None = None) -> list[bytes]:
        """Return the first frame of a connection: ``hello`` with the ticket or the resume token.

        Raises:
            ValueError: there is neither.
        """
        credential = ticket or self.resume_token
        if credential is None:
            raise ValueError("a first connection needs a ticket")
        self._welcomed = self.live = False
        last = str(self.view.head) if self._known and self.view.head.seq else None
        hello = c.Hello(credential=credential, last_event_id=last, client=self._client)
        return [encode(hello, self._encoding)]

    def send(self, command: c.Command) -> list[bytes]:
        """Return the frames to send for a command; a durable one is kept until it is stored.

        What builds an answer goes out one command at a time: one that has to be sent again would
        else be overtaken by those behind it, and the answer lack its first words.

        Raises:
            OverflowError: too many commands wait for PostgreSQL.
        """
        if isinstance(command, c.DurableCommand):
            if len(self._kept) >= COMMANDS_KEPT:
                raise OverflowError("too many commands wait to be stored")
            opened = self.view.open
            answers = isinstance(command, _Answers) and opened and opened.speaker == "candidate"
            self._kept[command.id] = _Kept(command, opened.turn if opened and answers else 0)
            return self._due()
        return [encode(command, self._encoding)] if self._welcomed else []

    def again(self, command_id: str) -> list[bytes]:
        """Return the frames that send a kept command once more: it timed out, or was retryable."""
        if command_id in self._kept:
            self._kept[command_id].sent = False
        return self._due()

    def receive(self, frame: str | bytes) -> Received:
        """Take a frame of the server.

        Raises:
            UndecodableError, MismatchError: it is no message of the contract.
        """
        return self.take(decode_server(frame, self._encoding))

    def take(self, message: e.ServerMessage) -> Received:
        """Take a message that was decoded already."""
        misled: Misled | None = None
        try:
            self._take(message)
        except (GapError, CorruptTurnError, ValueError) as error:
            self._known = False  # only a snapshot can mend it
            misled = Misled(str(error), isinstance(error, CorruptTurnError))
        due = isinstance(message, e.Welcome | e.Accepted | e.Rejected | e.TurnStarted)
        return Received(message, self._due() if due else [], misled)

    def connection_closed(self, code: int, random: float) -> Reconnect | Stopped:
        """Decide what follows a close. ``random`` in [0, 1) spreads the clients (full jitter)."""
        self._welcomed = self.live = False
        if not may_reconnect(code):
            return Stopped(code)
        if code == Close.CREDENTIAL:
            self.resume_token = None
        pause = self._draining_s
        if pause is None:
            pause = random * min(BACKOFF_CAP_S, BACKOFF_S * 2 ** min(self._attempt, 16))
        self._draining_s = None
        self._attempt += 1
        return Reconnect(pause, self.resume_token is None)

    def _take(self, message: e.ServerMessage) -> None:
        """Change what is held by what the server says.

        Raises:
            GapError, CorruptTurnError: the event does not continue the view.
            ValueError: an id that no log could have given, or a snapshot is missing.
        """
        match message:
            case e.Welcome():
                self._welcome(message)
            case e.Live():
                self.live = True
                self._attempt = 0
            case e.Stored(id=covered):
                self._store(parse_event_id(covered))
            case e.Accepted():
                self._accept(message)
            case e.Rejected(command_id=command_id, retryable=retryable):
                if not retryable:
                    self._kept.pop(command_id, None)
            case e.Draining(reconnect_after_ms=pause):
                self._draining_s = pause / 1000
            case e.RatingReady(id=""):
                pass  # in assessment mode: told to observers, no part of the log
            case e.Event():
                self.view.apply(message)
            case _:
                pass

    def _due(self) -> list[bytes]:
        """Return what is to be sent now of the commands that have no answer."""
        frames: list[bytes] = []
        building = False
        for kept in self._kept.values() if self._welcomed else ():
            if kept.effect is not None:
                continue
            if isinstance(kept.command, _Answers):
                if building or kept.turn > self._latest:
                    continue  # a session rebuilt from PostgreSQL asks that question again first
                building = True
            if not kept.sent:
                kept.sent = True
                frames.append(encode(kept.command, self._encoding))
        return frames

    @property
    def _latest(self) -> int:
        """The number of the newest turn that the view knows."""
        if self.view.open is not None:
            return self.view.open.turn
        return self.view.turns[-1].turn if self.view.turns else 0

    def _welcome(self, welcome: e.Welcome) -> None:
        self.resume_token = welcome.resume_token
        self.heartbeat_s = welcome.heartbeat_ms / 1000
        self._welcomed = True
        if welcome.snapshot is not None:
            self.view.replace(welcome.snapshot, parse_event_id(welcome.head))
            # What was accepted may be gone; its id makes sending it again harmless.
            for kept in self._kept.values():
                kept.effect = None
            self.stored = ORIGIN  # what it covered may be gone too, and its numbers used again
        elif not (welcome.recovered and self._known):
            raise ValueError("a client that holds nothing needs a snapshot")
        for kept in self._kept.values():
            kept.sent = False
        self._known = True

    def _accept(self, accepted: e.Accepted) -> None:
        kept = self._kept.get(accepted.command_id)
        if kept is not None:
            kept.effect = parse_event_id(accepted.id)
            self._drop_stored()

    def _store(self, covered: EventId) -> None:
        self.stored = covered
        self._drop_stored()

    def _drop_stored(self) -> None:
        done = [
            name
            for name, kept in self._kept.items()
            if kept.effect is not None and kept.effect.seq <= self.stored.seq
        ]
        for name in done:
            del self._kept[name]
