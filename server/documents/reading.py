"""Who may have documents read, and how many at a time: each is work for this instance alone."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal

from msgspec import Struct

from server.clock import Clock
from server.documents.pdf import Taken, text_of_pdf
from server.documents.text import decoded, folded

MediaType = Literal["application/pdf", "text/plain", "text/markdown"]

AT_ONCE = 2
"""Processes: an instance has its cores for interviews."""
INSIDE = 16
"""Requests whose document is held, be it that it still arrives, waits or is read."""
WAIT_S = 10.0
"""How long one may wait for its process."""
PER_USER = 2
"""Requests of one user at a time: they must not take all places by sending slowly."""
BURST = 12
REFILL_S = 60.0
"""A user may have a dozen read at once, and then one a minute."""
USERS = 10_000
"""Allowances that are remembered; the one that was used longest ago is forgotten first."""


class FullError(Exception):
    """This instance reads enough at the moment."""


class TooOftenError(Exception):
    """This user has had enough of them read."""

    def __init__(self, wait_s: float) -> None:
        super().__init__()
        self.wait_s = wait_s


class DocumentText(Struct, frozen=True, kw_only=True):
    """What a document says, fit for `resume` or `job_description` of a plan."""

    text: str
    pages: int | None
    """Null for what has none: plain text."""
    clipped: bool
    """Whether the end is missing, since a plan takes no more."""


class _Allowance:
    """A bucket of tokens, and how many requests are inside."""

    def __init__(self, now: float) -> None:
        self.tokens = float(BURST)
        self.at = now
        self.inside = 0

    def take(self, now: float) -> None:
        """Take one.

        Raises:
            TooOftenError: there is none.
        """
        self.tokens = min(float(BURST), self.tokens + (now - self.at) / REFILL_S)
        self.at = now
        if self.tokens < 1:
            raise TooOftenError((1 - self.tokens) * REFILL_S)
        if self.inside >= PER_USER:
            raise TooOftenError(1.0)
        self.tokens -= 1


class Documents:
    """Reads documents, within bounds; keeps nothing of them."""

    def __init__(
        self, clock: Clock, take: Callable[[bytes], Awaitable[Taken]] = text_of_pdf
    ) -> None:
        self._clock = clock
        self._take = take
        self._processes = asyncio.Semaphore(AT_ONCE)
        self._inside = 0
        self._users: OrderedDict[str, _Allowance] = OrderedDict()

    @asynccontextmanager
    async def admitted(self, user: str) -> AsyncGenerator[None]:
        """Hold a place, from before the document arrives until its text is there.

        Raises:
            FullError: there is none.
            TooOftenError: this user may not have one.
        """
        if self._inside >= INSIDE:
            raise FullError
        allowance = self._allowance(user)
        allowance.take(self._clock.monotonic())
        self._inside += 1
        allowance.inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            allowance.inside -= 1

    async def text(self, content: bytes, media_type: MediaType) -> DocumentText:
        """Return what a document says.

        Raises:
            FullError: it had to wait for too long.
            UnreadableError: it says nothing that can be read.
        """
        if media_type != "application/pdf":
            # In a thread: tens of milliseconds, which every interview here would wait.
            text, clipped = await asyncio.to_thread(lambda: folded(decoded(content)))
            return DocumentText(text=text, pages=None, clipped=clipped)
        try:
            async with asyncio.timeout(WAIT_S):
                await self._processes.acquire()
        except TimeoutError:
            raise FullError from None
        try:
            taken = await self._take(content)
        finally:
            self._processes.release()
        text, clipped = await asyncio.to_thread(folded, taken.text)
        return DocumentText(text=text, pages=taken.pages, clipped=clipped or taken.clipped)

    def _allowance(self, user: str) -> _Allowance:
        allowance = self._users.pop(user, None) or _Allowance(self._clock.monotonic())
        self._users[user] = allowance
        if len(self._users) > USERS:
            self._users.popitem(last=False)
        return allowance
