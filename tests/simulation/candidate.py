"""A candidate who answers, interrupts, repeats, drops the socket and comes back."""

import asyncio
import random
from collections.abc import Callable

from msgspec import Struct

from protocol import commands as c
from protocol import events as e
from protocol.client import ClientSession, Reconnect, Stopped
from protocol.closes import Close
from protocol.codec import Encoding
from server.credentials import Credentials
from tests.simulation.house import GONE, Pipe, SimInstance
from tests.simulation.witness import Witness

USER = "ada"


class Said(Struct):
    """A command that was given, and what became of it."""

    command: c.DurableCommand
    accepted: set[str]
    rejected: str = ""


class Candidate:
    """One interview's client. It goes to whichever instance is up."""

    def __init__(
        self,
        interview_id: str,
        witness: Witness,
        instances: Callable[[], list[SimInstance]],
        credentials: Credentials,
        draw: random.Random,
    ) -> None:
        self.interview_id = interview_id
        self.encoding: Encoding = draw.choice(("json", "msgpack"))
        self.session = ClientSession(self.encoding)
        self.said: dict[str, Said] = {}
        self.turn_of: dict[str, int] = {}
        self.faults: list[str] = []
        self.ended = False
        self.calm = False
        self._witness = witness
        self._instances = instances
        self._credentials = credentials
        self._draw = draw
        self._pipe: Pipe | None = None
        self._number = 0

    async def run(self) -> None:
        """Have the interview, over as many sockets as it takes."""
        while not self.ended:
            up = self._instances()
            if not up:
                await asyncio.sleep(0.2)
                continue
            self._pipe = self._draw.choice(up).open(self.interview_id, self.encoding)
            code = await self._converse(self._pipe)
            self._pipe = None
            match self.session.connection_closed(code, self._draw.random()):
                case Reconnect(after_s=pause):
                    await asyncio.sleep(pause)
                case Stopped(code=final):
                    # A stopped instance's timers run on here, so that it misses the hello.
                    self.ended = final != Close.NO_HELLO
                    if final not in (Close.OVER, Close.NO_HELLO):
                        self.faults.append(f"turned away with {final}")

    async def _converse(self, pipe: Pipe) -> int:
        ticket = None
        if self.session.resume_token is None:
            ticket, _ = self._credentials.ticket(self.interview_id, USER, "candidate")
        self._send(self.session.connection_opened(ticket))
        async with asyncio.TaskGroup() as group:
            acting = group.create_task(self._act_all())
            code = await self._listen(pipe)
            acting.cancel()
        return code

    async def _listen(self, pipe: Pipe) -> int:
        while True:
            frame = await pipe.pull()
            if isinstance(frame, int):
                return frame
            received = self.session.receive(frame)
            self._judge(received.message)
            if received.misled is not None:
                self.faults.append(f"misled: {received.misled}")
                pipe.close(GONE)
            self._send(received.frames)
            if not self.calm and self._draw.random() < 0.01:
                await asyncio.sleep(self._draw.random() * 3)  # a slow reader

    def _judge(self, message: e.ServerMessage) -> None:
        match message:
            case e.Accepted(command_id=name, id=effect):
                self.said[name].accepted.add(effect)
            case e.Rejected(command_id=name, code=code, retryable=retryable):
                if retryable:
                    asyncio.get_running_loop().call_later(0.4, self._again, name)
                else:
                    self.said[name].rejected = code
            case e.Error(code=code):
                self.faults.append(f"told of an error: {code}")
            case e.Event():
                self._witness.check_event(self.interview_id, message)
                if isinstance(message, e.SpeechRecorded):
                    self.turn_of[message.text] = message.turn
            case _:
                pass

    def _again(self, name: str) -> None:
        self._send(self.session.again(name))

    # --- what a candidate does ---

    async def _act_all(self) -> None:
        while True:
            await asyncio.sleep(self._draw.expovariate(1.0))
            if not self.calm and self._draw.random() < 0.03 and self._pipe is not None:
                self._pipe.close(GONE)
            command = self._choose()
            if command is not None:
                self._give(command)
            if self._draw.random() < 0.1:
                self._send(self.session.send(c.Ping(nonce="n")))
            if self.said and self._draw.random() < 0.2:  # a repeat, for no reason
                self._send(self.session.again(self._draw.choice(list(self.said))))

    def _give(self, command: c.DurableCommand) -> None:
        self.said[command.id] = Said(command, set())
        self._send(self.session.send(command))

    def _choose(self) -> c.DurableCommand | None:
        view, draw = self.session.view, self._draw
        self._number += 1
        name = f"c{self._number}"
        match view.status:
            case "created":
                return self._start(name)
            case "paused":
                return c.InterviewResume(id=name)
            case "live" if draw.random() < 0.02:
                return c.InterviewPause(id=name)
            case _ if view.open is None:
                return None
            case _ if view.open.speaker == "candidate":
                return self._answer(name)
            case _:
                return self._interrupt(name, view.open)

    def _start(self, name: str) -> c.DurableCommand | None:
        if any(isinstance(said.command, c.InterviewStart) for said in self.said.values()):
            return None
        return c.InterviewStart(id=name, consent=c.Consent(version="1", at=1))

    def _interrupt(self, name: str, opened: e.OpenView) -> c.DurableCommand | None:
        draw = self._draw
        if draw.random() < 0.06:
            heard = draw.choice((None, len(opened.text), draw.randrange(200)))
            return c.TurnCancel(id=name, turn=opened.turn, attempt=opened.attempt, heard=heard)
        return self._speech(name) if draw.random() < 0.1 else None

    def _answer(self, name: str) -> c.DurableCommand:
        if any(
            isinstance(said.command, c.AnswerSubmit) and not said.accepted and not said.rejected
            for said in self.said.values()
        ):
            return self._speech(name)
        kind = self._draw.random()
        if kind < 0.45:
            return self._speech(name)
        if kind < 0.5:
            return c.HintRequest(id=name)
        return c.AnswerSubmit(id=name, text=f"<{name}>" if kind < 0.75 else None)

    def _speech(self, name: str) -> c.SpeechFinal:
        utterance = f"u{self._draw.randrange(self._number)}" if self._draw.random() < 0.1 else name
        return c.SpeechFinal(
            id=name, utterance_id=utterance, revision=self._number, text=f"[{name}]"
        )

    def _send(self, frames: list[bytes]) -> None:
        if self._pipe is not None:
            for frame in frames:
                self._pipe.push(frame)
