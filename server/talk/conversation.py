"""What the person at the terminal does, apart from how it is typed and shown."""

import textwrap
import time
from collections.abc import Awaitable, Callable
from typing import Any

from protocol import commands as c
from server.notice import Notice
from server.talk.link import Link, Screen
from server.talk.text import HELP, UnknownOrderError, parse

WIDTH = 88
"""Of the notice, in characters."""


class Conversation:
    """One interview, as its candidate. ``agreed``: the notice was agreed to beforehand."""

    def __init__(
        self,
        link: Link,
        screen: Screen,
        notice: Callable[[], Awaitable[Notice]],
        *,
        agreed: bool,
    ) -> None:
        self.link = link
        self.screen = screen
        self.declined = False
        self._notice = notice
        self._agreed = agreed
        self._answers: list[str] = []
        """Those that wait for a turn: the interview is paused."""

    async def begin(self, agrees: Callable[[], Awaitable[bool]]) -> bool:
        """Wait for the server, and start the interview where that was not done yet.

        False where the candidate does not agree to the notice.

        Raises:
            TalkError: there is no notice; with a sentence.
        """
        await self.link.until("known", "over")
        if self.link.over or self.link.view.status != "created":
            return True
        notice = await self._notice()
        self.screen.tell("\n".join(["Before we begin:", *map(_point, notice.points)]))
        self.declined = not self._agreed and not await agrees()
        if not self.declined:
            consent = c.Consent(version=notice.version, at=time.time_ns() // 1_000_000)
            self.link.give(c.InterviewStart, consent=consent)
        return not self.declined

    async def take(self, line: str) -> bool:
        """Do what a line says; False where it says to leave."""
        try:
            typed = parse(line)
        except UnknownOrderError as error:
            self.screen.tell(str(error))
            return True
        match typed.order:
            case "quit":
                return False
            case "help":
                self.screen.tell(HELP)
            case "hint":
                await self._do(c.HintRequest)
            case "pause":
                await self._do(c.InterviewPause)
            case "resume":
                await self._do(c.InterviewResume)
                await self._answer()
            case "end":
                await self._do(c.InterviewEnd)
            case None if typed.text:
                self._answers.append(typed.text)
                await self._answer()
            case None:
                pass  # Enter that was to interrupt may come when the interviewer has just ended
        return True

    async def _answer(self) -> None:
        """Give each answer that waits in its turn, unless the interview is paused or over first."""
        while self._answers:
            await self.link.until("answering", "paused", "over")
            if self.link.view.status == "paused":
                self.screen.tell("The interview is paused; /resume goes on, with this answer.")
            if not self.link.answering:
                return
            await self._do(c.AnswerSubmit, text=self._answers.pop(0))

    async def _do(self, kind: type[Any], **fields: Any) -> None:
        """Give a command and wait for its effect: the next line is for what comes then."""
        await self.link.done(self.link.give(kind, **fields))


def _point(words: str) -> str:
    return textwrap.fill(words, WIDTH, initial_indent="- ", subsequent_indent="  ")
