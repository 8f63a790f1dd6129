"""`storage.live.LiveStore` over Redis Functions."""

import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

import msgspec
import structlog

from protocol.ids import EventId
from storage import live
from storage.answers import read_answer
from storage.commits import presence_of
from storage.errors import BadDataError, StorageError
from storage.given import Given, changing_text, given_of, given_text
from storage.redis import keys, library, replies, resp
from storage.redis.connect import Client, translate, translated
from storage.redis.known import Known
from storage.redis.places import Place, Places
from storage.redis.wire import Wire

_pack = msgspec.msgpack.Encoder().encode

_log = structlog.get_logger()
_GROUP = "writers"
_GROUPED = 64
"""Appends in one call of their function: Redis answers nobody else meanwhile."""
NOTED_S = 1.5
"""So often renewals note the heads of logs, for pulses, which look every few seconds."""


class RedisStore:
    """The live sessions in Redis. It owns no connection: the client comes from the lifespan."""

    def __init__(self, client: Client, *, max_log: int = live.LOG_LENGTH) -> None:
        self._client: Any = client  # redis-py's signatures are open-ended
        self._wire = client.wire
        self._urgent = client.urgent
        self._max_log = max_log
        self._places = Places()
        self._known = Known()
        self._note_at = float("-inf")
        self._damaged = frozenset[str]()
        self._library = library.Loader(client, 2 * client.call_s)

    async def prepare(self) -> None:
        """Load the function library where it is missing, and drop those of versions long gone."""
        with translated():
            await self._library.load()
            await self._library.drop_others()

    async def ping(self) -> None:
        """Raise `BackendDownError` unless Redis answers."""
        with translated():
            await self._client.execute_command("PING")

    async def fullness(self) -> float:
        """Return what Redis takes of the memory it may take; 0 where it may take all there is."""
        with translated():
            told: Any = await self._client.info("memory")
        bound = told.get("maxmemory")
        return told["used_memory"] / bound if bound else 0.0

    # --- sessions ---------------------------------------------------------------------------------

    async def load(
        self,
        interview_id: str,
        *,
        command: str = "",
        turns: bool = False,
        entries: bool = False,
        seen: EventId | None = None,
    ) -> live.State | live.Astray | live.Gone:
        """See `LiveStore.load`."""
        known = self._known.get(interview_id)
        told = (command, _flag(turns), _flag(entries), "" if seen is None else str(seen))
        reply = await self._call("load", interview_id, *told, _flag(known is None))
        if reply[0] == b"astray":
            return live.Astray()
        return self._gone(reply, interview_id) or self._state(reply[1], interview_id, known)

    async def create(self, restore: live.Restore) -> Literal["ok", "exists"] | live.Erased:
        """See `LiveStore.create`."""
        session = restore.session
        opened = session.open
        running = opened is not None and opened.speaker == "interviewer"
        given = given_text(session)
        arguments = {
            "id": session.interview_id,
            "session": changing_text(session),
            "given": given,
            "version": restore.version,
            "head": str(restore.head),
            "running": f"{opened.turn}:{opened.attempt}" if opened and running else "",
            "tick": restore.tick,
            "presence": presence_of(session),
            "turns": [
                (str(turn.turn), msgspec.json.encode(turn).decode()) for turn in restore.turns
            ],
            "commands": restore.commands,
        }
        reply = await self._call("create", session.interview_id, _pack(arguments))
        if reply[0] == b"ok":
            self._known.keep(session.interview_id, given_of(session), len(given.encode()))
            return "ok"
        return live.Erased() if reply[0] == b"erased" else "exists"

    async def join(self, join: live.Join) -> live.Joined | live.Stale | live.Overtaken | live.Gone:
        """See `LiveStore.join`."""
        last = "" if join.last_event_id is None else str(join.last_event_id)
        issued = "" if join.issued is None else join.issued
        known = self._known.get(join.id)
        times = (issued, join.now, join.grace_ms)
        told = (join.slot, last, *times, join.nonce, join.age_ms, join.id, _flag(known is None))
        reply = await self._call("join", join.id, *told)
        if reply[0] in _REFUSED:
            return _REFUSED[reply[0]]
        return self._gone(reply, join.id) or live.Joined(
            reply[1] == b"1", reply[2], self._state(reply[3], join.id, known)
        )

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
                if commit.lease in {"run", "idle"}:
                    self._places.drop(commit.id, commit.fence)
                bodies = (event.encode() for event in commit.events)
                ids = (replies.event_id(raw) for raw in reply[2])
                entries = tuple(map(live.Entry, ids, bodies))
                return live.Committed(replies.event_id(reply[1]), entries)
            case b"duplicate":
                return read_answer(reply[1].decode())
            case b"conflict":
                return live.Conflict()
            case b"fenced":
                return live.Fenced()
            case b"full":
                return live.Full()
            case _:
                return self._gone(reply, commit.id) or live.Missing()

    # --- turns ------------------------------------------------------------------------------------

    async def acquire(
        self, interview_id: str, nonce: str, lease_ms: int = live.LEASE_MS
    ) -> live.Acquired | live.Held | live.Idle | live.Missing:
        """See `LiveStore.acquire`."""
        asked = time.monotonic()
        known = self._known.get(interview_id)
        told = (interview_id, nonce, lease_ms, _flag(known is None))
        reply = await self._call("acquire", interview_id, *told)
        match reply[0]:
            case b"ok":
                fence = reply[1].decode()
                self._places.hold(interview_id, fence, asked, lease_ms)
                return live.Acquired(fence, self._state(reply[2], interview_id, known))
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
        asked = time.monotonic()
        groups = [leases[at : at + _GROUPED] for at in range(0, len(leases), _GROUPED)]
        notes = asked >= self._note_at
        if notes:
            self._note_at = asked + NOTED_S
        calls = [resp.renewals(group, lease_ms, notes=notes) for group in groups]
        replied = await self._send(self._urgent, calls)
        answers = [answer for group in _raised(replied) for answer in group]
        renewed = [reply == 1 for reply in _raised(answers, but_refusals=True)]
        for (interview_id, fence), kept in zip(leases, renewed, strict=True):
            if kept:
                self._places.prolong(interview_id, fence, asked, lease_ms)
            else:
                self._places.drop(interview_id, fence)
        return renewed

    async def release(self, interview_id: str, fence: str) -> bool:
        """See `LiveStore.release`."""
        self._places.drop(interview_id, fence)
        reply = await self._call("release", interview_id, interview_id, fence)
        return reply[0] == b"ok"

    async def append(
        self, appends: Sequence[live.Append]
    ) -> list[live.Appended | live.Fenced | StorageError]:
        """See `LiveStore.append`."""
        link = self._urgent.number
        named = self._named(appends, link)
        if named:
            answers = await self._by_name(appends, named, link)
        else:
            answers = await self._appended(appends)
        failed = [answer for answer in answers if isinstance(answer, StorageError)]
        if failed and len(failed) == len(answers):
            raise failed[0]
        return answers

    async def _by_name(
        self, appends: Sequence[live.Append], named: Sequence[tuple[live.Append, Place]], link: int
    ) -> list[live.Appended | live.Fenced | StorageError]:
        """Append those that are ``named`` by name, and what is left by the function."""
        results: dict[str, live.Appended | live.Fenced | StorageError] = {}
        results |= await self._written(named, link)
        rest = [append for append in appends if append.id not in results]
        if rest:
            ids = [append.id for append in rest]
            try:
                results |= zip(ids, await self._appended(rest), strict=True)
            except StorageError as error:  # what was written is in the log all the same
                results |= dict.fromkeys(ids, error)
        return [results[append.id] for append in appends]

    def _named(self, appends: Sequence[live.Append], link: int) -> list[tuple[live.Append, Place]]:
        """Return those that can be written by their logs' names."""
        if not link or len({append.id for append in appends}) < len(appends):
            return []  # of one interview's, each would wait for the one before it
        places = ((append, self._places.known(append, link)) for append in appends)
        return [(append, place) for append, place in places if place is not None]

    async def _written(
        self, named: Sequence[tuple[live.Append, Place]], link: int
    ) -> dict[str, live.Appended | StorageError]:
        """Append by the logs' names; return what came of it, by interview.

        Of those who stand under another name by now, or end elsewhere, nothing is returned: the
        function tells. Who listens is asked behind that, so that whoever begins to later finds the
        words.
        """
        ends = [place.head.after(append.body) for append, place in named]
        calls = [
            resp.words(append, place.name, end)
            for (append, place), end in zip(named, ends, strict=True)
        ]
        calls.append(resp.listeners([place.own for _, place in named]))
        with translated():
            *replied, listening = await self._urgent.send(calls)
        if isinstance(listening, Exception):  # whether anybody does is not known then
            listening: list[Any] = [None] * 2 * len(named)
        results: dict[str, live.Appended | StorageError] = {}
        told: list[bytes] = []
        for (append, place), end, reply, listen in zip(
            named, ends, replied, listening[1::2], strict=True
        ):
            if isinstance(reply, bytes):
                self._places.learn(append, link, place.name, end)
                results[append.id] = live.Appended(end, live.Entry(end, append.body))
                if not append.hears or listen != 1:
                    channel = keys.interview_keys(append.id)[0]
                    told.append(resp.command(("PUBLISH", channel, f"e{end}")))
            elif isinstance(reply, Exception):
                error = translate(reply)
                if not isinstance(error, BadDataError):
                    results[append.id] = error
        self._urgent.post(told)  # whoever waits here need not wait for that; a pulse tells, too
        return results

    async def _appended(
        self, appends: Sequence[live.Append]
    ) -> list[live.Appended | live.Fenced | StorageError]:
        """Append by the function, and learn the logs' names."""
        link = self._urgent.number
        groups = [appends[at : at + _GROUPED] for at in range(0, len(appends), _GROUPED)]
        calls = [resp.appends(group) for group in groups]
        replied = await self._send(self._urgent, calls)
        same = link == self._urgent.number
        results: list[live.Appended | live.Fenced | StorageError] = []
        for group, answers in zip(groups, replied, strict=True):
            if isinstance(answers, Exception):  # what other groups wrote is in the log
                results += [translate(answers)] * len(group)
                continue
            _raised(answers, but_refusals=True)
            for reply, append in zip(answers, group, strict=True):
                result = replies.appended(reply, append.body)
                if isinstance(result, live.Fenced):
                    self._places.drop(append.id, append.fence)
                else:
                    known = same and reply[1]  # of a word that is no more the last there is no name
                    self._places.learn(append, link if known else 0, reply[1], result.head)
                results.append(result)
        return results

    # --- reading and waking -----------------------------------------------------------------------

    async def read(self, interview_id: str, start: EventId, count: int) -> list[live.Entry]:
        """See `LiveStore.read`."""
        named = keys.interview_keys(interview_id)[:2]
        first = str(start) if start.seq else "-"
        reply = await self._command("FCALL_RO", library.function("read"), 2, *named, first, count)
        return replies.log_entries(reply)

    async def pulse(
        self, interviews: Sequence[str], known: Sequence[live.Pulse | None] = ()
    ) -> list[live.Pulse | None]:
        """See `LiveStore.pulse`."""
        if not interviews:
            return []
        last = known or [None] * len(interviews)
        replied = await self._send(self._wire, [resp.pulses(interviews)], len(interviews))
        if _refuses(replied):
            refused = [translate(reply) for reply in replied if isinstance(reply, Exception)]
            for error in refused:  # of some, it is their keys; of all, it is Redis
                if len(refused) == len(replied) or not isinstance(error, BadDataError):
                    raise error
        return [replies.pulse(reply, pulse) for reply, pulse in zip(replied, last, strict=True)]

    async def publish(self, interview_id: str, payload: str) -> None:
        """See `LiveStore.publish`."""
        await self._command("PUBLISH", keys.interview_keys(interview_id)[0], payload)

    async def publish_all(self, payloads: Sequence[tuple[str, str]]) -> None:
        """See `LiveStore.publish_all`."""
        await self._pipeline(
            [
                resp.command(("PUBLISH", keys.interview_keys(name)[0], payload))
                for name, payload in payloads
            ]
        )

    async def redeem(self, interview_id: str, ticket: str, nonce: str, seconds: int) -> bool:
        """See `LiveStore.redeem`."""
        key = keys.ticket_key(interview_id, ticket)
        used = await self._command("FCALL", library.function("redeem"), 1, key, nonce, seconds)
        return used == 1

    async def attend(
        self, attendants: Mapping[int, Sequence[live.Attendant]], lapse_ms: int, limit: int
    ) -> list[live.Attendance | None]:
        """See `LiveStore.attend`."""
        calls = [
            resp.attend(partition, present, lapse_ms, limit)
            for partition, present in attendants.items()
        ]
        replied = _raised(await self._send(self._wire, calls), but_refusals=True)
        return [
            None if isinstance(reply, Exception) else replies.attendance(reply) for reply in replied
        ]

    # --- the sweep --------------------------------------------------------------------------------

    async def due(self, limit: int, *, leases_only: bool = False) -> live.Due:
        """See `LiveStore.due`."""
        call = _due(library.function("due"), limit, leases_only)
        ((leases, timers, outboxes, damaged, oldest),) = await self._pipeline([call])
        for key in frozenset(replies.names(damaged)) - self._damaged:
            self._damaged |= {key}
            _log.error("key is damaged, and passed over", key=key)
        return live.Due(
            replies.names(leases),
            replies.names(timers),
            tuple(int(number) for number in outboxes),
            oldest or None,
        )

    async def postpone(self, interview_id: str, tick: int, version: int | None = None) -> None:
        """See `LiveStore.postpone`."""
        known = "" if version is None else version
        await self._call("postpone", interview_id, interview_id, tick, known)

    async def park(
        self, interview_id: str, version: int, idle_ms: int, again_ms: int
    ) -> Literal["ok", "active", "unstored", "missing"]:
        """See `LiveStore.park`."""
        reply = await self._call("park", interview_id, interview_id, version, idle_ms, again_ms)
        return reply[-1].decode()

    async def evict(self, interview_id: str, version: int, head: EventId) -> bool:
        """See `LiveStore.evict`."""
        reply = await self._call("evict", interview_id, interview_id, version, str(head))
        return reply[0] == b"ok"

    async def erase(self, interview_id: str) -> None:
        """See `LiveStore.erase`."""
        await self._call("erase", interview_id, interview_id, live.TOMBSTONE_S)
        self._known.drop(interview_id)

    # --- the outbox -------------------------------------------------------------------------------

    async def unstored(self, interview_id: str) -> live.Unstored | live.Gone:
        """See `LiveStore.unstored`."""
        known = self._known.get(interview_id)
        reply = await self._call("unstored", interview_id, _flag(known is None))
        return self._gone(reply, interview_id) or live.Unstored(
            self._state(reply[1], interview_id, known), tuple(replies.pairs(reply[2]))
        )

    async def mark_stored(
        self,
        interview_id: str,
        head: EventId,
        commands: Sequence[str] = (),
        *,
        believed: EventId | None = None,
    ) -> bool:
        """See `LiveStore.mark_stored`."""
        heads = (str(head), "" if believed is None else str(believed))
        reply = await self._call("stored", interview_id, interview_id, *heads, *commands)
        return reply[0] != b"lost"

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
        return [replies.delivery(raw) for raw in reply]

    async def settle(self, partition: int, entries: Sequence[str]) -> None:
        """See `LiveStore.settle`."""
        if entries:
            outbox, tries = keys.outbox_key(partition), keys.tries_key(partition)
            await self._command(
                "FCALL", library.function("settle"), 2, outbox, tries, _GROUP, *entries
            )

    async def bury(self, partition: int, entry: live.OutboxEntry, code: str) -> bool:
        """See `LiveStore.bury`."""
        buried = await self._command(
            "FCALL",
            library.function("bury"),
            3,
            keys.outbox_key(partition),
            keys.tries_key(partition),
            keys.dead_key(partition),
            _GROUP,
            entry.id,
            code,
            live.MAX_TRIES,
            live.DEAD_LETTERS,
        )
        return buried == 1

    # --- what is kept beside the sessions ---------------------------------------------------------

    async def function(self, name: str, named: Sequence[str], *arguments: Any) -> Any:
        """Call a function of the library on any keys."""
        return await self._command("FCALL", library.function(name), len(named), *named, *arguments)

    async def plain(self, *calls: Sequence[Any]) -> list[Any]:
        """Make plain commands in one round trip."""
        return await self._pipeline([resp.command(call) for call in calls])

    # --- calls ------------------------------------------------------------------------------------

    async def _call(self, name: str, interview_id: str, *arguments: Any) -> replies.Reply:
        return await self._command(*_args(name, 10, interview_id, *arguments))

    def _state(self, raw: Sequence[Any], interview_id: str, known: Given | None) -> live.State:
        return replies.state(raw, known or self._known.learn(interview_id, raw[1]))

    def _gone(self, reply: replies.Reply, interview_id: str) -> live.Missing | live.Erased | None:
        gone = replies.gone(reply)
        if gone is not None:
            self._known.drop(interview_id)
        return gone

    async def _command(self, *arguments: Any) -> Any:
        (reply,) = await self._pipeline([resp.command(arguments)])
        return reply

    async def _pipeline(self, calls: Sequence[bytes]) -> list[Any]:
        """Make packed calls in one round trip. The first error is raised; all can be repeated."""
        return _raised(await self._send(self._wire, calls))

    async def _send(
        self, wire: Wire, calls: Sequence[bytes], count: int | None = None
    ) -> list[Any]:
        """Make packed calls in one round trip; an error stands in for a refused one's reply."""
        loads = self._library.loads
        with translated():
            answers = await wire.send(calls, count)
        if _refuses(answers) and any(map(_unloaded, answers)):
            with translated():
                await self._library.load_again(loads)
                answers = await wire.send(calls, count)
        return answers


def _refuses(replies: Sequence[Any]) -> bool:
    """Whether an error is among them. Thousands are looked at each second: kind by kind."""
    return any(issubclass(kind, Exception) for kind in set(map(type, replies)))


def _raised(replies: list[Any], *, but_refusals: bool = False) -> list[Any]:
    """Return ``replies``, or raise the first error among them.

    ``but_refusals`` are left where they stand: an interview whose keys are damaged must not stop
    the others.
    """
    if not _refuses(replies):
        return replies
    for reply in replies:
        if isinstance(reply, Exception):
            error = translate(reply)
            if not (but_refusals and isinstance(error, BadDataError)):
                raise error from reply
            _log.error("call refused", error=type(reply).__name__)
    return replies


@lru_cache(maxsize=8)
def _due(function: str, limit: int, leases_only: bool) -> bytes:  # noqa: FBT001  # for the cache
    # All keys of all partitions, some times a second: packed once.
    named = keys.due_keys(leases_only=leases_only)
    return resp.command(("FCALL_RO", function, len(named), *named, limit, live.PARTITIONS))


def _args(name: str, count: int, interview_id: str, *arguments: Any) -> tuple[Any, ...]:
    command = "FCALL_RO" if name in _READ_ONLY else "FCALL"
    named = keys.interview_keys(interview_id)[:count]
    return (command, library.function(name), count, *named, *arguments)


_READ_ONLY = frozenset(("load", "unstored"))


_REFUSED = {b"stale": live.Stale(), b"overtaken": live.Overtaken()}


def _flag(value: bool) -> str:  # noqa: FBT001  # Lua has no booleans among its arguments
    return "1" if value else "0"


def _unloaded(reply: Any) -> bool:
    return isinstance(reply, Exception) and "Function not found" in str(reply)
