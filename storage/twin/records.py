"""What the twin holds of one interview and of one partition."""

from dataclasses import dataclass, field, replace

import msgspec

from protocol.ids import ORIGIN, EventId
from protocol.session import Turn
from storage.answers import read_answer
from storage.given import Given, whole
from storage.live import Answer, Entry, OutboxEntry, State

SLOTS = 256

_turn = msgspec.json.Decoder(Turn)


@dataclass(slots=True)
class Interview:
    """One interview's keys. ``session``, ``turns`` and ``commands`` are kept as they were sent."""

    session: str
    given: Given
    version: int
    head: EventId
    stored: EventId
    running: str
    touched: int
    heard: int = 0
    away: bool = False
    fence: str = "0:"
    lease_until: int = 0
    open_from: int = 0
    ordinal: int = 0
    handle: str = ""
    queued: str = ""
    parking: tuple[EventId, int, str] = (ORIGIN, 0, "")
    log: list[Entry] = field(default_factory=list[Entry])
    turns: dict[str, str] = field(default_factory=dict[str, str])
    commands: dict[str, str] = field(default_factory=dict[str, str])
    pending: dict[str, None] = field(default_factory=dict[str, None])
    resumes: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    sockets: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])

    def copy(self) -> "Interview":
        """Return a copy that changes to this one do not reach."""
        return replace(
            self,
            log=self.log.copy(),
            turns=self.turns.copy(),
            commands=self.commands.copy(),
            pending=self.pending.copy(),
            resumes={slot: times.copy() for slot, times in self.resumes.items()},
            sockets=self.sockets.copy(),
        )

    def holds_lease(self, fence: str, now: int) -> bool:
        """Whether ``fence`` is the holder's, and its lease has not lapsed."""
        return self.fence == fence and self.lease_until > now

    def next_fence(self, nonce: str = "") -> str:
        """Return the fence that outdoes the present one."""
        return f"{int(self.fence.partition(':')[0]) + 1}:{nonce}"

    def write(self, bodies: tuple[bytes, ...]) -> tuple[Entry, ...]:
        """Append to the log."""
        entries: list[Entry] = []
        for body in bodies:
            self.head = self.head.after(body)
            entries.append(Entry(self.head, body))
        self.log += entries
        return tuple(entries)

    def trim(self, length: int) -> None:
        """Trim the log by length, but never into the open turn."""
        first = self.head.seq - length + 1
        if 0 < self.open_from < first:
            first = self.open_from
        if self.log and self.log[0].id.seq < first:
            del self.log[: first - self.log[0].id.seq]

    def after(self, start: EventId) -> list[Entry]:
        """Return the entries from ``start`` on."""
        if not self.log:
            return []
        place = max(0, start.seq - self.log[0].id.seq)
        return [entry for entry in self.log[place : place + 1] if entry.id >= start] + (
            self.log[place + 1 :]
        )

    def logged(self, position: EventId) -> bool:
        """Whether ``position`` is in the log now."""
        if not self.log:
            return False
        place = position.seq - self.log[0].id.seq
        return 0 <= place < len(self.log) and self.log[place].id == position

    def was_logged(self, position: EventId) -> bool:
        """Whether ``position`` is, or was, in the log. What was trimmed away was there."""
        if position in (self.head, ORIGIN):
            return True
        if position.seq >= self.head.seq:
            return False
        return not self.log or position.seq < self.log[0].id.seq or self.logged(position)

    def describe(self, command: str = "", *, turns: bool, entries: bool) -> State:
        """Return what a caller needs to decide."""
        kept = sorted((_turn.decode(text) for text in self.turns.values()), key=_number)
        return State(
            session=whole(self.session, self.given),
            version=self.version,
            head=self.head,
            fence=self.fence,
            open_from=self.open_from,
            ordinal=self.ordinal,
            handle=self.handle,
            stored=self.stored,
            touched=self.touched,
            heard=self.heard,
            turns=tuple(kept) if turns else (),
            entries=self._open_entries() if entries else (),
            answer=self._answer(command),
        )

    def _open_entries(self) -> tuple[Entry, ...]:
        if not self.open_from or not self.running:
            return ()
        return tuple(self.after(EventId(self.open_from, 0)))

    def _answer(self, command: str) -> Answer | None:
        remembered = self.commands.get(command) if command else None
        return read_answer(remembered) if remembered else None

    def enlist(
        self, slot: str, issued: int | None, now: int, grace: int, *, issues: bool
    ) -> bool | None:
        """Note a token if ``slot`` ``issues`` one; None where the one shown is stale.

        Tells whether the slot is remembered: only so many are.
        """
        known = slot in self.resumes or 2 * len(self.resumes) + _FIELDS < 2 * SLOTS
        times = self.resumes.get(slot, [])
        past = [at for at in times if at <= now - grace]
        if issued is not None and any(at > issued for at in past):
            return None
        if known and issues:
            recent = [at for at in times if at > now - grace]
            self.resumes[slot] = [*sorted(past)[-1:], *recent[-32:], now]
        return known


_FIELDS = 12
"""The fields of an interview's hash beside those of its sockets."""


def _number(turn: Turn) -> int:
    return turn.turn


@dataclass(slots=True)
class Delivery:
    """One entry of an outbox. ``deliveries`` is 0 until a consumer takes it."""

    entry: OutboxEntry
    queued_at: int
    consumer: str = ""
    taken_at: int = 0
    deliveries: int = 0


@dataclass(slots=True)
class Partition:
    """The keys that the interviews of a partition share, and what outlives an interview."""

    leases: dict[str, int] = field(default_factory=dict[str, int])
    timers: dict[str, int] = field(default_factory=dict[str, int])
    presence: dict[str, int] = field(default_factory=dict[str, int])
    outbox: dict[str, Delivery] = field(default_factory=dict[str, Delivery])
    queued: int = 0
    tries: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    dead: list[tuple[OutboxEntry, str]] = field(default_factory=list[tuple[OutboxEntry, str]])
    tickets: dict[str, tuple[str, int]] = field(default_factory=dict[str, tuple[str, int]])
    erased: dict[str, int] = field(default_factory=dict[str, int])

    def copy(self) -> "Partition":
        """Return a copy that changes to this one do not reach."""
        return replace(
            self,
            leases=self.leases.copy(),
            timers=self.timers.copy(),
            presence=self.presence.copy(),
            outbox={name: replace(delivery) for name, delivery in self.outbox.items()},
            tries=self.tries.copy(),
            dead=self.dead.copy(),
            tickets=self.tickets.copy(),
            erased=self.erased.copy(),
        )

    @property
    def oldest(self) -> int:
        """When the first entry of the outbox, which is not empty, was put there."""
        return next(iter(self.outbox.values())).queued_at

    def queue(self, now: int, interview_id: str, ledger: bytes = b"") -> str:
        """Put an entry into the outbox; return its name."""
        self.queued += 1
        name = f"{self.queued}-0"
        self.outbox[name] = Delivery(OutboxEntry(name, interview_id, ledger), now)
        return name

    def take(self, consumer: str, count: int, idle_ms: int, now: int) -> list[OutboxEntry]:
        """Take deliveries that were left for ``idle_ms``, then new ones."""
        waiting = list(self.outbox.values())
        left = [d for d in waiting if d.deliveries and now - d.taken_at >= idle_ms]
        fresh = [d for d in waiting if not d.deliveries]
        taken = [*left, *fresh][:count]
        for delivery in taken:
            delivery.consumer, delivery.taken_at = consumer, now
            delivery.deliveries += 1
        return [delivery.entry for delivery in taken]

    def settle(self, name: str) -> None:
        """Take a committed entry out."""
        self.outbox.pop(name, None)
        self.tries.pop(name, None)

    def bury(self, name: str, code: str, *, allowed: int, kept: int) -> bool:
        """Count a failure once a delivery; tell whether the entry is out of the outbox."""
        delivery = self.outbox.get(name)
        if delivery is None:
            return True
        tries, counted = self.tries.get(name, (0, 0))
        if not delivery.deliveries or counted != delivery.deliveries:
            tries += 1
            self.tries[name] = (tries, delivery.deliveries)
        if tries < allowed:
            return False
        self.dead = [*self.dead[1 - kept :], (delivery.entry, code)]
        self.settle(name)
        return True


def overdue(scores: dict[str, int], now: int, limit: int) -> list[str]:
    """Return the names whose score lies at ``now`` or before, the lowest first."""
    lapsed = sorted((score, name) for name, score in scores.items() if score <= now)
    return [name for _, name in lapsed[:limit]]
