"""A simulated candidate of a persona: has its interview, and records all that it saw."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiohttp import ClientSession as Http

from loadtest.candidate import Candidate
from loadtest.evaluate.author import Author
from loadtest.evaluate.personas import Persona
from loadtest.evaluate.recording import Expected, Recording, Seen, Sent
from protocol import commands as c
from protocol import events as e

LOOK_S = 0.02
PAUSE_S = 1.2
SEGMENT_WORDS = 40
COMMAND_S = 15.0
"""How long an answer to a command is waited for."""


class Interviewee(Candidate):
    """One interview; `Candidate` keeps the connection, this decides what is done."""

    def __init__(
        self,
        http: Http,
        urls: Callable[[], Sequence[str]],
        persona: Persona,
        author: Author,
        *,
        name: str,
        user: str,
        secret: str,
        plan: Mapping[str, Any],
        expected: Expected,
        private: str,
        patient: bool = False,
    ) -> None:
        super().__init__(http, urls, name, plan, user=user, secret=secret)
        self.persona = persona
        self.recording = Recording(
            name=name,
            persona=persona.name,
            user=user,
            expected=expected,
            plan=plan,
            secrets=(private,),
            drops=0,
        )
        self.begun_at = time.monotonic()
        self._author = author
        self._private = private
        self._patient = patient
        self._answered: set[int] = set()
        self._done: set[str] = set()
        """What is done once: the hint, the pause, each drop."""
        self._asked: dict[str, str] = {}
        self._awaited = ""
        self._answer_came = asyncio.Event()

    async def run(self) -> None:
        """Have the interview; in the end the recording holds all but what is stored."""
        self.begun_at = time.monotonic()
        await super().run()
        self.recording.closes = [int(code) for code in self.closes]
        self.recording.faults = list(self.faults)

    # --- what it sees ---

    def _note(self, message: e.ServerMessage) -> None:
        super()._note(message)
        at = time.monotonic() - self.begun_at
        self.recording.seen.append(Seen(at, len(self.closes), message))
        match message:
            case e.Accepted(command_id=name):
                self._sent(name).accepted = True
                self._tell(name)
            case e.Rejected(command_id=name, code=code, retryable=False):
                self._sent(name).rejected = code
                self._tell(name)
            case _:
                pass

    def _tell(self, name: str) -> None:
        if name == self._awaited:
            self._answer_came.set()

    def _sent(self, name: str) -> Sent:
        return next(sent for sent in self.recording.sent if sent.command.id == name)

    def _give(self, command: c.DurableCommand) -> None:
        self.recording.sent.append(Sent(at=time.monotonic() - self.begun_at, command=command))
        super()._give(command)

    # --- what it does ---

    async def _act(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            view = self.session.view
            if view.over or not self.session.live:
                continue
            if view.status == "created" and not self.given:
                consent = c.Consent(version="2026-01", at=int(time.time() * 1000))
                await self._do(c.InterviewStart(id=self._name(), consent=consent))
            elif self.listening:
                await self._listening()
            elif view.open is not None and view.open.turn not in self._answered:
                await self._turn(view.open)

    async def _listening(self) -> None:
        opened = self.session.view.open
        if opened is None or len(opened.text) < 20:
            return
        if self.persona.interrupts and opened.kind == "probe" and self._once("interrupt"):
            await self._do(
                c.TurnCancel(
                    id=self._name(),
                    turn=opened.turn,
                    attempt=opened.attempt,
                    heard=len(opened.text),
                )
            )
        drops = sum(each.startswith("drop") for each in self._done)
        if drops < self.persona.drops and opened.kind != "closing" and self._once(f"drop {drops}"):
            self.recording.drops += 1
            if drops == 0 and self._patient:
                self.away_s = self.recording.away_s = self.persona.away_s
            self.hang_up()
            await asyncio.sleep(1.0)  # this task ends with the connection

    async def _turn(self, opened: e.OpenView) -> None:
        first = opened.question_id == "core-1"
        if self.persona.hints and first and self._once("hint"):
            await self._do(c.HintRequest(id=self._name()))
            return
        if self.persona.pauses and opened.question_id == "core-2" and self._once("pause"):
            await self._do(c.InterviewPause(id=self._name()))
            await asyncio.sleep(PAUSE_S)
            await self._do(c.InterviewResume(id=self._name()))
        if self.persona.leaves and opened.question_id == "core-2":
            await self._do(c.InterviewEnd(id=self._name()))
            return
        self._answered.add(opened.turn)
        await self._give_answer(await self._words(opened))

    async def _words(self, opened: e.OpenView) -> str:
        question_id = opened.question_id or ""
        if self.persona.mute and self.recording.mode == "practice":
            return ""
        if question_id == "warmup":
            role = self._plan["role"]
            return f"My name is {self._private}, and I have worked as {role} for some years now."
        turns = [t for t in self.session.view.turns if t.question_id == question_id]
        asked = [turn for turn in turns if turn.speaker == "interviewer" and turn.kind != "hint"]
        place = f"{question_id}/{max(0, len(asked) - 1)}"
        question = asked[-1].text if asked else ""
        if place.endswith("/0"):
            self._asked[question_id] = question
        elif asked:
            question = f"{self._asked.get(question_id, '')} {question}"
        about = str(self._plan["type"])
        return await self._author.answer(self.persona, question, place, about)

    async def _give_answer(self, text: str) -> None:
        confidence = self.persona.confidence
        if confidence is None or not text:
            await self._do(c.AnswerSubmit(id=self._name(), text=text))
            return
        words, at = text.split(), 0
        for start in range(0, len(words), SEGMENT_WORDS):
            name, part = self._name(), words[start : start + SEGMENT_WORDS]
            await self._do(
                c.SpeechFinal(
                    id=name,
                    utterance_id=name,
                    revision=1,
                    text=" ".join(part),
                    start_ms=at,
                    end_ms=at + 400 * len(part),
                    confidence=confidence,
                )
            )
            at += 400 * len(part)
        await self._do(c.AnswerSubmit(id=self._name()))

    async def _do(self, command: c.DurableCommand) -> None:
        """Give a command and wait for its answer; `commands-answered` tells where none comes."""
        self._awaited, self._answer_came = command.id, asyncio.Event()
        self._give(command)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(COMMAND_S):
                await self._answer_came.wait()

    def _once(self, what: str) -> bool:
        new = what not in self._done
        self._done.add(what)
        return new


def private_name(seed: str) -> str:
    """Return a name that nobody else has."""
    draw = random.Random(seed)
    first = draw.choice(("Ilse", "Tomás", "Noor", "Kwame", "Mei", "Sunniva", "Arjun", "Zofia"))
    return f"{first} Quillfeather-{draw.randrange(16**8):08x}"
