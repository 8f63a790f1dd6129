"""A server made of the pure parts, and a candidate who always answers alike.

The server keeps one log and decides by the machine; whoever joins is sent what `protocol.resume`
decides. Nothing here waits: `Server.advance` lets the interviewer say one more piece.
"""

from collections import Counter
from typing import Any

from protocol import commands as c
from protocol import events as e
from protocol.client import ClientSession
from protocol.codec import (
    Encoding,
    decode_command,
    decode_hello,
    encode,
    event_body,
    event_frame,
    read_body,
)
from protocol.effects import Emit, Keep, Reject
from protocol.ids import ORIGIN, EventId
from protocol.limits import HEARTBEAT_MS, LIMITS
from protocol.machine import Finished, Input, Received, Reported, transition
from protocol.plan import Plan
from protocol.resume import fit, last_event_id, merge
from protocol.session import Session, Turn, snapshot

AT = 1_700_000_000_000
TICKET = "ticket"
PIECES = ("Wie ", "zähmt ", "man 🦁", "?")
CANCELLED = 3
"""The turn that the candidate interrupts, after ``HEARD`` code points."""
HEARD = 5


class Server:
    """One interview, as every instance sees it."""

    def __init__(self) -> None:
        plan = Plan(type="technical", role="r", duration_minutes=15)
        self.session = Session(interview_id="i", user_id="u", created_at=AT, plan=plan)
        self.turns: list[Turn] = []
        self.log: list[tuple[EventId, bytes]] = []
        self.head = ORIGIN
        self.text = ""
        self.answers: dict[str, tuple[c.DurableCommand, e.Accepted | e.Rejected]] = {}
        self.commands: Counter[str] = Counter()
        self.tokens = {TICKET}

    def command(self, command: c.DurableCommand) -> e.Accepted | e.Rejected:
        """Decide a command, once."""
        known = self.answers.get(command.id)
        if known is not None:
            first, answer = known
            assert first == command, "a client repeats what it said"
            if isinstance(answer, e.Accepted):
                return e.Accepted(command_id=command.id, id=answer.id, duplicate=True)
            return answer
        reject = self.take(Received(command=command, at=AT, logged=self.text))
        if reject is None:
            self.commands[command.id] += 1
            answer = e.Accepted(command_id=command.id, id=str(self.head), duplicate=False)
        else:
            answer = e.Rejected(
                command_id=command.id,
                code=reject.code,
                message=reject.message,
                retryable=reject.retryable,
            )
        if reject is None or not reject.retryable:
            self.answers[command.id] = (command, answer)
        return answer

    def take(self, happened: Input) -> Reject | None:
        self.session, effects = transition(self.session, happened)
        for effect in effects:
            match effect:
                case Emit(event=event):
                    self.append(event)
                case Keep(turn=turn):
                    self.turns.append(turn)
                    self.text = ""
                case Reject():
                    return effect
                case _:
                    pass
        return None

    def append(self, event: Any) -> None:
        body = event_body(event)
        self.head = self.head.after(body)
        self.log.append((self.head, body))

    def advance(self) -> bool:
        """Let the server do one step more: a piece of the interviewer's, or the report."""
        opened = self.session.open
        if self.session.over and self.session.report is None:
            self.take(Reported(report_id="r-1", at=AT))
            return True
        if opened is None or opened.speaker != "interviewer":
            return False
        said = next((n for n in range(len(PIECES)) if self.text == "".join(PIECES[:n])), None)
        turn, attempt = opened.turn, opened.attempt
        if said is None:
            done = Finished(turn=turn, attempt=attempt, text=self.text, at=AT, source="model")
            self.take(done)
            return True
        piece = PIECES[said]
        offset, self.text = len(self.text), self.text + piece
        self.append(e.TurnDelta(turn=turn, attempt=attempt, offset=offset, text=piece))
        return True

    def trim(self) -> None:
        """Forget the log, as its server may: those who come back get a snapshot."""
        self.log.clear()


class Link:
    """The server's end of one connection."""

    def __init__(self, server: Server, encoding: Encoding) -> None:
        self.server = server
        self.encoding: Encoding = encoding
        self.position = ORIGIN
        self.recovered = False
        self._welcomed = False
        self._waiting: list[e.Accepted] = []

    def receive(self, frame: bytes) -> list[bytes]:
        """Take a frame of the client; return what it is answered."""
        given = frame.decode() if self.encoding == "json" else frame
        if not self._welcomed:
            return self._welcome(decode_hello(given, self.encoding))
        command = decode_command(given, self.encoding)
        assert isinstance(command, c.DurableCommand)
        answer = self.server.command(command)
        if isinstance(answer, e.Rejected):
            return [encode(answer, self.encoding)]
        self._waiting.append(answer)
        return []

    def poll(self) -> list[bytes]:
        """Return the events since the last call, and behind them the answers they carry."""
        frames: list[bytes] = []
        for event_id, body in self.server.log:
            if event_id.seq > self.position.seq:
                frames.append(event_frame(body, event_id, self.encoding))
                self.position = event_id
        frames += (encode(answer, self.encoding) for answer in self._waiting)
        self._waiting.clear()
        return frames

    def stored(self) -> bytes:
        """Return the message that everything sent so far is committed."""
        return encode(e.Stored(id=str(self.position)), self.encoding)

    def _welcome(self, hello: c.Hello) -> list[bytes]:
        server = self.server
        assert hello.credential in server.tokens
        last = last_event_id(hello.last_event_id)
        ids = [event_id for event_id, _ in server.log]
        self.recovered = last is not None and (last == server.head or last in ids)
        self.position = last if last is not None and self.recovered else server.head
        self._welcomed = True
        token = f"token-{len(server.tokens)}"
        server.tokens.add(token)
        shown = snapshot(server.session, tuple(server.turns), server.text, AT)
        welcome = e.Welcome(
            interview_id="i",
            role="candidate",
            recovered=self.recovered,
            head=str(server.head),
            resume_token=token,
            heartbeat_ms=HEARTBEAT_MS,
            limits=LIMITS,
            snapshot=None if self.recovered else fit(shown, "/transcript"),
        )
        missed = [
            read_body(body, each) for each, body in server.log if each.seq > self.position.seq
        ]
        self.position = server.head
        told = [welcome, *merge(missed), e.Live(id=str(server.head))]
        return [encode(message, self.encoding) for message in told]


class Candidate:
    """Answers every question in two segments, and interrupts one."""

    def __init__(self, client: ClientSession) -> None:
        self.client = client
        self.said: set[str] = set()

    def react(self) -> list[bytes]:
        """Return the frames of what the candidate has to say to what is on the page."""
        client, view = self.client, self.client.view
        if not client.live:
            return []
        if view.status == "created":
            return self._say(c.InterviewStart(id="start", consent=c.Consent(version="1", at=AT)))
        turn = view.open
        if turn is None:
            return []
        if turn.speaker == "candidate":
            first, second = (
                c.SpeechFinal(id=f"{turn.turn}-{n}", utterance_id=f"u{n}", revision=1, text=f"é{n}")
                for n in (1, 2)
            )
            done = c.AnswerSubmit(id=f"{turn.turn}-done")
            return self._say(first) + self._say(second) + self._say(done)
        if turn.turn == CANCELLED and len(turn.text) >= HEARD:
            cancel = c.TurnCancel(id="cut", turn=turn.turn, attempt=turn.attempt, heard=HEARD)
            return self._say(cancel)
        return []

    def _say(self, command: c.DurableCommand) -> list[bytes]:
        if command.id in self.said:
            return []
        self.said.add(command.id)
        return self.client.send(command)
