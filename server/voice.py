"""Words of one socket that are not final yet: passed on, and a sign that somebody speaks."""

import asyncio
from collections.abc import Callable

import structlog

from protocol.clock import QUIET_MS
from protocol.codec import encode
from protocol.commands import TYPING, SpeechPartial
from protocol.events import PartialHeard
from protocol.limits import LIMITS
from protocol.machine import Speaking
from protocol.scalars import Role
from server.clock import Clock
from server.sessions import Sessions
from storage.errors import StorageError
from storage.live import LiveStore

PARTIAL_S = 1 / LIMITS.partials_per_second
SPEAKING_S = QUIET_MS / 3000
"""How often it is noted that somebody speaks: well before that could be taken for silence."""
AGAIN_S = 2.0
"""When that is tried again where it failed."""

_log = structlog.get_logger()


class Voice:
    """The partials of one socket, ten a second at most: the newest of those that came meanwhile.

    Nothing of them is stored. But who speaks for minutes without a pause, so that nothing is final,
    must not be taken for silent, nor who types: the session learns that they answer.
    """

    __slots__ = (
        "_clock", "_due", "_interview_id", "_noted_due", "_role", "_said", "_sessions", "_store",
        "_waiting",
    )  # fmt: skip

    def __init__(
        self, interview_id: str, role: Role, store: LiveStore, sessions: Sessions, clock: Clock
    ) -> None:
        self._interview_id = interview_id
        self._role = role
        self._store = store
        self._sessions = sessions
        self._clock = clock
        self._waiting: SpeechPartial | None = None
        self._said = ("", "")
        self._due = self._noted_due = 0.0

    def offer(self, partial: SpeechPartial, publish: Callable[[], None]) -> None:
        """Take a partial; ``publish()`` is called when `publish` is to be awaited."""
        before, self._waiting = self._waiting, partial
        if before is None:
            now = self._clock.monotonic()
            pause = max(0.0, self._due - now)
            self._due = now + pause + PARTIAL_S
            asyncio.get_running_loop().call_later(pause, publish)

    async def publish(self) -> None:
        """Pass on what waits. What cannot be passed on is dropped: newer words will come."""
        partial, self._waiting = self._waiting, None
        if partial is None:
            return
        if partial.utterance_id != TYPING or partial.text:
            await self._relay(partial)
        if self._clock.monotonic() >= self._noted_due and self._answers(partial):
            await self._note()

    async def _relay(self, partial: SpeechPartial) -> None:
        heard = PartialHeard(
            utterance_id=partial.utterance_id, revision=partial.revision, text=partial.text
        )
        try:
            payload = "p" + encode(heard, "json").decode()
            await self._store.publish(self._interview_id, payload)
        except StorageError as error:
            _log.info("partial dropped", error=type(error).__name__)

    def _answers(self, partial: SpeechPartial) -> bool:
        """Whether somebody answers: engines send empty words, or the same again, in a silence."""
        if partial.utterance_id == TYPING and not partial.text:
            return self._role == "candidate"
        before, self._said = self._said, (partial.utterance_id, partial.text)
        return bool(partial.text.strip()) and self._said != before

    async def _note(self) -> None:
        self._noted_due = self._clock.monotonic() + SPEAKING_S
        try:
            await self._sessions.apply(self._interview_id, Speaking(at=self._clock.now()))
        except StorageError as error:
            self._noted_due = self._clock.monotonic() + AGAIN_S
            _log.info("speaking not noted", error=type(error).__name__)
