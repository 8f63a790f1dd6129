"""One simulated candidate in one interview: what arrives is checked, answers are given in time.

Everything happens in callbacks of the socket and of timers; the only task is the one that connects.
Latencies count from when something was due, so that a server that is slow cannot slow its clock.
"""

import asyncio
import random
from collections.abc import Callable, Iterator

import msgspec

from loadtest.load.check import Seen
from loadtest.load.crowd import Crowd
from loadtest.load.speech import Step, answer
from loadtest.load.view import StreamView
from loadtest.load.wire import Socket
from loadtest.stamps import MARK, STAMP_LENGTH, ages_us, now_us
from protocol import commands as c
from protocol import events as e
from protocol.client import ClientSession
from protocol.codec import Encoding
from protocol.ids import parse_event_id
from protocol.view import GapError

RETRY_S = 0.3
SILENCE_S = 60.0
"""So long an interviewer may be silent who has the word."""
_CONSENT = c.Consent(version="2026-01", at=1_795_000_000_000)
_json = msgspec.json.Decoder[e.ServerMessage](e.ServerMessage)
_msgpack = msgspec.msgpack.Decoder[e.ServerMessage](e.ServerMessage)


class Interview:
    """The client of one interview, over all its connections."""

    def __init__(self, crowd: Crowd, draw: random.Random, *, quiet: bool, stalls: bool) -> None:
        users = crowd.scenario.users
        self.encoding: Encoding = "msgpack" if draw.random() < users.msgpack else "json"
        self.view = StreamView()
        self.session = ClientSession(self.encoding)
        self.session.view = self.view
        self.accepted: dict[str, c.DurableCommand] = {}
        self.stalls = stalls
        self.finished = False
        """Whether it wants no further connection."""
        self.away_since = 0.0
        """Since when it has been cut off; 0 while it is `live`, and before it first was."""
        self.due = 0.0
        """Since when it has been waiting to be `live` for the first time; 0 once it is counted."""
        self.gone: asyncio.Future[int] | None = None
        self.joined: Callable[[], None] = lambda: None
        """Called when it has caught up on a connection."""
        self._crowd = crowd
        self._tally = crowd.tally
        self._draw = draw
        self._quiet = quiet
        self._voice = draw.random() < users.voice
        self._decode = (_json if self.encoding == "json" else _msgpack).decode
        self._added = None if stalls else crowd.added
        self._socket: Socket | None = None
        self._given: dict[str, tuple[c.DurableCommand, float]] = {}
        self._answers = 0
        self._steps: Iterator[Step] | None = None
        self._began = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._beat: asyncio.TimerHandle | None = None
        self._asked = 0.0
        """Since when the interviewer's words are awaited; 0 while they are not."""
        self._heard = 0
        """When tokens that tell their age were heard last, or could be again, in microseconds; 0
        where the words that come are none of these."""
        self._covered = 0
        """What PostgreSQL has to hold before the transcript is read."""
        self._repeats = 0
        self._stirred = 0
        """When something of the interview came last, in microseconds."""
        self._seen = Seen()
        self._unsure = False
        """Whether a snapshot told of turns of which nobody knows whether they are stored yet."""

    @property
    def seen(self) -> list[e.TurnView]:
        """The turns that were seen to their end, each as it was then."""
        return self._seen.turns(self.view.turns)

    @property
    def settled(self) -> bool:
        """Whether all that was given is answered, and all that was seen as a whole is stored.

        What was accepted in a turn that is still open is stored when the turn is.
        """
        return not self.session.unanswered and self.session.stored.seq >= self._covered

    @property
    def certain(self) -> bool:
        """Whether what was seen has to be in PostgreSQL once all is `settled`."""
        return not self._unsure

    @property
    def _awaits_answer(self) -> bool:
        """Whether this turn's last word was said, though perhaps not heard: it is sent again."""
        return any(
            isinstance(command, c.AnswerSubmit | c.InterviewEnd)
            for command, _ in self._given.values()
        )

    @property
    def unanswered(self) -> list[str]:
        """Commands without an answer."""
        return self.session.unanswered

    @property
    def begun(self) -> bool:
        """Whether there is something to read in a transcript."""
        return bool(self.accepted)

    # --- what the task that connects uses ---

    def attach(self, socket: Socket, ticket: str | None) -> None:
        """Speak over a socket that is open."""
        self._socket = socket
        self.gone = asyncio.get_running_loop().create_future()
        self._post(self.session.connection_opened(ticket))

    def hang_up(self) -> None:
        """Break the connection, as a network does."""
        if self._socket is not None:
            self._socket.abort()

    def settle(self) -> None:
        """Say nothing more, and leave once everything is stored."""
        if self._timer is not None:
            self._timer.cancel()
        self._steps = None
        self._leave()

    def finish(self) -> None:
        """Leave now."""
        self.finished = True
        for timer in (self._timer, self._beat):
            if timer is not None:
                timer.cancel()
        if self._socket is not None and self._socket.open:
            self._socket.close()

    def stall(self, *, stalled: bool) -> None:
        """Stop reading, or read on."""
        if self._socket is not None and self.stalls:
            self._socket.stall(stalled=stalled)

    def silent_s(self, now: float) -> float:
        """Return for how long nothing has come of what the server is to do next.

        That is: to speak, to end a turn, and to let the candidate have the word.
        """
        opened = self.view.open
        owes = bool(self._asked) or (
            self.view.status == "live" and (opened is None or opened.speaker == "interviewer")
        )
        if not owes or self.stalls or not self.session.live:
            return 0.0
        return now - max(self._asked, self._stirred / 1e6)

    def away(self, now: float) -> float:
        """Return for how long it has been cut off, if it would read."""
        return now - self.away_since if self.away_since and not self.stalls else 0.0

    def waits(self) -> Iterator[tuple[str, float]]:
        """Give what it waits for, by the name of the latency, and since when."""
        if self.stalls:
            return
        for _, due in self._given.values():
            yield "accepted", due
        if self._asked:
            yield "first_words", self._asked
        if self.away_since:
            yield "back", self.away_since
        if self.due:
            due, self.due = self.due, 0.0  # its end would count once more
            yield "arrival", due
        yield from (("added", due) for due in self._overdue())

    def _overdue(self) -> Iterator[float]:
        """Give when each token was due that has not come since the last one was heard.

        Else the words of a stream that stands still would be in no figure. It goes on for as long
        as replies are on average: where this one would have ended is not known.
        """
        opened, pace_s, came = self.view.open, self._crowd.pace_s, self.view.length
        if not (self._heard and pace_s and self.session.live and came):
            return
        if opened is not None and opened.speaker == "interviewer":
            owed = self._crowd.scenario.provider.tokens - came // STAMP_LENGTH
            due, now = self._heard / 1e6 + pace_s, self._crowd.now()
            while due <= now and owed > 0:
                yield due
                due, owed = due + pace_s, owed - 1

    # --- what the socket calls ---

    def closed(self, code: int) -> None:
        """See `loadtest.load.wire.Owner`."""
        if self._beat is not None:
            self._beat.cancel()
        self._streams(more=False)
        if self.gone is not None and not self.gone.done():
            self.gone.set_result(code)

    def received(self, payload: bytes) -> None:
        """See `loadtest.load.wire.Owner`. This is the path of every token.

        Who has left hears nothing more: it would not wait until that is stored, too.
        """
        if self.finished:
            return
        try:
            message = self._decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._tally.error("undecodable", "a frame is no message of the contract")
            return
        if type(message) is e.TurnDelta:
            now = now_us()
            try:
                new = self.view.hear(message)
            except GapError:
                self._told(message)
                return
            if new:
                self._stirred = now
                self._words(message.text, now)
            else:
                self._count_repeats()
            return
        self._told(message)

    def _words(self, text: str, now: int) -> None:
        """Count a piece of the interviewer's words, and how long its tokens were under way."""
        counts = self._tally.counts
        if MARK in text:
            self._heard = now
            ages = ages_us(text, now)
            counts["tokens"] += len(ages)
            if self._added is not None and self.session.live:  # not what was missed while away
                self._added += ages
        elif self.view.open is not None and self.view.open.speaker == "interviewer":
            self._heard = 0
            counts["tokens"] += 1
        if self._asked and self.view.open is not None and self.view.open.speaker == "interviewer":
            self._took("first_words", self._asked)
            self._asked = 0.0

    def _told(self, message: e.ServerMessage) -> None:
        held, stored = self.view.head.seq, self.session.stored.seq
        received = self.session.take(message)
        if received.misled is not None:
            kind = "corrupt" if received.misled.corrupt else "gaps"
            self._tally.wrong(kind, received.misled.reason)
            self.hang_up()
            return
        self._count_repeats()
        if self.view.head.seq != held:
            self._stirred = now_us()
        match message:
            case e.Accepted():
                self._accept(message)
            case e.Rejected():
                self._reject(message)
            case e.TurnStarted() | e.TurnCompleted() | e.TurnReset() | e.InterviewEnded():
                self._went_on(message)
            case e.Welcome(recovered=False) if held:
                self._tally.counts["snapshots"] += 1
                self._covered = 0  # it may be gone, and its numbers used again
                self._seen.forget(stored)
                self._unsure = True
            case e.Live():
                self._live()
            case e.Error(code=code):
                self._tally.error(f"error {code}", message.message)
            case _:
                pass
        self._post(received.frames)
        self._leave()

    def _went_on(
        self, message: e.TurnStarted | e.TurnCompleted | e.TurnReset | e.InterviewEnded
    ) -> None:
        match message:
            case e.TurnStarted():
                self._streams(more=message.speaker == "interviewer")
                self._consider()
            case e.TurnCompleted():
                self._completed(message)
            case e.TurnReset():
                self._tally.counts["resets"] += 1
            case e.InterviewEnded():
                self._covered = parse_event_id(message.id).seq
                if message.reason != "completed":
                    self._tally.error(f"ended {message.reason}", "an interview that went on")

    def _completed(self, message: e.TurnCompleted) -> None:
        self._covered = seq = parse_event_id(message.id).seq
        self._unsure = False
        self._tally.counts["turns"] += 1
        self._streams(more=False)
        if self.view.turns and self.view.turns[-1].turn == message.turn:
            self._seen.note(self.view.turns[-1], seq)
        if message.source == "bank":
            self._tally.counts["bank_turns"] += 1
            if self._crowd.by_model:
                self._tally.error("bank", "the question bank spoke in place of the model")

    def _count_repeats(self) -> None:
        more, self._repeats = self.view.repeats - self._repeats, self.view.repeats
        if more:
            self._tally.wrong("repeats", f"an event up to {self.view.head} came again", more)

    def _accept(self, message: e.Accepted) -> None:
        given = self._given.pop(message.command_id, None)
        if given is None:
            return
        command, due = given
        self.accepted[message.command_id] = command
        self._took("accepted", due)
        if isinstance(command, c.AnswerSubmit):
            self._tally.counts["answers"] += 1

    def _took(self, name: str, due: float) -> None:
        """Record a latency, unless its end waited for the user to read on."""
        if not self.stalls:
            self._tally.latencies.record(name, self._crowd.now() - due)

    def _reject(self, message: e.Rejected) -> None:
        if message.retryable:
            self._tally.counts["retried"] += 1
            self._crowd.later(RETRY_S, lambda: self._post(self.session.again(message.command_id)))
        elif self._given.pop(message.command_id, None) is not None:
            self._asked = 0.0
            self._tally.error(f"rejected {message.code}", message.message)
            self._consider()

    def _live(self) -> None:
        self.joined()
        self._stirred = now_us()
        if self._heard:
            self._heard = now_us()  # what was missed while away is not waited for
        heartbeat_s = self.session.heartbeat_s
        self._pulse(self._draw.random() * heartbeat_s)
        opened = self.view.open
        self._streams(more=opened is not None and opened.speaker == "interviewer")
        new = self.view.status == "created" and not self._given
        if new and not self._quiet and not self._crowd.ending:
            self._asked = self._crowd.now()
            self._give(c.InterviewStart(id="start", consent=_CONSENT), self._asked)
        self._consider()

    def _pulse(self, after_s: float) -> None:
        def beat() -> None:
            self._post(self.session.send(c.Ping(nonce="beat")))
            self._pulse(self.session.heartbeat_s)

        if self._beat is not None:
            self._beat.cancel()
        self._beat = self._crowd.later(after_s, beat)

    def _streams(self, *, more: bool) -> None:
        self._crowd.streams(self, more=more and not self.finished)

    # --- what it says ---

    def _consider(self) -> None:
        """Begin an answer where the candidate has the word, or end the interview."""
        opened = self.view.open
        if opened is None or opened.speaker != "candidate" or self._steps is not None:
            return
        if self._crowd.ending or self.view.over or self._awaits_answer:
            return
        if self._answers >= self._crowd.scenario.script.answers:
            self._give(c.InterviewEnd(id="end"), self._crowd.now())
            return
        self._answers += 1
        self._asked = 0.0  # its words may have come in a snapshot
        script = self._crowd.scenario.script
        self._steps = answer(script, self._draw, self._answers, voice=self._voice)
        self._began = self._crowd.now()
        self._next()

    def _next(self) -> None:
        step = next(self._steps, None) if self._steps is not None else None
        if step is None:
            self._steps = None
            return
        due = self._began + step.at_s
        self._timer = self._crowd.at(due, lambda: self._say(step.command, due))

    def _say(self, command: c.Command, due: float) -> None:
        if isinstance(command, c.DurableCommand):
            if isinstance(command, c.AnswerSubmit):
                self._asked = due
            self._give(command, due)
        else:
            self._post(self.session.send(command))
        self._next()

    def _give(self, command: c.DurableCommand, due: float) -> None:
        self._given[command.id] = (command, due)
        self._post(self.session.send(command))

    def _post(self, frames: list[bytes]) -> None:
        if self._socket is not None:
            for frame in frames:
                self._socket.send(frame)

    def _leave(self) -> None:
        """Leave, where nothing more is to come."""
        over = self._crowd.ending or self.view.over
        if over and not self.finished and self.settled:
            self.finish()
