"""The one writer of a socket.

It sends control messages as they come, events from its cursor into the log, and an ``accepted``
only behind the last event of the command's effect. A slow client makes its cursor fall behind and
its deltas merge; nothing is queued for it.
"""

import asyncio
from typing import Protocol

import msgspec
import structlog
from msgspec import Struct

from protocol.closes import Close
from protocol.codec import Encoding, encode, event_frame, read_body
from protocol.events import Accepted, Draining, Live, PartialHeard, Pong, Stored
from protocol.ids import ORIGIN, EventId
from protocol.limits import OVER_LINGER_S
from protocol.resume import merge
from server.clock import Clock, backoff
from server.cursor import Cursor, ResynchroniseError
from server.partials import Newest
from server.waiting import Flag
from storage.errors import StorageError
from storage.live import Entry

CONTROLS_WAITING = 512
"""Control messages that wait for a client; one that lets more pile up does not read."""
ECHOES_WAITING = 4 * 1024 * 1024
"""Characters of pongs among them: one holds what its ping did, up to a whole frame."""
SEND_STALL_S = 10.0
"""A send that does not end for so long means that the client does not read."""
READ_PATIENCE_S = 30.0
"""How long a socket stays open while Redis cannot be read."""
_REPORT = b'{"type":"report.'
_ENDED = b'{"type":"interview.ended"'
_SPOKEN = (b'{"type":"turn.started"', b'{"type":"speech.recorded"')

_log = structlog.get_logger()


class _Started(Struct, frozen=True, tag="turn.started"):
    turn: int
    speaker: str


class _Recorded(Struct, frozen=True, tag="speech.recorded"):
    turn: int
    utterance_id: str


_spoken = msgspec.json.Decoder[_Started | _Recorded](_Started | _Recorded)


class Wire(Protocol):
    """The socket beneath, after it was accepted."""

    async def send(self, frame: bytes) -> None:
        """Send one frame; returns when the transport has taken it.

        Raises:
            ClosedError: the peer is gone.
        """
        ...

    def send_now(self, frame: bytes) -> bool:
        """Send one frame if the transport takes it at once; tell whether it did."""
        ...


class ClosedError(Exception):
    """The socket ends; ``code`` is None where the peer went first."""

    def __init__(self, code: Close | None) -> None:
        super().__init__(code)
        self.code = code


class Outlet:
    """Everything that leaves through one socket."""

    __slots__ = (
        "_answers", "_clock", "_controls", "_echoed", "_encoding", "_judged", "_over_at",
        "_partials", "_reported", "_resting", "_stored", "_told", "_verdict", "_wake", "_wire",
    )  # fmt: skip

    def __init__(self, wire: Wire, encoding: Encoding, clock: Clock) -> None:
        self._wire = wire
        self._encoding: Encoding = encoding
        self._clock = clock
        self._wake = Flag()
        self._controls: list[Struct] = []
        self._answers: list[tuple[int, Accepted]] = []
        self._verdict: Close | None = None
        self._judged = 0.0
        self._echoed = 0
        self._stored = ORIGIN
        self._told = 0
        self._over_at: float | None = None
        self._reported = False
        self._partials = Newest()
        self._resting: Cursor | None = None
        """Set while the task has nothing to do but to wait."""

    def wake(self) -> None:
        """Look whether there is something to send.

        A delta that is all there is leaves at once: to wake a task costs more than to send it.
        """
        cursor = self._resting
        # Unless the task has something to do, now or behind some event that is to come.
        if cursor is not None and not (
            self._wake.is_set() or self._answers or self._stored.seq > self._told
        ):
            ahead = cursor.delta(self._encoding)
            if ahead is not None and self._wire.send_now(ahead.frame):
                cursor.position = ahead.id
                return
        self._wake.set()

    def rests_at(self, head: EventId) -> bool:
        """Whether all up to ``head`` was sent, and nothing is to be done."""
        resting = self._resting
        return self._waits() and resting is not None and resting.position == head

    def say_now(self, frame: bytes) -> bool:
        """Send a control message that is encoded, and no partial; tell whether it was sent.

        It was not if something is before it; see `say`.
        """
        try:
            return self._waits() and self._wire.send_now(frame)
        except Exception as error:  # noqa: BLE001  # whoever says it again leaves it to the task
            _log.warning("control message not sent at once", error=type(error).__name__)
            return False

    def say(self, message: Struct) -> None:
        """Send a control message, before any further event; none behind what closes the socket."""
        if self._verdict is not None:
            return
        try:
            if self._waits() and self._said(message):
                return  # to wake a task costs more
        except Exception as error:  # noqa: BLE001  # who speaks to many goes on: the task meets it
            _log.warning("control message left to the task", error=type(error).__name__)
        if isinstance(message, Pong):
            self._echoed += len(str(message.nonce))
        if len(self._controls) >= CONTROLS_WAITING or self._echoed > ECHOES_WAITING:
            self.close(Close.TOO_SLOW)
            return
        self._controls.append(message)
        self._wake.set()

    def answer(self, accepted: Accepted, effect: EventId) -> None:
        """Send ``accepted`` as soon as the client has got everything up to ``effect``."""
        if len(self._answers) >= CONTROLS_WAITING:
            self.close(Close.TOO_SLOW)
            return
        self._answers.append((effect.seq, accepted))
        self._wake.set()

    def cover(self, stored: EventId) -> None:
        """Tell the client what PostgreSQL has, once it has got that itself."""
        if stored.seq > self._stored.seq:
            self._stored = stored
            self._wake.set()

    def over(self, *, reported: bool = True) -> None:
        """Close the socket: its interview is over.

        That is as soon as its report is ``reported`` and all of it is stored: until then the client
        may have to send again what a Redis that failed has lost. At the latest it is in a minute.
        """
        if self._over_at is None:
            self._over_at = self._clock.monotonic() + OVER_LINGER_S
        self._reported = self._reported or reported
        self._wake.set()

    def close(self, code: Close) -> None:
        """Close the socket behind the control messages that wait. The first code counts.

        One who is too slow gets none of them, and who reads slowly as many as `SEND_STALL_S` lets.
        """
        if self._verdict is None:
            self._verdict, self._judged = code, self._clock.monotonic()
        self._wake.set()

    def drain(self, reconnect_after_ms: int) -> None:
        """Ask the client to go to another instance."""
        self.say(Draining(reconnect_after_ms=reconnect_after_ms))
        self.close(Close.DRAINING)

    async def send(self, message: Struct) -> None:
        """Send one message now."""
        await self._send(encode(message, self._encoding))

    async def run(self, cursor: Cursor, partials: Newest | None = None) -> None:
        """Send for ever. ``partials`` are the topic's: those that wait here may be news no more.

        Raises:
            ClosedError: the socket is to be closed.
        """
        live = False
        if partials is not None:
            self._partials = partials
        while True:
            self._wake.clear()
            if self._controls or self._verdict is not None:
                await self._send_controls()
            entries = cursor.near()  # this runs for each delta: no coroutine without need
            if entries is None:
                entries = await self._take(cursor)
            if entries:
                await self._send_entries(entries)
            if self._answers:
                await self._send_answers(cursor.position)
            if entries:
                continue
            if not live:
                live = True
                await self.send(Live(id=str(cursor.position)))
            await self._send_stored(cursor.position)
            self._check_over(cursor.position)
            await self._rest(cursor)

    async def _rest(self, cursor: Cursor) -> None:
        if self._over_at is None:
            self._resting = cursor
            try:
                await self._wake.wait()
            finally:
                self._resting = None
            return
        try:
            async with asyncio.timeout(max(0.0, self._over_at - self._clock.monotonic())):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _take(self, cursor: Cursor) -> list[Entry]:
        """Read on, in spite of short outages."""
        started, attempt = self._clock.monotonic(), 0
        while True:
            try:
                return await cursor.take()
            except ResynchroniseError:
                raise ClosedError(Close.RESYNCHRONISE) from None
            except StorageError:
                if self._clock.monotonic() - started > READ_PATIENCE_S:
                    raise ClosedError(Close.BACKEND_DOWN) from None
                await self._send_controls()
                await backoff(self._clock, attempt)
                attempt += 1

    async def _send_controls(self) -> None:
        while self._controls and not self._overdue():
            message = self._controls.pop(0)
            if not self._late(message):
                await self.send(message)
        if self._verdict is not None:
            raise ClosedError(self._verdict)
        self._echoed = 0

    def _overdue(self) -> bool:
        """Whether the socket is closed without a further word."""
        if self._verdict is None:
            return False
        slow = self._verdict is Close.TOO_SLOW
        return slow or self._clock.monotonic() - self._judged > SEND_STALL_S

    def _waits(self) -> bool:
        """Whether the task rests, and nothing has woken it."""
        return self._resting is not None and not self._wake.is_set()

    def _said(self, message: Struct) -> bool:
        """Whether nothing is left to do about a control message."""
        return self._late(message) or self._wire.send_now(encode(message, self._encoding))

    def _late(self, message: Struct) -> bool:
        """Whether it is a partial whose final is out already."""
        return isinstance(message, PartialHeard) and self._partials.closed(message.utterance_id)

    async def _send_entries(self, entries: list[Entry]) -> None:
        if len(entries) == 1:
            entry = entries[0]
            await self._send(event_frame(entry.body, entry.id, self._encoding))
        elif entries:
            for event in merge([read_body(entry.body, entry.id) for entry in entries]):
                await self.send(event)
        for entry in entries:
            if entry.body.startswith(_SPOKEN):
                self._follow(_spoken.decode(entry.body))
            elif entry.body.startswith((_ENDED, _REPORT)):
                self.over(reported=entry.body.startswith(_REPORT))

    def _follow(self, spoken: "_Started | _Recorded") -> None:
        if isinstance(spoken, _Recorded):
            self._partials.close(spoken.utterance_id, spoken.turn)
        elif spoken.speaker == "candidate":
            self._partials.begin(spoken.turn)

    async def _send_answers(self, position: EventId) -> None:
        while self._answers and self._answers[0][0] <= position.seq:
            await self.send(self._answers.pop(0)[1])

    async def _send_stored(self, position: EventId) -> None:
        if self._told < self._stored.seq <= position.seq:
            self._told = self._stored.seq
            await self.send(Stored(id=str(self._stored)))

    def _check_over(self, position: EventId) -> None:
        if self._over_at is None:
            return
        settled = self._reported and self._stored.seq >= position.seq
        if settled or self._clock.monotonic() >= self._over_at:
            raise ClosedError(Close.OVER)

    async def _send(self, frame: bytes) -> None:
        if self._wire.send_now(frame):
            return
        try:
            async with asyncio.timeout(SEND_STALL_S):
                await self._wire.send(frame)
        except TimeoutError:
            if not self._wire.send_now(frame):  # else it was this process that was late
                raise ClosedError(Close.TOO_SLOW) from None
