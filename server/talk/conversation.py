"""What the person at the terminal does, apart from how it is typed and shown."""

import time
from collections.abc import Awaitable, Callable

from protocol import commands as c
from server.talk.api import TalkError
from server.talk.link import Link, Screen
from server.talk.text import CONSENT_VERSION, HELP, NOTICE, UnknownOrderError, parse


class Conversation:
    """One interview, as its candidate. ``agreed``: the notice was agreed to beforehand."""

    def __init__(self, link: Link, screen: Screen, *, agreed: bool) -> None:
        self.link = link
        self.screen = screen
        self._agreed = agreed

    async def begin(self, agrees: Callable[[], Awaitable[bool]]) -> None:
        """Wait for the server, and start the interview where that was not done yet.

        Raises:
            TalkError: the candidate does not agree.
        """
        await self.link.until("known", "over")
        if self.link.over or self.link.view.status != "created":
            return
        self.screen.tell(NOTICE)
        if not self._agreed and not await agrees():
            raise TalkError("without your agreement there is no interview; nothing was recorded")
        consent = c.Consent(version=CONSENT_VERSION, at=time.time_ns() // 1_000_000)
        self.link.give(c.InterviewStart, consent=consent)

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
                self.link.give(c.HintRequest)
            case "pause":
                self.link.give(c.InterviewPause)
            case "resume":
                self.link.give(c.InterviewResume)
            case "end":
                self.link.give(c.InterviewEnd)
            case None:
                await self._answer(typed.text)
        return True

    async def _answer(self, text: str) -> None:
        await self.link.until("answering", "paused", "over")
        if self.link.view.status == "paused":
            self.screen.tell("The interview is paused; /resume goes on.")
        elif self.link.answering:
            turn = self.link.view.open
            self.link.give(c.AnswerSubmit, text=text)
            await self.link.past(turn.turn if turn else 0)
