"""One socket: what comes in, the worker that decides its commands, and its outlet.

What comes in is always read, so that life signs are seen while a command waits for a backend. The
worker decides commands one by one, in the order they came.
"""

import asyncio
from typing import Any, Protocol

import msgspec
import structlog
from msgspec import Struct

from protocol import commands as c
from protocol.closes import Close
from protocol.codec import (
    Encoding,
    MismatchError,
    UndecodableError,
    decode_command,
    decode_hello,
    plain_pong,
)
from protocol.events import (
    Accepted,
    Error,
    PartialHeard,
    Pong,
    RatingReady,
    Rejected,
    Thinking,
    Welcome,
)
from protocol.ids import EventId
from protocol.limits import HELLO_TIMEOUT_S, LIMITS
from protocol.scalars import Role
from server.clock import Clock
from server.cursor import Cursor
from server.heartbeats import Heartbeats
from server.hub import Hub, Topic
from server.joining import Door, RefusedError, Seat
from server.leases import SUSPENDED_S
from server.meters import SocketMeter
from server.outlet import ClosedError, Outlet, Wire
from server.partials import UTTERANCES
from server.presence import Presence
from server.rates import CommandRate, ErrorCount
from server.sessions import AstrayError, Followers, Sessions, Verdict
from server.voice import Voice
from server.waiting import Flag
from storage.errors import ErasedError, MissingError, StorageError
from storage.live import LiveStore

COMMANDS_WAITING = 64
"""Commands of one socket that wait for their decision; more are refused as too many."""
EARLY_BYTES = 2 * LIMITS.frame_bytes
"""What is taken in before the welcome, all in all; from then on the peer has to wait for it."""

_log = structlog.get_logger()


class Backends(Struct, frozen=True):
    """What the connections of one instance share."""

    store: LiveStore
    sessions: Sessions
    hub: Hub
    door: Door
    followers: Followers
    clock: Clock
    meter: SocketMeter
    presence: Presence
    heartbeats: Heartbeats


class Socket(Wire, Protocol):
    """A `Wire` whose other end can be made to wait."""

    def pause_reading(self) -> None:
        """Take nothing more in for now."""
        ...

    def resume_reading(self) -> None:
        """Read on."""
        ...


class Connection:
    """One socket of one interview, from ``hello`` to its close. It is its topic's `Watcher`.

    At rest it is one task, which waits for something to send. What comes in is told by `take`.
    """

    __slots__ = (
        "_arrived", "_clock", "_cursor", "_deciding", "_early", "_early_size", "_encoding", "_end",
        "_errors", "_open", "_outlet", "_rate", "_seat", "_shared", "_task", "_topic", "_voice",
        "_welcome", "_wire", "_work", "heard", "interview_id",
    )  # fmt: skip

    def __init__(
        self, shared: Backends, wire: Socket, interview_id: str, encoding: Encoding
    ) -> None:
        self.interview_id = interview_id
        self._shared = shared
        self._clock = shared.clock
        self._wire = wire
        self._encoding: Encoding = encoding
        self._outlet = Outlet(wire, encoding, shared.clock)
        now = shared.clock.monotonic()
        self._rate = CommandRate(now)
        self._errors = ErrorCount()
        self.heard = now
        """The monotonic time of the last sign of life: a message, or a ping of the WebSocket."""
        self._task: asyncio.Task[Any] | None = None
        self._end: ClosedError | None = None
        """Why it is to end at once, whatever it waits for."""
        self._early: list[str | bytes] = []
        self._early_size = 0
        self._arrived = Flag()
        self._seat: Seat | None = None
        self._welcome: Welcome | None = None
        self._cursor: Cursor | None = None
        self._topic: Topic | None = None
        self._open = False
        self._work: list[c.DurableCommand | Voice] = []
        self._deciding: asyncio.Task[None] | None = None
        self._voice: Voice | None = None

    async def run(self) -> Close | None:
        """Serve the socket; return the code to close it with, None where the peer went first."""
        if self._end is not None:
            return self._end.code
        self._task = task = asyncio.current_task()
        assert task is not None  # noqa: S101  # a coroutine runs in a task
        cancelled = task.cancelling()
        self._shared.heartbeats.enter(self)
        try:
            await self._come_in()
            await self._serve()
        except asyncio.CancelledError:
            if self._end is None or task.uncancel() > cancelled:
                raise
            return self._end.code
        except StorageError:
            return Close.BACKEND_DOWN
        except (ClosedError, RefusedError) as end:
            return end.code
        finally:
            self._task = None
            self._shared.heartbeats.leave(self)
            if self._topic is not None:
                await self._shared.hub.leave(self._topic, self)

    async def _come_in(self) -> None:
        """From ``hello`` to the welcome. What only this needs, the session above all, goes with it.

        Who leaves meanwhile, perhaps long ago, as it slept or this process did, ends this here: a
        socket that nobody holds any more must not replace its own client's newer one.
        """
        shared = self._shared
        hello = await self._hello()
        since = self.heard
        grant = shared.door.identify(self.interview_id, hello)
        topic = self._topic = await shared.hub.enter(self.interview_id, self)
        admission = await shared.door.admit(grant, hello, since=since)
        self._seat, self._welcome = admission.seat, admission.welcome
        topic.tell_again()  # who replaced this one meanwhile was told to nobody
        self._cursor = Cursor(shared.store, topic, admission.position)
        session = admission.session
        if session.over:
            self._outlet.over(reported=session.report is not None)
        elif session.open is not None and session.open.speaker == "interviewer":
            shared.followers.run(self.interview_id)  # in case its lease has lapsed
        elif session.open is not None:
            topic.partials.begin(session.open.turn)
            for segment in session.open.segments[-UTTERANCES:]:
                topic.partials.close(segment.utterance_id, session.open.turn)
        self._outlet.cover(admission.stored)

    async def _hello(self) -> c.Hello:
        try:
            async with asyncio.timeout(HELLO_TIMEOUT_S):
                return await self._first_frame()
        except TimeoutError:
            late = self._clock.monotonic() - self.heard > HELLO_TIMEOUT_S + SUSPENDED_S
            # Where it was this process that slept, the client may come again.
            raise ClosedError(Close.INTERNAL if late else Close.NO_HELLO) from None

    async def _first_frame(self) -> c.Hello:
        while True:
            frame = await self._next_frame()
            if len(frame.encode() if isinstance(frame, str) else frame) > LIMITS.hello_bytes:
                raise ClosedError(Close.MESSAGE_TOO_BIG)
            try:
                return decode_hello(frame, self._encoding)
            except UndecodableError:
                raise ClosedError(Close.UNDECODABLE) from None
            except MismatchError as error:
                await self._outlet.send(Error(code="invalid_message", message=str(error)))
                if self._errors.add(self._clock.monotonic()):
                    raise ClosedError(Close.ABUSE) from None

    async def _next_frame(self) -> str | bytes:
        while not self._early:
            self._arrived.clear()
            await self._arrived.wait()
        return self._early.pop(0)

    async def _serve(self) -> None:
        shared, seat, cursor = self._shared, self._seat, self._cursor
        assert seat is not None  # noqa: S101  # it came in
        assert cursor is not None  # noqa: S101
        shared.meter.connected(seat.role, 1)
        attends = seat.role != "observer"
        if attends:
            shared.presence.enter(self.interview_id, self)
        try:
            await self._greet()
            await self._outlet.run(cursor, cursor.partials)
        finally:
            shared.meter.connected(seat.role, -1)
            if attends:
                shared.presence.leave(self.interview_id, self)
            await self._decide_no_more()

    async def _greet(self) -> None:
        """Send the welcome; what came before it is read now."""
        welcome, self._welcome = self._welcome, None
        assert welcome is not None  # noqa: S101  # it came in
        await self._outlet.send(welcome)
        self._open = True
        early, self._early = self._early, []
        for frame in early:
            self._read(frame)
        if self._end is not None:
            raise self._end
        self._wire.resume_reading()

    # --- in ---

    def take(self, message: str | bytes) -> None:
        """Take a frame. Before the welcome it is kept, of a peer that sends very much not all."""
        self.heard = self._clock.monotonic()
        if self._open:
            self._read(message)
            return
        self._early.append(message)
        self._early_size += len(message)
        if len(self._early) >= COMMANDS_WAITING or self._early_size > EARLY_BYTES:
            self._wire.pause_reading()
        self._arrived.set()

    def pinged(self) -> None:
        """Note a sign of life; browsers send none of this kind, so that no frozen page does."""
        self.heard = self._clock.monotonic()

    def left(self) -> None:
        """Note that the peer is gone: that is a sign of life, too."""
        self.heard = self._clock.monotonic()
        self._end_with(None)

    def _read(self, frame: str | bytes) -> None:
        if self._end is not None:
            return
        try:
            pong = plain_pong(frame, self._encoding, self._clock.now())
            if pong is not None and self._outlet.say_now(pong):
                return
            self._obey(decode_command(frame, self._encoding))
        except UndecodableError:
            self.abort(Close.UNDECODABLE)
        except MismatchError as error:
            self._misfit(error)
        except Exception:  # noqa: BLE001  # the peer learns 4000, the log learns why
            _log.exception("frame not read", interview=self.interview_id)
            self.abort(Close.INTERNAL)

    def _misfit(self, error: MismatchError) -> None:
        if error.extended is not None:
            command_id = _id_of(error.extended)
            exempt = isinstance(error.extended, c.Ack | c.Ping)
            if exempt or self._affords(command_id):
                self._refuse(command_id, "unknown_field", str(error))
            return
        self._outlet.say(Error(code="invalid_message", message=str(error)))
        if self._errors.add(self.heard):
            self._outlet.close(Close.ABUSE)

    def _obey(self, command: c.Command) -> None:
        role = self._seat.role if self._seat is not None else "observer"
        match command:
            case c.Ping(nonce=nonce):
                self._outlet.say(Pong(nonce=nonce, server_time=self._clock.now()))
            case c.Ack():
                pass  # a sign of life
            case _ if not c.permitted(role, command):
                self._forbid(command, role)
            case c.SpeechPartial():
                self._offer(command, role)
            case _:
                self._enqueue(command)

    def _forbid(self, command: c.DurableCommand | c.SpeechPartial, role: Role) -> None:
        command_id = _id_of(command)
        if self._affords(command_id):
            message = f"{command.__struct_config__.tag} may not be sent as {role}"
            self._refuse(command_id, "forbidden", message)

    def _enqueue(self, command: c.DurableCommand) -> None:
        if self._affords(command.id):
            self._decide_soon(command)

    def _affords(self, command_id: str | None) -> bool:
        """Whether one more command is within the limits; else it is refused here, or dropped."""
        if self._rate.admit(self.heard) and len(self._work) < COMMANDS_WAITING:
            return True
        if command_id is not None:
            message = "too many commands; send it again later"
            self._reject(command_id, "rate_limited", message, retryable=True)
        if self._rate.exhausted(self.heard):
            self._outlet.close(Close.RATE_LIMITED)
        return False

    def _offer(self, partial: c.SpeechPartial, role: Role) -> None:
        voice = self._voice
        if voice is None:  # most sockets have none
            shared = self._shared
            self._voice = voice = Voice(
                self.interview_id, role, shared.store, shared.sessions, shared.clock
            )
        voice.offer(partial, lambda: self._decide_soon(voice))

    # --- decisions ---

    def _decide_soon(self, work: "c.DurableCommand | Voice") -> None:
        """One by one, in the order they came: by a task that is there while something waits."""
        self._work.append(work)
        if self._deciding is None and self._open:
            self._deciding = asyncio.create_task(self._decide_all())

    async def _decide_all(self) -> None:
        try:
            while self._work and self._end is None:
                match self._work.pop(0):
                    case Voice() as voice:
                        await voice.publish()
                    case command:
                        await self._decide(command)
        except Exception:  # noqa: BLE001  # the peer learns 4000, the log learns why
            _log.exception("command not decided", interview=self.interview_id)
            self.abort(Close.INTERNAL)
        finally:
            self._deciding = None

    async def _decide_no_more(self) -> None:
        self._open = False
        if (deciding := self._deciding) is not None:
            deciding.cancel()
            await asyncio.wait((deciding,))

    async def _decide(self, command: c.DurableCommand) -> None:
        try:
            verdict = await self._shared.sessions.command(
                self.interview_id, command, self._cursor and self._cursor.position
            )
        except (MissingError, ErasedError):
            self.abort(Close.FORBIDDEN)
            return
        except AstrayError:
            self.abort(Close.RESYNCHRONISE)
            return
        self._shared.meter.decided(str(command.__struct_config__.tag), _outcome(verdict))
        if verdict.rejected is not None:
            reject = verdict.rejected
            self._reject(command.id, reject.code, reject.message, retryable=reject.retryable)
        elif verdict.accepted is not None:
            effect = verdict.accepted
            self._outlet.answer(
                Accepted(command_id=command.id, id=str(effect), duplicate=verdict.duplicate),
                effect,
            )

    def _refuse(self, command_id: str | None, code: str, message: str) -> None:
        """Answer a command; one without an id can only be told that something was refused."""
        if command_id is None:
            self._outlet.say(Error(code=code, message=message))
        else:
            self._reject(command_id, code, message)

    def _reject(self, command_id: str, code: str, message: str, *, retryable: bool = False) -> None:
        self._outlet.say(
            Rejected(command_id=command_id, code=code, message=message, retryable=retryable)
        )

    # --- what the hub tells ---

    def wake(self) -> None:
        """See `Watcher.wake`: whoever wakes does it for many, so that a fault here stays here."""
        try:
            self._outlet.wake()
        except Exception:  # noqa: BLE001  # the socket ends, and the client resumes
            _log.exception("socket not woken", interview=self.interview_id)
            self.abort(Close.INTERNAL)

    def reach(self, head: EventId) -> bool:
        """See `Watcher.reach`."""
        rests = self._outlet.rests_at(head)
        if not rests:
            self.wake()
        return rests

    def stored(self, covered: EventId) -> None:
        """See `Watcher.stored`."""
        self._outlet.cover(covered)

    def joined(self, slot: str, number: int) -> None:
        """See `Watcher.joined`: a newer socket of the same slot replaces this one."""
        mine = self._seat
        if mine is not None and slot and mine.slot == slot and number > mine.number:
            self._outlet.close(Close.REPLACED)

    def partial(self, heard: PartialHeard) -> None:
        """See `Watcher.partial`."""
        if self._seat is not None and self._seat.role == "observer":
            self._outlet.say(heard)

    def rated(self, payload: str) -> None:
        """See `Watcher.rated`."""
        if self._seat is not None and self._seat.role == "observer":
            self._outlet.say(_ratings.decode(payload))

    def thinking(self, turn: int) -> None:
        """See `Watcher.thinking`."""
        self._outlet.say(Thinking(turn=turn))

    def gone(self) -> None:
        """See `Watcher.gone`."""
        self._outlet.close(Close.FORBIDDEN)

    def lost(self) -> None:
        """See `Watcher.lost`."""
        if self._seat is not None:
            self._outlet.close(Close.RESYNCHRONISE)

    def drain(self, reconnect_after_ms: int) -> None:
        """Ask the client to go to another instance."""
        self._outlet.drain(reconnect_after_ms)

    def abort(self, code: Close) -> None:
        """Close the socket now, whatever it waits for: Redis, its client, its turn."""
        self._end_with(code)

    def _end_with(self, code: Close | None) -> None:
        if self._end is None:
            self._end = ClosedError(code)
            # Where it is the socket's own task that says so, `_greet` looks.
            if self._task is not None and self._task is not asyncio.current_task():
                self._task.cancel()


_ratings = msgspec.json.Decoder(RatingReady)


def _id_of(command: c.Command) -> str | None:
    return None if isinstance(command, c.SpeechPartial | c.Ack | c.Ping) else command.id


def _outcome(verdict: Verdict) -> str:
    if verdict.rejected is not None:
        return verdict.rejected.code
    return "duplicate" if verdict.duplicate else "accepted"
