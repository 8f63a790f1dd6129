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
                await self._ending(c.HintRequest)
            case "pause":
                self.link.give(c.InterviewPause)
            case "resume":
                self.link.give(c.InterviewResume)
            case "end":
                self.link.give(c.InterviewEnd)
            case None if typed.text:
                await self._answer(typed.text)
            case None:
                pass  # Enter that was to interrupt may come when the interviewer has just ended
        return True

    async def _answer(self, text: str) -> None:
        await self.link.until("answering", "paused", "over")
        if self.link.view.status == "paused":
            self.screen.tell("The interview is paused; /resume goes on.")
        elif self.link.answering:
            await self._ending(c.AnswerSubmit, text=text)

    async def _ending(self, kind: type[Any], **fields: Any) -> None:
        """Give what ends the open answer, and wait for that: the next line is for the next turn."""
        turn, answering = self.link.view.open, self.link.answering
        name = self.link.give(kind, **fields)
        if turn is not None and answering:
            await self.link.past(turn.turn, name)


def _point(words: str) -> str:
    return textwrap.fill(words, WIDTH, initial_indent="- ", subsequent_indent="  ")
