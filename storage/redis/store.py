"""`storage.live.LiveStore` over Redis Functions."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from redis import exceptions

from protocol.ids import EventId, parse_event_id
from protocol.session import Session, Turn
from storage import live
from storage.redis import keys, library
from storage.redis.connect import Client, translate, translated

_session = msgspec.json.Decoder(Session)
_turn = msgspec.json.Decoder(Turn)
_pack = msgspec.msgpack.Encoder().encode

_Reply = list[Any]
_GROUP = "writers"
MAX_TRIES = 5


class RedisStore:
    """The live sessions in Redis. It owns no connection: the client comes from the lifespan."""

    def __init__(self, client: Client, *, max_log: int = live.LOG_LENGTH) -> None:
        self._client: Any = client  # redis-py's signatures are open-ended
        self._max_log = max_log
        self._due_keys = keys.due_keys()

    async def prepare(self) -> None:
        """Load the function library where it is missing."""
        with translated():
            await self._load_library()

    async def ping(self) -> None:
        """Raise `BackendDownError` unless Redis answers."""
        with translated():
            await self._client.execute_command("PING")

    # --- sessions ---------------------------------------------------------------------------------

    async def load(
        self, interview_id: str, *, command: str = "", turns: bool = False, entries: bool = False
    ) -> live.State | live.Gone:
        """See `LiveStore.load`."""
        reply = await self._call("load", interview_id, command, _flag(turns), _flag(entries))
        return _gone(reply) or _state(reply[1])

    async def create(self, restore: live.Restore) -> Literal["ok", "exists"] | live.Erased:
        """See `LiveStore.create`."""
        session = restore.session
        opened = session.open
        running = opened is not None and opened.speaker == "interviewer"
        arguments = {
            "id": session.interview_id,
            "session": msgspec.json.encode(session).decode(),
            "version": restore.version,
            "head": str(restore.head),
            "running": f"{opened.turn}:{opened.attempt}" if opened and running else "",
            "tick": restore.tick,
            "turns": [
                (str(turn.turn), msgspec.json.encode(turn).decode()) for turn in restore.turns
            ],
            "commands": restore.commands,
        }
        reply = await self._call("create", session.interview_id, _pack(arguments))
        return live.Erased() if reply[0] == b"erased" else "ok" if reply[0] == b"ok" else "exists"

    async def join(self, join: live.Join) -> live.Joined | live.Stale | live.Gone:
        """See `LiveStore.join`."""
        last = "" if join.last_event_id is None else str(join.last_event_id)
        issued = "" if join.issued is None else join.issued
        reply = await self._call("join", join.id, join.slot, last, issued, join.now, join.grace_ms)
        if reply[0] == b"stale":
            return live.Stale()
        return _gone(reply) or live.Joined(reply[1] == b"1", reply[2], _state(reply[3]))

    async def commit(
        self, commit: live.Commit
    ) -> (
        live.Committed
        | live.Answer
        | live.Conflict
        | live.Fenced
        | live.Full
        | live.Missing
        | live.Erased
    ):
        """See `LiveStore.commit`."""
        packed = _pack(msgspec.structs.replace(commit, max_log=self._max_log))
        reply = await self._call(commit.kind, commit.id, packed)
        match reply[0]:
            case b"ok":
                bodies = (event.encode() for event in commit.events)
                ids = (_id(raw) for raw in reply[2])
                entries = tuple(map(live.Entry, ids, bodies))
                return live.Committed(_id(reply[1]), entries)
            case b"duplicate":
                return live.read_answer(reply[1].decode())
            case b"conflict":
                return live.Conflict()
            case b"fenced":
                return live.Fenced()
            case b"full":
                return live.Full()
            case _:
                return _gone(reply) or live.Missing()

    # --- turns ------------------------------------------------------------------------------------

    async def acquire(
        self, interview_id: str, nonce: str, lease_ms: int = live.LEASE_MS
    ) -> live.Acquired | live.Held | live.Idle | live.Missing:
        """See `LiveStore.acquire`."""
        reply = await self._call("acquire", interview_id, interview_id, nonce, lease_ms)
        match reply[0]:
            case b"ok":
                return live.Acquired(reply[1].decode(), _state(reply[2]))
            case b"held":
                return live.Held()
            case b"idle":
                return live.Idle()
            case _:
                return live.Missing()

    async def renew(
        self, leases: Sequence[tuple[str, str]], lease_ms: int = live.LEASE_MS
    ) -> list[bool]:
        """See `LiveStore.renew`."""
        calls = [_args("renew", 9, name, name, fence, lease_ms) for name, fence in leases]
        return [reply[0] == b"ok" for reply in await self._pipeline(calls)]

    async def release(self, interview_id: str, fence: str) -> bool:
        """See `LiveStore.release`."""
        reply = await self._call("release", interview_id, interview_id, fence)
        return reply[0] == b"ok"

    async def append(self, appends: Sequence[live.Append]) -> list[live.Appended | live.Fenced]:
        """See `LiveStore.append`."""
        calls = [
            _args("append", 2, a.id, a.fence, a.ordinal, a.handle, self._max_log, a.body)
            for a in appends
        ]
        replies = await self._pipeline(calls)
        return [_appended(reply, a.body) for reply, a in zip(replies, appends, strict=True)]

    # --- reading and waking -----------------------------------------------------------------------

    async def read(self, interview_id: str, start: EventId, count: int) -> list[live.Entry]:
        """See `LiveStore.read`."""
        log = keys.interview_keys(interview_id)[1]
        first = str(start) if start.seq else "-"
        reply = await self._command("FCALL_RO", library.function("read"), 1, log, first, count)
        return _entries(reply)

    async def pulse(self, interviews: Sequence[str]) -> list[live.Pulse | None]:
        """See `LiveStore.pulse`."""
        fields = ("head", "stored", "socket:candidate", "socket:transcriber")
        calls = [("HMGET", keys.interview_keys(name)[0], *fields) for name in interviews]
        return [_pulse(reply) for reply in await self._pipeline(calls)]

    async def publish(self, interview_id: str, payload: str) -> None:
        """See `LiveStore.publish`."""
        await self._command("PUBLISH", keys.interview_keys(interview_id)[0], payload)

    async def redeem(self, interview_id: str, ticket: str, nonce: str, seconds: int) -> bool:
        """See `LiveStore.redeem`."""
        key = keys.ticket_key(interview_id, ticket)
        used = await self._command("FCALL", library.function("redeem"), 1, key, nonce, seconds)
        return used == 1

    # --- the sweep --------------------------------------------------------------------------------

    async def due(self, limit: int) -> live.Due:
        """See `LiveStore.due`."""
        reply = await self._command(
            "FCALL_RO", library.function("due"), len(self._due_keys), *self._due_keys, limit
        )
        leases, timers, outboxes = reply
        return live.Due(_names(leases), _names(timers), tuple(int(number) for number in outboxes))

    async def postpone(self, interview_id: str, tick: int) -> None:
        """See `LiveStore.postpone`."""
        await self._call("postpone", interview_id, interview_id, tick)

    async def park(
        self, interview_id: str, version: int, idle_ms: int, again_at: int
    ) -> Literal["ok", "active", "unstored", "missing"]:
        """See `LiveStore.park`."""
        reply = await self._call("park", interview_id, interview_id, version, idle_ms, again_at)
        return reply[-1].decode()

    async def erase(self, interview_id: str) -> None:
        """See `LiveStore.erase`."""
        await self._call("erase", interview_id, interview_id, live.TOMBSTONE_S)

    # --- the outbox -------------------------------------------------------------------------------

    async def unstored(self, interview_id: str) -> live.Unstored | live.Gone:
        """See `LiveStore.unstored`."""
        reply = await self._call("unstored", interview_id)
        return _gone(reply) or live.Unstored(_state(reply[1]), tuple(_pairs(reply[2])))

    async def mark_stored(self, interview_id: str, head: EventId, commands: Sequence[str]) -> None:
        """See `LiveStore.mark_stored`."""
        await self._call("stored", interview_id, str(head), len(commands), *commands)

    async def enqueue_ledger(self, interview_id: str, row: bytes) -> None:
        """See `LiveStore.enqueue_ledger`."""
        outbox = keys.outbox_key(live.partition_of(interview_id))
        await self._command("XADD", outbox, "*", "i", interview_id, "l", row)

    async def take(
        self, partition: int, consumer: str, count: int, idle_ms: int
    ) -> list[live.OutboxEntry]:
        """See `LiveStore.take`."""
        stream = keys.outbox_key(partition)
        reply = await self._command(
            "FCALL", library.function("take"), 1, stream, _GROUP, consumer, count, idle_ms
        )
        return [_delivery(raw) for raw in reply]

    async def settle(self, partition: int, entries: Sequence[str]) -> None:
        """See `LiveStore.settle`."""
        if not entries:
            return
        stream = keys.outbox_key(partition)
        await self._pipeline(
            [
                ("XACK", stream, _GROUP, *entries),
                ("XDEL", stream, *entries),
                ("HDEL", keys.tries_key(partition), *entries),
            ]
        )

    async def bury(self, partition: int, entry: live.OutboxEntry, code: str) -> bool:
        """See `LiveStore.bury`."""
        tries = await self._command("HINCRBY", keys.tries_key(partition), entry.id, 1)
        if tries < MAX_TRIES:
            return False
        await self._command(
            "XADD",
            keys.dead_key(partition),
            "*",
            "i",
            entry.interview_id,
            "l",
            entry.ledger,
            "code",
            code,
        )
        await self.settle(partition, [entry.id])
        return True

    # --- calls ------------------------------------------------------------------------------------

    async def _call(self, name: str, interview_id: str, *arguments: Any) -> _Reply:
        return await self._command(*_args(name, 9, interview_id, *arguments))

    async def _command(self, *arguments: Any) -> Any:
        with translated():
            try:
                return await self._client.execute_command(*arguments)
            except exceptions.ResponseError as error:
                if not _unloaded(error):
                    raise
            await self._load_library()
            return await self._client.execute_command(*arguments)

    async def _pipeline(self, calls: Sequence[tuple[Any, ...]]) -> list[_Reply]:
        """Make calls in one round trip. The first error is raised; each call can be repeated."""
        replies = await self._send(calls)
        if any(isinstance(reply, Exception) and _unloaded(reply) for reply in replies):
            with translated():
                await self._load_library()
            replies = await self._send(calls)
        for reply in replies:
            if isinstance(reply, Exception):
                raise translate(reply) from reply
        return replies

    async def _send(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        with translated():
            pipe = self._client.pipeline(transaction=False)
            for call in calls:
                pipe.execute_command(*call)
            return await pipe.execute(raise_on_error=False)

    async def _load_library(self) -> None:
        try:
            await self._client.execute_command("FUNCTION", "LOAD", library.SOURCE)
        except exceptions.ResponseError as error:
            if "already exists" not in str(error):
                raise


def _args(name: str, count: int, interview_id: str, *arguments: Any) -> tuple[Any, ...]:
    command = "FCALL_RO" if name in _READ_ONLY else "FCALL"
    named = keys.interview_keys(interview_id)[:count]
    return (command, library.function(name), count, *named, *arguments)


_READ_ONLY = frozenset(("load", "unstored"))


def _flag(value: bool) -> str:  # noqa: FBT001  # Lua has no booleans among its arguments
    return "1" if value else "0"


def _unloaded(error: Exception) -> bool:
    return "Function not found" in str(error)


def _gone(reply: _Reply) -> live.Missing | live.Erased | None:
    match reply[0]:
        case b"missing":
            return live.Missing()
        case b"erased":
            return live.Erased()
        case _:
            return None


def _id(raw: bytes) -> EventId:
    return parse_event_id(raw.decode())


def _names(raw: Sequence[bytes]) -> tuple[str, ...]:
    return tuple(name.decode() for name in raw)


def _pairs(flat: Sequence[bytes]) -> list[tuple[str, str]]:
    return [(flat[i].decode(), flat[i + 1].decode()) for i in range(0, len(flat), 2)]


def _entries(raw: Sequence[Any]) -> list[live.Entry]:
    return [live.Entry(_id(entry_id), fields[1]) for entry_id, fields in raw]


def _state(raw: Sequence[Any]) -> live.State:
    """Read what ``describe`` returns, in its order."""
    session, version, head, fence, open_from, ordinal, handle, stored, touched, answer = raw[:10]
    turns, entries = raw[10:]
    kept = sorted((_turn.decode(text) for text in turns[1::2]), key=lambda turn: turn.turn)
    return live.State(
        session=_session.decode(session),
        version=int(version),
        head=_id(head),
        fence=fence.decode(),
        open_from=int(open_from),
        ordinal=int(ordinal),
        handle=handle.decode(),
        stored=_id(stored),
        touched=int(touched),
        turns=tuple(kept),
        entries=tuple(_entries(entries)),
        answer=live.read_answer(answer.decode()) if answer else None,
    )


def _pulse(reply: _Reply) -> live.Pulse | None:
    head, stored, *sockets = reply
    if head is None:
        return None
    slots = zip(("candidate", "transcriber"), sockets, strict=True)
    return live.Pulse(_id(head), _id(stored), {slot: int(n) for slot, n in slots if n})


def _appended(reply: _Reply, body: bytes) -> live.Appended | live.Fenced:
    match reply[0]:
        case b"ok":
            return live.Appended(live.Entry(_id(reply[1]), body))
        case b"repeated":
            return live.Appended(None)
        case _:
            return live.Fenced()


def _delivery(raw: Sequence[Any]) -> live.OutboxEntry:
    fields = dict(zip(raw[1][::2], raw[1][1::2], strict=True))
    return live.OutboxEntry(
        id=raw[0].decode(), interview_id=fields[b"i"].decode(), ledger=fields.get(b"l", b"")
    )
