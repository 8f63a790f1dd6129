"""`storage.live.LiveStore` in memory; each method says in Python what a function says in Lua."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from protocol.ids import EventId, parse_event_id
from storage import live
from storage.answers import read_answer
from storage.commits import presence_of
from storage.errors import StorageError
from storage.given import changing_text, given_of
from storage.twin.outbox import Outbox
from storage.twin.records import Interview, Partition, overdue
from storage.twin.sweep import Sweep

_DELTA = re.compile(rb'{"type":"turn\.delta","turn":(\d+),"attempt":(\d+),')
_ADDS = "ingest"
"""The one kind of commit that is refused when memory is out."""


class Twin(Sweep, Outbox):
    """One instance's client of a `TwinServer`."""

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
            last = join.last_event_id
            if join.slot:
                issues = last is None or held.was_logged(last)  # else it may be turned away yet
                known = held.enlist(join.slot, join.issued, join.now, join.grace_ms, issues=issues)
                if known is None:
                    return live.Stale()
            number = holder[0] if holder is not None and again else self._server.number()
            if known:
                held.sockets[join.slot] = (number, join.nonce)
            if join.slot:
                self._server.publish(join.id, f"c{join.slot} {number}")
            presence = self._server.partition(join.id).presence
            if join.slot in {"candidate", "transcriber"} and join.id in presence:
                presence[join.id] = self._server.clock()
            held.touched = self._server.clock()
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
        other = commit.ordinal not in (live.ANY_ORDINAL, held.ordinal)
        if (
            held.version != commit.version
            or not held.was_logged(parse_event_id(commit.head))
            or (other and not commit.fence)
        ):
            return live.Conflict()
        if commit.fence and not held.holds_lease(commit.fence, self._server.clock()):
            return live.Fenced()
        present = self._server.partition(commit.id).presence.get(commit.id)
        if other or (commit.seen and commit.seen != present):
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
            held.queued = partition.queue(now, commit.id)
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

    async def append(
        self, appends: Sequence[live.Append]
    ) -> list[live.Appended | live.Fenced | StorageError]:
        """See `LiveStore.append`."""

        def act() -> list[live.Appended | live.Fenced | StorageError]:
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
    ) -> list[live.Attendance | None]:
        """See `LiveStore.attend`."""

        def act() -> list[live.Attendance | None]:
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
        lapsed = overdue(partition.presence, now - lapse_ms, limit)
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

    def _late(self, join: live.Join, number: int) -> bool:
        came = (self._server.clock() - join.age_ms) * 1000
        return join.age_ms >= live.LATE_JOIN_MS and came < number


def _restored(restore: live.Restore, now: int) -> Interview:
    opened = restore.session.open
    spoken = opened is not None and opened.speaker == "interviewer"
    return Interview(
        session=changing_text(restore.session),
        given=given_of(restore.session),
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
