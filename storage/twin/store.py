"""`storage.live.LiveStore` in memory; each method says in Python what a function says in Lua."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeVar

import msgspec

from protocol.ids import EventId, parse_event_id
from storage import live
from storage.answers import read_answer
from storage.commits import presence_of
from storage.twin.records import Interview, Partition
from storage.twin.server import TwinServer

_T = TypeVar("_T")
_DELTA = re.compile(rb'{"type":"turn\.delta","turn":(\d+),"attempt":(\d+),')
_ADDS = "ingest"
"""The one kind of commit that is refused when memory is out."""


class Twin:
    """One instance's client of a `TwinServer`. ``name`` tells a `Wire` whose calls these are."""

    def __init__(
        self, server: TwinServer, name: str = "", *, max_log: int = live.LOG_LENGTH
    ) -> None:
        self._server = server
        self._name = name
        self._max_log = max_log

    async def prepare(self) -> None:
        """There is no library to load; see `RedisStore.prepare`."""
        await self._call("prepare", lambda: None)

    async def ping(self) -> None:
        """Raise `BackendDownError` unless the server answers."""
        await self._call("ping", lambda: None)

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

        def load() -> live.State | live.Astray | live.Gone:
            held = self._held(interview_id)
            if not isinstance(held, Interview):
                return held
            if seen is not None and not held.was_logged(seen):
                return live.Astray()
            return held.describe(command, turns=turns, entries=entries)

        return await self._call("load", load)

    async def create(self, restore: live.Restore) -> Literal["ok", "exists"] | live.Erased:
        """See `LiveStore.create`."""
        name = restore.session.interview_id

        def create() -> Literal["ok", "exists"] | live.Erased:
            if self._server.erased(name):
                return live.Erased()
            if name in self._server.interviews:
                return "exists"
            created = _restored(restore, self._server.clock())
            self._server.interviews[name] = created
            partition = self._server.partition(name)
            if created.running:
                partition.leases[name] = self._server.clock()
            partition.timers[name] = restore.tick
            presence = presence_of(restore.session)
            _set_presence(created, partition, name, presence, self._server.clock())
            return "ok"

        return await self._write("create", name, create, adds=True)

    async def join(self, join: live.Join) -> live.Joined | live.Stale | live.Overtaken | live.Gone:
        """See `LiveStore.join`."""

        def act() -> live.Joined | live.Stale | live.Overtaken | live.Gone:
            held = self._held(join.id)
            if not isinstance(held, Interview):
                return held
            known: bool | None = False
            holder = held.sockets.get(join.slot)
            again = holder is not None and holder[1] == join.nonce
            if holder is not None and not again and self._late(join, holder[0]):
                return live.Overtaken()
            if join.slot:
                known = held.enlist(join.slot, join.issued, join.now, join.grace_ms)
                if known is None:
                    return live.Stale()
            number = holder[0] if holder is not None and again else self._server.number()
            if known:
                held.sockets[join.slot] = (number, join.nonce)
            if join.slot:
                self._server.publish(join.id, f"c{join.slot} {number}")
            held.touched = self._server.clock()
            last = join.last_event_id
            recovered = last is not None and (last == held.head or held.logged(last))
            state = held.describe(turns=not recovered, entries=not recovered)
            return live.Joined(recovered, number, state)

        return await self._write("join", join.id, act)

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

        def act() -> (
            live.Committed
            | live.Answer
            | live.Conflict
            | live.Fenced
            | live.Full
            | live.Missing
            | live.Erased
        ):
            held = self._held(commit.id)
            if not isinstance(held, Interview):
                return held
            return self._refusal(held, commit) or self._apply(held, commit)

        return await self._write(commit.kind, commit.id, act, adds=commit.kind == _ADDS)

    def _refusal(
        self, held: Interview, commit: live.Commit
    ) -> live.Answer | live.Conflict | live.Fenced | live.Full | None:
        remembered = held.commands.get(commit.command) if commit.command else None
        if remembered is not None:
            return read_answer(remembered)
        if held.version != commit.version or not held.was_logged(parse_event_id(commit.head)):
            return live.Conflict()
        if commit.fence and not held.holds_lease(commit.fence, self._server.clock()):
            return live.Fenced()
        present = self._server.partition(commit.id).presence.get(commit.id)
        if commit.ordinal not in (live.ANY_ORDINAL, held.ordinal) or (
            commit.seen and commit.seen != present
        ):
            return live.Fenced()
        if commit.command and len(held.commands) >= commit.max_commands:
            return live.Full()
        return None

    def _apply(self, held: Interview, commit: live.Commit) -> live.Committed:
        now = self._server.clock()
        partition = self._server.partition(commit.id)
        before = held.head
        entries = held.write(tuple(event.encode() for event in commit.events))
        held.touched = now
        if commit.session or entries:
            held.version += 1
        if commit.session:
            held.session = commit.session
            partition.timers[commit.id] = commit.tick
            _set_presence(held, partition, commit.id, commit.presence, now)
        if commit.opens:
            held.open_from = before.seq + commit.opens
        if commit.lease:
            _turn_lease(held, partition, commit, now)
        held.turns.update(commit.turns)
        if commit.command:
            answer = commit.answer or f"a{held.head}"
            held.commands[commit.command] = f"{commit.digest} {answer}"
            held.pending[commit.command] = None
        if commit.store:
            partition.queue(commit.id)
        if entries:
            held.trim(self._max_log)
            self._server.publish(commit.id, f"e{held.head}")
        return live.Committed(held.head, entries)

    # --- turns ------------------------------------------------------------------------------------

    async def acquire(
        self, interview_id: str, nonce: str, lease_ms: int = live.LEASE_MS
    ) -> live.Acquired | live.Held | live.Idle | live.Missing:
        """See `LiveStore.acquire`."""

        def act() -> live.Acquired | live.Held | live.Idle | live.Missing:
            held = self._server.interviews.get(interview_id)
            leases = self._server.partition(interview_id).leases
            if held is None or not held.running:
                leases.pop(interview_id, None)
                return live.Missing() if held is None else live.Idle()
            now = self._server.clock()
            if held.lease_until <= now:
                held.fence = held.next_fence(nonce)
            elif not held.fence.endswith(f":{nonce}"):
                return live.Held()
            held.lease_until = leases[interview_id] = now + lease_ms
            return live.Acquired(held.fence, held.describe(turns=True, entries=True))

        return await self._write("acquire", interview_id, act)

    async def renew(
        self, leases: Sequence[tuple[str, str]], lease_ms: int = live.LEASE_MS
    ) -> list[bool]:
        """See `LiveStore.renew`."""

        def renew(interview_id: str, fence: str) -> bool:
            held = self._server.interviews.get(interview_id)
            now = self._server.clock()
            if held is None or not held.holds_lease(fence, now):
                return False
            held.lease_until = now + lease_ms
            self._server.partition(interview_id).leases[interview_id] = held.lease_until
            return True

        def act() -> list[bool]:
            return [
                self._server.write(name, lambda name=name, fence=fence: renew(name, fence))
                for name, fence in leases
            ]

        return await self._call("renew", act)

    async def release(self, interview_id: str, fence: str) -> bool:
        """See `LiveStore.release`."""

        def act() -> bool:
            held = self._server.interviews.get(interview_id)
            now = self._server.clock()
            if held is None or held.fence != fence:
                return False
            if held.lease_until == 0:
                return True
            if held.lease_until <= now:
                return False
            held.lease_until = 0
            self._server.partition(interview_id).leases[interview_id] = now
            return True

        return await self._write("release", interview_id, act)

    async def append(self, appends: Sequence[live.Append]) -> list[live.Appended | live.Fenced]:
        """See `LiveStore.append`."""

        def act() -> list[live.Appended | live.Fenced]:
            return [self._server.write(a.id, lambda a=a: self._append(a)) for a in appends]

        return await self._call("append", act, adds=True)

    def _append(self, append: live.Append) -> live.Appended | live.Fenced:
        held = self._server.interviews.get(append.id)
        delta = _DELTA.match(append.body)
        if (
            held is None
            or (delta and f"{int(delta[1])}:{int(delta[2])}" != held.running)
            or not held.holds_lease(append.fence, self._server.clock())
            or append.ordinal > held.ordinal + 1
        ):
            return live.Fenced()
        entry = None
        if append.ordinal > held.ordinal:
            (entry,) = held.write((append.body,))
            held.ordinal, held.handle = append.ordinal, append.handle
        if not append.hears or self._server.listeners(append.id) != 1:
            self._server.publish(append.id, f"e{held.head}")
        return live.Appended(held.head, entry)

    # --- reading and waking -----------------------------------------------------------------------

    async def read(self, interview_id: str, start: EventId, count: int) -> list[live.Entry]:
        """See `LiveStore.read`."""

        def act() -> list[live.Entry]:
            held = self._server.interviews.get(interview_id)
            return held.after(start)[:count] if held else []

        return await self._call("read", act)

    async def pulse(
        self, interviews: Sequence[str], known: Sequence[live.Pulse | None] = ()
    ) -> list[live.Pulse | None]:
        """See `LiveStore.pulse`."""

        def pulse(interview_id: str, last: live.Pulse | None) -> live.Pulse | None:
            held = self._server.interviews.get(interview_id)
            if held is None:
                return None
            slots = ("candidate", "transcriber")
            sockets = {slot: held.sockets[slot][0] for slot in slots if slot in held.sockets}
            found = live.Pulse(held.head, held.stored, sockets)
            return last if found == last else found

        last = known or [None] * len(interviews)
        return await self._call("pulse", lambda: list(map(pulse, interviews, last)))

    async def attend(
        self, attendants: Mapping[int, Sequence[live.Attendant]], lapse_ms: int, limit: int
    ) -> list[live.Attendance]:
        """See `LiveStore.attend`."""

        def act() -> list[live.Attendance]:
            return [
                self._attend(self._server.partitions[number], present, lapse_ms, limit)
                for number, present in attendants.items()
            ]

        return await self._call("attend", act)

    def _attend(
        self, partition: Partition, attendants: Sequence[live.Attendant], lapse_ms: int, limit: int
    ) -> live.Attendance:
        now, away = self._server.clock(), list[str]()
        for each in attendants:
            held = self._server.interviews.get(each.interview_id)
            if held is None:
                partition.presence.pop(each.interview_id, None)
                continue
            held.heard = max(held.heard, now - each.heard_ms)
            if each.present:
                if each.interview_id in partition.presence:
                    partition.presence[each.interview_id] = now
                if held.away:
                    away.append(each.interview_id)
        lapsed = _due(partition.presence, now - lapse_ms, limit)
        return live.Attendance(
            tuple(away), tuple((name, partition.presence[name]) for name in lapsed)
        )

    async def publish(self, interview_id: str, payload: str) -> None:
        """See `LiveStore.publish`."""
        await self._call("publish", lambda: self._server.publish(interview_id, payload))

    async def publish_all(self, payloads: Sequence[tuple[str, str]]) -> None:
        """See `LiveStore.publish_all`."""

        def act() -> None:
            for interview_id, payload in payloads:
                self._server.publish(interview_id, payload)

        await self._call("publish", act)

    async def redeem(self, interview_id: str, ticket: str, nonce: str, seconds: int) -> bool:
        """See `LiveStore.redeem`."""

        def act() -> bool:
            tickets, now = self._server.partition(interview_id).tickets, self._server.clock()
            used = tickets.get(ticket)
            if used is None or used[1] <= now:
                tickets[ticket] = (nonce, now + seconds * 1000)
            return tickets[ticket][0] == nonce

        return await self._write("redeem", interview_id, act)

    # --- the sweep --------------------------------------------------------------------------------

    async def due(self, limit: int, *, leases_only: bool = False) -> live.Due:
        """See `LiveStore.due`."""

        def act() -> live.Due:
            now, partitions = self._server.clock(), self._server.partitions
            leases = tuple(name for p in partitions for name in _due(p.leases, now, limit))
            if leases_only:
                return live.Due(leases, (), ())
            return live.Due(
                leases,
                tuple(name for p in partitions for name in _due(p.timers, now, limit)),
                tuple(number for number, p in enumerate(partitions) if p.outbox),
            )

        return await self._call("due", act)

    async def postpone(self, interview_id: str, tick: int) -> None:
        """See `LiveStore.postpone`."""

        def act() -> None:
            timers = self._server.partition(interview_id).timers
            if interview_id in self._server.interviews:
                timers[interview_id] = tick
            else:
                timers.pop(interview_id, None)

        await self._write("postpone", interview_id, act)

    async def park(
        self, interview_id: str, version: int, idle_ms: int, again_ms: int
    ) -> Literal["ok", "active", "unstored", "missing"]:
        """See `LiveStore.park`."""

        def act() -> Literal["ok", "active", "unstored", "missing"]:
            held = self._server.interviews.get(interview_id)
            partition = self._server.partition(interview_id)
            if held is None:
                partition.timers.pop(interview_id, None)
                return "missing"
            now = self._server.clock()
            if held.version != version or now - held.touched < idle_ms or held.running:
                partition.timers[interview_id] = now + again_ms
                return "active"
            if held.stored != held.head or held.pending:
                looks = _queue_resting(held, partition, interview_id)
                pause = again_ms * 2 ** min(looks, live.PARK_DOUBLINGS)
                partition.timers[interview_id] = now + pause
                return "unstored"
            self._free(interview_id)
            return "ok"

        return await self._write("park", interview_id, act)

    async def evict(self, interview_id: str, version: int, head: EventId) -> bool:
        """See `LiveStore.evict`."""

        def act() -> bool:
            held = self._server.interviews.get(interview_id)
            if held is None or held.version != version or not held.was_logged(head):
                return False
            self._free(interview_id)
            self._server.publish(interview_id, "l")
            return True

        return await self._write("evict", interview_id, act)

    async def erase(self, interview_id: str) -> None:
        """See `LiveStore.erase`."""

        def act() -> None:
            self._free(interview_id)
            until = self._server.clock() + live.TOMBSTONE_S * 1000
            self._server.partition(interview_id).erased[interview_id] = until
            self._server.publish(interview_id, "x")

        await self._write("erase", interview_id, act)

    # --- the outbox -------------------------------------------------------------------------------

    async def unstored(self, interview_id: str) -> live.Unstored | live.Gone:
        """See `LiveStore.unstored`."""

        def act() -> live.Unstored | live.Gone:
            held = self._held(interview_id)
            if not isinstance(held, Interview):
                return held
            commands = tuple((name, held.commands[name]) for name in held.pending)
            return live.Unstored(held.describe(turns=True, entries=True), commands)

        return await self._call("unstored", act)

    async def mark_stored(
        self,
        interview_id: str,
        head: EventId,
        commands: Sequence[str] = (),
        *,
        believed: EventId | None = None,
    ) -> bool:
        """See `LiveStore.mark_stored`."""

        def act() -> bool:
            held = self._server.interviews.get(interview_id)
            if held is None:
                return True
            if not held.was_logged(head):
                return False
            for command in commands:
                held.pending.pop(command, None)
            if head.seq > held.stored.seq:
                held.stored = head
                self._server.publish(interview_id, f"s{head}")
            elif believed == held.stored and head != believed:
                held.stored = head
                held.pending |= dict.fromkeys(held.commands)
                self._server.partition(interview_id).queue(interview_id)
            return True

        return await self._write("stored", interview_id, act)

    async def enqueue_ledger(self, interview_id: str, row: bytes) -> None:
        """See `LiveStore.enqueue_ledger`."""
        number = live.partition_of(interview_id)

        def act(p: Partition) -> None:
            p.queue(interview_id, row)

        await self._change("ledger", number, act, adds=True)

    async def take(
        self, partition: int, consumer: str, count: int, idle_ms: int
    ) -> list[live.OutboxEntry]:
        """See `LiveStore.take`."""
        now = self._server.clock
        return await self._change(
            "take", partition, lambda p: p.take(consumer, count, idle_ms, now())
        )

    async def settle(self, partition: int, entries: Sequence[str]) -> None:
        """See `LiveStore.settle`."""

        def act(p: Partition) -> None:
            for name in entries:
                p.settle(name)

        if entries:
            await self._change("settle", partition, act)

    async def bury(self, partition: int, entry: live.OutboxEntry, code: str) -> bool:
        """See `LiveStore.bury`."""
        return await self._change(
            "bury",
            partition,
            lambda p: p.bury(entry.id, code, allowed=live.MAX_TRIES, kept=live.DEAD_LETTERS),
        )

    # --- calls ------------------------------------------------------------------------------------

    def _late(self, join: live.Join, number: int) -> bool:
        came = (self._server.clock() - join.age_ms) * 1000
        return join.age_ms >= live.LATE_JOIN_MS and came < number

    def _held(self, interview_id: str) -> Interview | live.Gone:
        held = self._server.interviews.get(interview_id)
        if held is not None:
            return held
        return live.Erased() if self._server.erased(interview_id) else live.Missing()

    def _free(self, interview_id: str) -> None:
        self._server.interviews.pop(interview_id, None)
        partition = self._server.partition(interview_id)
        partition.timers.pop(interview_id, None)
        partition.leases.pop(interview_id, None)
        partition.presence.pop(interview_id, None)

    async def _call(self, operation: str, effect: Callable[[], _T], *, adds: bool = False) -> _T:
        return await self._server.call(self._name, operation, effect, adds=adds)

    async def _write(
        self, operation: str, interview_id: str, effect: Callable[[], _T], *, adds: bool = False
    ) -> _T:
        return await self._call(
            operation, lambda: self._server.write(interview_id, effect), adds=adds
        )

    async def _change(
        self,
        operation: str,
        partition: int,
        effect: Callable[[Partition], _T],
        *,
        adds: bool = False,
    ) -> _T:
        return await self._call(
            operation, lambda: self._server.write_partition(partition, effect), adds=adds
        )


def _restored(restore: live.Restore, now: int) -> Interview:
    opened = restore.session.open
    spoken = opened is not None and opened.speaker == "interviewer"
    return Interview(
        session=msgspec.json.encode(restore.session).decode(),
        version=restore.version,
        head=restore.head,
        stored=restore.head,
        running=f"{opened.turn}:{opened.attempt}" if opened and spoken else "",
        touched=now,
        log=[live.Entry(restore.head, b"")] if restore.head.seq else [],
        turns={str(t.turn): msgspec.json.encode(t).decode() for t in restore.turns},
        commands=dict(restore.commands),
    )


def _set_presence(
    held: Interview, partition: Partition, name: str, presence: live.Presence, now: int
) -> None:
    if presence == "here":
        partition.presence.setdefault(name, now)
    else:
        partition.presence.pop(name, None)
    held.away = presence == "away"


def _turn_lease(held: Interview, partition: Partition, commit: live.Commit, now: int) -> None:
    held.ordinal, held.handle, held.running = 0, "", commit.running
    if commit.lease == "again":
        return
    held.fence, held.lease_until = held.next_fence(), 0
    if commit.lease == "run":
        partition.leases[commit.id] = now + commit.grace
    else:
        partition.leases.pop(commit.id, None)


def _queue_resting(held: Interview, partition: Partition, interview_id: str) -> int:
    head, looks, entry = held.parking
    looks = looks if head == held.head else 0
    if entry not in partition.outbox:
        entry = partition.queue(interview_id)
    held.parking = (held.head, looks + 1, entry)
    return looks


def _due(scores: dict[str, int], now: int, limit: int) -> list[str]:
    lapsed = sorted((score, name) for name, score in scores.items() if score <= now)
    return [name for _, name in lapsed[:limit]]
