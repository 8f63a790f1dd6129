"""One socket: a reader, a worker for its commands, and its outlet.

The reader always reads, so that life signs are seen while a command waits for a backend. The worker
decides commands one by one, in the order they came.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any, TypeVar

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
    encode,
)
from protocol.events import Accepted, Error, PartialHeard, Pong, RatingReady, Rejected, Thinking
from protocol.ids import EventId
from protocol.limits import HEARTBEAT_MS, HEARTBEATS_MISSED, HELLO_TIMEOUT_S, LIMITS
from protocol.scalars import Role
from server.clock import Clock
from server.credentials import Grant
from server.cursor import Cursor
from server.hub import Hub, Topic
from server.joining import Admission, Door, RefusedError
from server.leases import SUSPENDED_S
from server.meters import SocketMeter
from server.outlet import ClosedError, Outlet, Wire
from server.partials import UTTERANCES
from server.presence import Presence
from server.rates import CommandRate, ErrorCount
from server.sessions import AstrayError, Followers, Sessions, Verdict
from storage.errors import ErasedError, MissingError, StorageError
from storage.live import LiveStore

COMMANDS_WAITING = 64
"""Commands of one socket that wait for their decision; more are refused as too many."""
HEARTBEAT_S = HEARTBEAT_MS / 1000 * HEARTBEATS_MISSED
PARTIAL_S = 1 / LIMITS.partials_per_second

T = TypeVar("T")

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


class _Speak(Struct, frozen=True):
    """The newest partial is due."""


class Connection:
    """One socket of one interview, from ``hello`` to its close. It is its topic's `Watcher`."""

    def __init__(self, shared: Backends, wire: Wire, interview_id: str, encoding: Encoding) -> None:
        self._shared = shared
        self._clock = shared.clock
        self._wire = wire
        self._interview_id = interview_id
        self._encoding: Encoding = encoding
        self._outlet = Outlet(wire, encoding, shared.clock)
        now = shared.clock.monotonic()
        self._rate = CommandRate(now)
        self._errors = ErrorCount()
        self._heard = now
        self._task: asyncio.Task[Any] | None = None
        self._aborted: Close | None = None
        self._work: asyncio.Queue[c.DurableCommand | _Speak] = asyncio.Queue(COMMANDS_WAITING + 1)
        self._partial: c.SpeechPartial | None = None
        self._partial_due = now
        self._admission: Admission | None = None
        self._cursor: Cursor | None = None
        self._topic: Topic | None = None
        self._early: deque[str | bytes] = deque()

    @property
    def heard(self) -> float:
        """The monotonic time of the last frame."""
        return self._heard

    async def run(self) -> Close | None:
        """Serve the socket; return the code to close it with, None where the peer went first."""
        self._task = task = asyncio.current_task()
        assert task is not None  # noqa: S101  # a coroutine runs in a task
        cancelled = task.cancelling()
        try:
            return await self._attend()
        except asyncio.CancelledError:
            if self._aborted is None or task.uncancel() > cancelled:
                raise
            return self._aborted
        finally:
            self._task = None
            if self._topic is not None:
                await self._shared.hub.leave(self._topic, self)

    async def _attend(self) -> Close | None:
        try:
            hello = await self._hello()
            grant = self._shared.door.identify(self._interview_id, hello)
            admission, topic = await self._while_present(self._enter(grant, hello, self._heard))
            return await self._serve(
                admission, Cursor(self._shared.store, topic, admission.position)
            )
        except StorageError:
            return Close.BACKEND_DOWN
        except (ClosedError, RefusedError) as end:
            return end.code

    async def _enter(self, grant: Grant, hello: c.Hello, since: float) -> tuple[Admission, Topic]:
        topic = self._topic = await self._shared.hub.enter(self._interview_id, self)
        return await self._shared.door.admit(grant, hello, since=since), topic

    async def _while_present(self, work: Coroutine[Any, Any, T]) -> T:
        """Await ``work`` unless the peer leaves, perhaps long ago: it slept, or this process did.

        A socket that nobody holds any more must not replace its own client's newer one.
        """
        working, listening = asyncio.ensure_future(work), asyncio.ensure_future(self._listen())
        try:
            await asyncio.wait((working, listening), return_when=asyncio.FIRST_COMPLETED)
            if listening.done():
                listening.result()
            return await working
        finally:
            working.cancel()
            listening.cancel()
            await asyncio.gather(working, listening, return_exceptions=True)

    async def _listen(self) -> None:
        """Keep what comes before the welcome; a peer that sends very much is not listened to."""
        while len(self._early) < COMMANDS_WAITING:
            self._early.append(await self._receive())

    async def _hello(self) -> c.Hello:
        try:
            async with asyncio.timeout(HELLO_TIMEOUT_S):
                return await self._first_frame()
        except TimeoutError:
            late = self._clock.monotonic() - self._heard > HELLO_TIMEOUT_S + SUSPENDED_S
            # Where it was this process that slept, the client may come again.
            raise ClosedError(Close.INTERNAL if late else Close.NO_HELLO) from None

    async def _first_frame(self) -> c.Hello:
        while True:
            frame = await self._receive()
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

    async def _serve(self, admission: Admission, cursor: Cursor) -> Close | None:
        self._admission, self._cursor = admission, cursor
        self._shared.meter.connected(admission.role, 1)
        session = admission.session
        if session.over:
            self._outlet.over()
        elif session.open is not None and session.open.speaker == "interviewer":
            self._shared.followers.run(self._interview_id)  # in case its lease has lapsed
        elif session.open is not None and self._topic is not None:
            self._topic.partials.begin(session.open.turn)
            for segment in session.open.segments[-UTTERANCES:]:
                self._topic.partials.close(segment.utterance_id)
        self._outlet.cover(admission.stored)
        code: Close | None = None
        attends = admission.role != "observer"
        if attends:
            self._shared.presence.enter(self._interview_id, self)
        try:
            await self._outlet.send(admission.welcome)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._outlet.run(cursor, self._topic and self._topic.partials))
                group.create_task(self._decide_all())
                await self._read_all(admission.role)
        except* ClosedError as ends:
            code = _first(ends)
        finally:
            self._shared.meter.connected(admission.role, -1)
            if attends:
                self._shared.presence.leave(self._interview_id, self)
        return code

    # --- in ---

    async def _next_frame(self) -> str | bytes:
        return self._early.popleft() if self._early else await self._receive()

    async def _receive(self) -> str | bytes:
        frame = await self._wire.receive()
        self._heard = self._clock.monotonic()  # to leave is a sign of life, too
        if frame is None:
            raise ClosedError(None)
        return frame

    async def _read_all(self, role: Role) -> None:
        while True:
            frame = await self._next_frame()
            try:
                command = decode_command(frame, self._encoding)
            except UndecodableError:
                raise ClosedError(Close.UNDECODABLE) from None
            except MismatchError as error:
                self._misfit(error)
            else:
                self._take(command, role)

    def _misfit(self, error: MismatchError) -> None:
        if error.command_id is not None:
            if self._affords(error.command_id):
                self._reject(error.command_id, "unknown_field", str(error))
            return
        self._outlet.say(Error(code="invalid_message", message=str(error)))
        if self._errors.add(self._heard):
            self._outlet.close(Close.ABUSE)

    def _take(self, command: c.Command, role: Role) -> None:
        match command:
            case c.Ping(nonce=nonce):
                self._outlet.say(Pong(nonce=nonce, server_time=self._clock.now()))
            case c.Ack():
                pass  # a sign of life
            case _ if not c.permitted(role, command):
                self._forbid(command, role)
            case c.SpeechPartial():
                self._offer(command)
            case _:
                self._enqueue(command)

    def _forbid(self, command: c.DurableCommand | c.SpeechPartial, role: Role) -> None:
        command_id = None if isinstance(command, c.SpeechPartial) else command.id
        if not self._affords(command_id):
            return
        message = f"{command.__struct_config__.tag} may not be sent as {role}"
        if command_id is None:
            self._outlet.say(Error(code="forbidden", message=message))
        else:
            self._reject(command_id, "forbidden", message)

    def _enqueue(self, command: c.DurableCommand) -> None:
        if self._affords(command.id):
            self._work.put_nowait(command)

    def _affords(self, command_id: str | None) -> bool:
        """Whether one more command is within the limits; else it is refused here, or dropped."""
        if self._rate.admit(self._heard) and self._work.qsize() < COMMANDS_WAITING:
            return True
        if command_id is not None:
            message = "too many commands; send it again later"
            self._reject(command_id, "rate_limited", message, retryable=True)
        if self._rate.exhausted(self._heard):
            self._outlet.close(Close.RATE_LIMITED)
        return False

    def _offer(self, partial: c.SpeechPartial) -> None:
        """Pass on at most ten partials a second, the newest of those that came meanwhile."""
        waiting, self._partial = self._partial, partial
        if waiting is None:
            loop = asyncio.get_running_loop()
            pause = max(0.0, self._partial_due - self._heard)
            loop.call_later(pause, self._work.put_nowait, _Speak())
            self._partial_due = self._heard + pause + PARTIAL_S

    # --- decisions ---

    async def _decide_all(self) -> None:
        while True:
            match await self._work.get():
                case _Speak():
                    await self._speak()
                case command:
                    await self._decide(command)

    async def _decide(self, command: c.DurableCommand) -> None:
        try:
            verdict = await self._shared.sessions.command(
                self._interview_id, command, self._cursor and self._cursor.position
            )
        except (MissingError, ErasedError):
            raise ClosedError(Close.FORBIDDEN) from None
        except AstrayError:
            raise ClosedError(Close.RESYNCHRONISE) from None
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

    async def _speak(self) -> None:
        partial, self._partial = self._partial, None
        if partial is None:
            return
        heard = PartialHeard(
            utterance_id=partial.utterance_id, revision=partial.revision, text=partial.text
        )
        try:
            payload = "p" + encode(heard, "json").decode()
            await self._shared.store.publish(self._interview_id, payload)
        except StorageError as error:
            _log.info("partial dropped", error=type(error).__name__)

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
            _log.exception("socket not woken", interview=self._interview_id)
            self.abort(Close.INTERNAL)

    def reach(self, head: EventId) -> None:
        """See `Watcher.reach`."""
        if not self._outlet.rests_at(head):
            self.wake()

    def stored(self, covered: EventId) -> None:
        """See `Watcher.stored`."""
        self._outlet.cover(covered)

    def joined(self, slot: str, number: int) -> None:
        """See `Watcher.joined`: a newer socket of the same slot replaces this one."""
        mine = self._admission
        if mine is not None and slot and mine.slot == slot and number > mine.number:
            self._outlet.close(Close.REPLACED)

    def partial(self, heard: PartialHeard) -> None:
        """See `Watcher.partial`."""
        if self._admission is not None and self._admission.role == "observer":
            self._outlet.say(heard)

    def rated(self, payload: str) -> None:
        """See `Watcher.rated`."""
        if self._admission is not None and self._admission.role == "observer":
            self._outlet.say(_ratings.decode(payload))

    def thinking(self, turn: int) -> None:
        """See `Watcher.thinking`."""
        self._outlet.say(Thinking(turn=turn))

    def gone(self) -> None:
        """See `Watcher.gone`."""
        self._outlet.close(Close.FORBIDDEN)

    def lost(self) -> None:
        """See `Watcher.lost`."""
        if self._admission is not None:
            self._outlet.close(Close.RESYNCHRONISE)

    def tick(self, now: float) -> None:
        """See `Watcher.tick`."""
        if self._outlet.stalled(now):
            self.abort(Close.TOO_SLOW)
        elif now - self._heard > HEARTBEAT_S:
            self.abort(Close.HEARTBEAT_LOST)

    def drain(self, reconnect_after_ms: int) -> None:
        """Ask the client to go to another instance."""
        self._outlet.drain(reconnect_after_ms)

    def abort(self, code: Close) -> None:
        """Close the socket now, whatever it waits for: Redis, its client, its turn."""
        if self._task is not None and self._aborted is None:
            self._aborted = code
            self._task.cancel()


_ratings = msgspec.json.Decoder(RatingReady)


def _outcome(verdict: Verdict) -> str:
    if verdict.rejected is not None:
        return verdict.rejected.code
    return "duplicate" if verdict.duplicate else "accepted"


def _first(ends: BaseExceptionGroup[ClosedError]) -> Close | None:
    """Return the code of the first of perhaps several reasons to close."""
    end = ends.exceptions[0]
    return end.code if isinstance(end, ClosedError) else _first(end)
