"""The connection of one talk: it comes back by itself and tells a `Screen` what is to be shown."""

import asyncio
import contextlib
import random
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar
from uuid import uuid4

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from protocol import commands as c
from protocol import events as e
from protocol.client import ClientSession, Reconnect, Stopped
from protocol.closes import Close
from protocol.view import View
from server.talk.api import Api, TalkError
from server.talk.countdown import Countdown
from server.talk.report import feedback
from server.talk.text import ENDS, KINDS, closed

T = TypeVar("T")

RETRY_S = 0.5
GONE = 1006
OUTGOING = 256


class Screen(Protocol):
    """What is shown. None of these may block."""

    def status(self, words: str) -> None:
        """The connection's state changed."""

    def tell(self, sentence: str) -> None:
        """Something to know, on a line of its own."""

    def begin(self, kind: str) -> None:
        """The interviewer begins to speak."""

    def speak(self, piece: str) -> None:
        """The interviewer's next words."""

    def void(self) -> None:
        """What the interviewer said in this turn is void."""

    def finish(self, text: str) -> None:
        """The interviewer's turn is over; ``text`` is what was said of it."""


class Link:
    """One interview's connection, from its first ticket to its end."""

    def __init__(self, api: Api, interview_id: str, screen: Screen) -> None:
        self.session = ClientSession("json", client="terminal")
        self.over = False
        self.reason = ""
        self.assesses = False
        """Whether ratings go to reviewers, not to the candidate."""
        self.countdown = Countdown()
        self._api = api
        self._interview_id = interview_id
        self._screen = screen
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue(OUTGOING)
        self._changed = asyncio.Condition()
        self._feedback: list[str] = []

    @property
    def view(self) -> View:
        """What is known of the interview."""
        return self.session.view

    @property
    def speaking(self) -> e.OpenView | None:
        """The interviewer's open turn."""
        opened = self.view.open
        return opened if opened is not None and opened.speaker == "interviewer" else None

    @property
    def answering(self) -> bool:
        """Whether the candidate's answer is open."""
        opened = self.view.open
        return opened is not None and opened.speaker == "candidate" and self.view.status == "live"

    def give(self, kind: type[Any], **fields: Any) -> str:
        """Give a durable command, which is kept until it is stored; return its id."""
        name = str(uuid4())
        self._post(self.session.send(kind(id=name, **fields)))
        return name

    def interrupt(self) -> None:
        """Stop the interviewer where the screen is."""
        turn = self.speaking
        if turn is not None:
            self.give(c.TurnCancel, turn=turn.turn, attempt=turn.attempt, heard=len(turn.text))

    async def until(self, *wanted: str) -> None:
        """Wait until one of these is true: ``known``, ``answering``, ``paused``, ``over``."""
        async with self._changed:
            await self._changed.wait_for(lambda: any(self._holds(each) for each in wanted))

    async def settled(self) -> None:
        """Wait until every command has an answer."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.over or not self.session.unanswered)

    async def done(self, name: str) -> None:
        """Wait until the command has its answer, which comes behind all of its effect."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.over or name not in self.session.unanswered)

    async def unless_over(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Await ``work``; None where the interview is over first."""
        working, over = asyncio.ensure_future(work), asyncio.ensure_future(self.until("over"))
        try:
            await asyncio.wait((working, over), return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else None
        finally:
            over.cancel()
            working.cancel()
            await asyncio.gather(working, over, return_exceptions=True)

    async def run(self) -> None:
        """Stay connected until the interview is over.

        Raises:
            TalkError: it cannot go on; with a sentence.
        """
        ticket: str | None = await self._api.ticket(self._interview_id)
        try:
            while True:
                code = await self._connection(ticket)
                match self.session.connection_closed(code, random.random()):
                    case Stopped(code=final):
                        if final != Close.OVER:
                            raise TalkError(closed(final))
                        return
                    case Reconnect(after_s=pause, needs_ticket=needs_ticket):
                        self._screen.status(f"reconnecting in {pause:.0f} s")
                        await asyncio.sleep(pause)
                        ticket = await self._ticket() if needs_ticket else None
        finally:
            self.over = True
            await self._tell_all()

    async def _ticket(self) -> str | None:
        try:
            return await self._api.ticket(self._interview_id)
        except TalkError:
            return None  # asked again with the next round

    async def _connection(self, ticket: str | None) -> int:
        address = f"{self._api.url.replace('http', 'ws', 1)}/api/interviews"
        offered: Any = ["interview.v1.json"]
        try:
            hello = self.session.connection_opened(ticket)
            async with connect(
                f"{address}/{self._interview_id}/socket",
                subprotocols=offered,
                compression=None,
                proxy=None,
                open_timeout=10,
                close_timeout=1,
            ) as socket:
                self._outgoing = asyncio.Queue(OUTGOING)
                self._post(hello)
                await self._converse(socket)
                return socket.close_code or GONE
        except (InvalidHandshake, InvalidMessage, OSError, TimeoutError, ValueError):
            return GONE

    async def _converse(self, socket: ClientConnection) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._send(socket)), group.create_task(self._beat())]
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await self._take(await socket.recv(), socket)
            for task in tasks:
                task.cancel()

    async def _send(self, socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await socket.send(await self._outgoing.get(), text=True)

    async def _beat(self) -> None:
        await asyncio.sleep(random.random() * self.session.heartbeat_s)
        while True:
            self._post(self.session.send(c.Ping(nonce="beat")))
            await asyncio.sleep(self.session.heartbeat_s)

    def _post(self, frames: list[bytes]) -> None:
        for frame in frames:
            with contextlib.suppress(asyncio.QueueFull):  # the connection hangs; kept ones go again
                self._outgoing.put_nowait(frame)

    async def _take(self, frame: str | bytes, socket: ClientConnection) -> None:
        before = self.speaking
        received = self.session.receive(frame)
        self.countdown.take(received.message)
        self._show(received.message, before)
        self._post(received.frames)
        if received.misled is not None:
            await socket.close()
        await self._tell_all()

    def _show(self, message: e.ServerMessage, before: e.OpenView | None) -> None:
        screen = self._screen
        match message:
            case e.Welcome(snapshot=snapshot):
                screen.status("connected")
                if snapshot is not None:
                    self._show_snapshot(snapshot)
            case e.TurnStarted() | e.TurnDelta() | e.TurnReset() | e.TurnCompleted():
                self._show_turn(message, before)
            case e.Notice(message=text):
                screen.tell(text)
            case e.Rejected(command_id=name, retryable=True):
                asyncio.get_running_loop().call_later(RETRY_S, self._again, name)
            case e.Rejected(message=text):
                screen.tell(f"The server refused that: {text}.")
            case e.InterviewEnded(reason=reason):
                self.reason = ENDS[reason]
                screen.status("over" if self.assesses else "over; the report is being written")
            case e.RatingReady(ratings=ratings):
                self._feedback += [words for words in map(feedback, ratings) if words]
            case _:
                pass
        self._show_feedback()

    def _show_feedback(self) -> None:
        """Show feedback where the interviewer does not speak: it would come between the words."""
        if self.speaking is None:
            for words in self._feedback:
                self._screen.tell(words)
            self._feedback.clear()

    def _show_turn(
        self,
        event: e.TurnStarted | e.TurnDelta | e.TurnReset | e.TurnCompleted,
        before: e.OpenView | None,
    ) -> None:
        screen = self._screen
        match event:
            case e.TurnStarted(speaker="interviewer", kind=kind):
                screen.begin(KINDS[kind])
            case e.TurnDelta(text=text) if before is not None:
                screen.speak(text)
            case e.TurnReset():
                screen.void()
            case e.TurnCompleted() if before is not None:
                screen.finish(self.view.turns[-1].text)
            case _:
                pass  # the candidate's own turn

    def _show_snapshot(self, snapshot: e.Snapshot) -> None:
        self.assesses = snapshot.mode == "assessment"
        if self.view.turns:
            self._screen.tell(f"({len(self.view.turns)} turns so far; the last one:)")
            self._screen.tell(self.view.turns[-1].text)
        if self.speaking is not None:
            self._screen.begin(KINDS[self.speaking.kind])
            self._screen.speak(self.speaking.text)

    def _again(self, name: str) -> None:
        self._post(self.session.again(name))

    def _holds(self, wanted: str) -> bool:
        match wanted:
            case "known":
                return self.session.live or self.over
            case "answering":
                return self.answering
            case "paused":
                return self.view.status == "paused"
            case _:
                return self.over

    async def _tell_all(self) -> None:
        async with self._changed:
            self._changed.notify_all()
