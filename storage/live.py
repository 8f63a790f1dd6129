"""The port of the live store: what is asked of Redis, and of the twin that simulations use.

Every method may raise `BackendDownError`; those that add data may raise `OutOfMemoryError`. Each
can be repeated with the same arguments: commits by version and command id, appends by ordinal,
acquisitions by nonce.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from protocol.codec import read_body
from protocol.effects import Reject
from protocol.events import TurnDelta, TurnReset
from protocol.ids import ORIGIN, EventId
from protocol.session import Session, Turn
from storage.errors import StorageError

PARTITIONS = 256
LEASE_MS = 1500
PICKUP_GRACE_MS = 500
"""How long the instance that opened a turn has to acquire it before sweepers try."""
LOG_LENGTH = 4096
COMMAND_IDS = 10_000
LAST_IDS = 100
"""Ids beyond those, for ending the interview; half of them for answers, too."""
IDLE_MS = 3_600_000
"""How long a live interview rests before it is parked in PostgreSQL."""
PARK_DOUBLINGS = 9
"""How often the pause before the next look at what cannot be parked is doubled."""
LATE_JOIN_MS = 1000
"""A join this old may have been overtaken by a newer socket's."""
TOMBSTONE_S = 86_400
MAX_TRIES = 5
"""How often an outbox entry with bad data is tried."""
DEAD_LETTERS = 10_000
"""How many dead letters a partition keeps, about."""
RESUME_GRACE_MS = 600_000
"""How long a resume token stays good after a newer one was issued for the same slot."""

ANY_ORDINAL = -1

LeaseChange = Literal["", "run", "again", "idle"]
Presence = Literal["", "here", "away"]
"""Whether somebody has to be there: ``here`` while the clock runs, ``away`` while it waits."""


def partition_of(interview_id: str) -> int:
    """Return the partition, 0 … 255, whose keys share a Cluster slot with the interview's."""
    return zlib.crc32(interview_id.encode()) % PARTITIONS


class Entry(Struct, frozen=True, gc=False):
    """One event in the log. An empty body stands for the history before a rebuilt log."""

    id: EventId
    body: bytes


class Answer(Struct, frozen=True):
    """What a command was answered, remembered under its id together with its content's digest."""

    digest: str
    accepted: str = ""
    rejected: Reject | None = None


class State(Struct, frozen=True, kw_only=True):
    """One interview as the store holds it. ``entries`` are those of the interviewer's open turn.

    ``heard`` is when the last sign of life came from somebody who could answer, in Unix ms.
    """

    session: Session
    version: int
    head: EventId
    fence: str = ""
    open_from: int = 0
    ordinal: int = 0
    handle: str = ""
    stored: EventId
    touched: int = 0
    heard: int = 0
    turns: tuple[Turn, ...] = ()
    entries: tuple[Entry, ...] = ()
    answer: Answer | None = None

    @property
    def logged(self) -> str:
        """The logged text of the open turn's present attempt."""
        pieces: list[str] = []
        for entry in self.entries:
            event = read_body(entry.body, entry.id) if entry.body else None
            if isinstance(event, TurnReset):
                pieces.clear()
            elif isinstance(event, TurnDelta):
                pieces.append(event.text)
        return "".join(pieces)


class Commit(Struct, frozen=True, kw_only=True):
    """One transition to be made durable; the fields are those of ``commit`` in the Lua source.

    ``version`` and ``head`` are those of the state it was decided on. A session rebuilt after a
    loss comes to the same version again by another course, whose log lacks that head.

    ``ordinal`` is that of the last append which the finished turn's text ends with. Where the log
    has another one, it lost some of that text, and the turn's runner is fenced out; or more of it
    came, and who has no fence reads it again. Fenced out is, too, who decided on an absence, where
    somebody was ``seen`` since.
    """

    id: str
    version: int
    head: str
    kind: Literal["ingest", "finish", "cancel"]
    fence: str = ""
    ordinal: int = ANY_ORDINAL
    command: str = ""
    digest: str = ""
    answer: str = ""
    session: str = ""
    tick: int = 0
    opens: int = 0
    lease: LeaseChange = ""
    running: str = ""
    grace: int = PICKUP_GRACE_MS
    presence: Presence = ""
    seen: int = 0
    store: bool = False
    max_log: int = LOG_LENGTH
    max_commands: int = COMMAND_IDS
    events: tuple[str, ...] = ()
    turns: tuple[tuple[str, str], ...] = ()


class Committed(Struct, frozen=True):
    """The transition is in the log: the new head, and the entries it added."""

    head: EventId
    entries: tuple[Entry, ...]


class Conflict(Struct, frozen=True):
    """The state moved on since it was read: read again, decide again."""


class Fenced(Struct, frozen=True):
    """The caller does not hold the turn any more. It must stop."""


class Full(Struct, frozen=True):
    """The interview has used up its command ids."""


class Missing(Struct, frozen=True):
    """Redis does not hold the interview: rebuild it from PostgreSQL."""


class Erased(Struct, frozen=True):
    """The interview was erased."""


class Astray(Struct, frozen=True):
    """The log does not hold what the caller has seen: it lost its tail."""


class Held(Struct, frozen=True):
    """Another instance holds the turn."""


class Idle(Struct, frozen=True):
    """No turn is to be generated."""


class Join(Struct, frozen=True, kw_only=True):
    """A socket that wants to be registered.

    ``slot`` is what at most one socket may hold (empty: any number), ``issued`` the time of issue
    of the resume token that was shown (None: it came with a ticket). ``last_event_id`` is None or
    a well-formed id. ``nonce`` names the socket, for a call that is repeated, and ``age_ms`` tells
    how long ago its ``hello`` came.
    """

    id: str
    slot: str
    last_event_id: EventId | None
    issued: int | None
    now: int
    nonce: str
    age_ms: int = 0
    grace_ms: int = RESUME_GRACE_MS


class Stale(Struct, frozen=True):
    """The resume token was outlived by a newer one."""


class Overtaken(Struct, frozen=True):
    """A newer socket took the slot while this one waited."""


class Joined(Struct, frozen=True):
    """A socket is registered. Numbers rise with each socket of the interview, also over a rebuild.

    Where ``recovered``, the log goes on from the id it showed.
    """

    recovered: bool
    number: int
    state: State


class Acquired(Struct, frozen=True):
    """The caller holds the turn's lease under ``fence``."""

    fence: str
    state: State


class Append(Struct, frozen=True, kw_only=True, gc=False):
    """One piece of the relay: the ``ordinal``-th append of an attempt.

    ``hears``: the caller hears the interview's notifications, and needs none of its own piece.
    """

    id: str
    fence: str
    ordinal: int
    handle: str
    body: bytes
    hears: bool = False


class Appended(Struct, frozen=True, gc=False):
    """The log, which ends at ``head``, holds the piece.

    ``entry`` is None where an earlier, unanswered call put it in.
    """

    head: EventId
    entry: Entry | None


class Restore(Struct, frozen=True, kw_only=True):
    """An interview to be put into Redis: new, or rebuilt from PostgreSQL.

    ``commands`` are (id, remembered answer) as the store wrote them; ``tick`` is Unix ms.
    """

    session: Session
    version: int
    head: EventId
    tick: int
    turns: tuple[Turn, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()


class Unstored(Struct, frozen=True):
    """What the writer takes to PostgreSQL: the state, and command answers it does not have yet."""

    state: State
    commands: tuple[tuple[str, str], ...]


class Pulse(Struct, frozen=True):
    """What a socket that missed every notification must learn sooner or later.

    ``sockets`` holds the number of the newest candidate's and transcriber's socket, by slot.
    ``raw`` is what it was read from, all in one; it is for the store alone, which may compare it.
    """

    head: EventId
    stored: EventId
    sockets: dict[str, int]
    raw: bytes = b""


UNREADABLE = Pulse(ORIGIN, ORIGIN, {})
"""Stands for a pulse that tells nothing, by its identity."""


class Attendant(Struct, frozen=True, gc=False):
    """One interview whose candidate is ``present`` on an instance, or just left it.

    ``heard_ms`` is how long ago the last sign of life came from there.
    """

    interview_id: str
    present: bool
    heard_ms: int


class Attendance(Struct, frozen=True):
    """What one partition answers: who is present where the clock waits, and who is missing.

    ``lapsed`` are live interviews where nobody was seen for too long, each with when that was.
    """

    away: tuple[str, ...]
    lapsed: tuple[tuple[str, int], ...]


class Due(Struct, frozen=True):
    """What the clock brought: interviews with lapsed leases or due timers, busy outboxes.

    ``oldest`` is when the first entry of these outboxes was put there, in Unix ms.
    """

    leases: tuple[str, ...]
    timers: tuple[str, ...]
    outboxes: tuple[int, ...]
    oldest: int | None = None


class OutboxEntry(Struct, frozen=True):
    """One delivery of the outbox: an interview to be written, or a ledger row."""

    id: str
    interview_id: str = ""
    ledger: bytes = b""


Gone = Missing | Erased


class LiveStore(Protocol):
    """The live sessions. One implementation over Redis, one in memory."""

    async def load(
        self,
        interview_id: str,
        *,
        command: str = "",
        turns: bool = False,
        entries: bool = False,
        seen: EventId | None = None,
    ) -> State | Astray | Gone:
        """Read the state; with ``command``, also what that command was answered.

        With ``seen``, what the caller was told of last, only where the log leads on from that.
        """
        ...

    async def create(self, restore: Restore) -> Literal["ok", "exists"] | Erased:
        """Put an interview in, unless it is there or was erased."""
        ...

    async def join(self, join: Join) -> Joined | Stale | Overtaken | Gone:
        """Register a socket; with no recovery the state comes with turns and entries.

        It is noted that a token is issued, unless the log lost ``last_event_id``: then it may not.
        """
        ...

    async def commit(
        self, commit: Commit
    ) -> Committed | Answer | Conflict | Fenced | Full | Missing | Erased:
        """Make a transition durable. An `Answer` means that the command was decided before."""
        ...

    async def acquire(
        self, interview_id: str, nonce: str, lease_ms: int = LEASE_MS
    ) -> Acquired | Held | Idle | Missing:
        """Take the lease of the turn that is to be generated."""
        ...

    async def renew(
        self, leases: Sequence[tuple[str, str]], lease_ms: int = LEASE_MS
    ) -> list[bool]:
        """Renew leases, given as (interview, fence); False where the holder was fenced out."""
        ...

    async def release(self, interview_id: str, fence: str) -> bool:
        """Give a turn up for others to take at once."""
        ...

    async def append(self, appends: Sequence[Append]) -> list[Appended | Fenced | StorageError]:
        """Append pieces of many interviews in one round trip.

        An error stands for a piece that was not appended, as far as is known, where another was.
        """
        ...

    async def read(self, interview_id: str, start: EventId, count: int) -> list[Entry]:
        """Return entries from ``start`` on, the entry at ``start`` itself included."""
        ...

    async def pulse(
        self, interviews: Sequence[str], known: Sequence[Pulse | None] = ()
    ) -> list[Pulse | None]:
        """Return what each interview's sockets must know at the least; None where it is missing.

        ``known`` is what each had last: that very object comes again where nothing changed.
        `UNREADABLE` stands for one whose keys are damaged: it must not stop the others.
        """
        ...

    async def attend(
        self, attendants: Mapping[int, Sequence[Attendant]], lapse_ms: int, limit: int
    ) -> list[Attendance | None]:
        """Tell by partition who is present here, and learn who is nowhere.

        What was not seen on any instance for ``lapse_ms`` has lapsed; at most ``limit`` of them are
        told for each partition. What is told of but not held any more, or is damaged, is missed no
        longer. None stands for a partition that refuses: nobody was told there.
        """
        ...

    async def publish(self, interview_id: str, payload: str) -> None:
        """Send an ephemeral payload to every instance that watches the interview."""
        ...

    async def publish_all(self, payloads: Sequence[tuple[str, str]]) -> None:
        """Send payloads, given as (interview, payload), in one round trip; see `publish`."""
        ...

    async def redeem(self, interview_id: str, ticket: str, nonce: str, seconds: int) -> bool:
        """Use a ticket up; True for the first nonce that asks, also when it asks again."""
        ...

    async def due(self, limit: int, *, leases_only: bool = False) -> Due:
        """Return what lapsed, at most ``limit`` of a partition's leases and timers."""
        ...

    async def postpone(self, interview_id: str, tick: int, version: int | None = None) -> None:
        """Set the interview's next timer, if it still is at ``version``, where one is given.

        The timer of an interview that is not there is dropped.
        """
        ...

    async def park(
        self, interview_id: str, version: int, idle_ms: int, again_ms: int
    ) -> Literal["ok", "active", "unstored", "missing"]:
        """Free an interview that rests and is wholly in PostgreSQL, with what it queued last.

        Else its timer is set to ``again_ms`` from now. One that is not stored is queued, unless the
        last park's entry still waits, and the pause doubles with each look at the same head.
        """
        ...

    async def evict(self, interview_id: str, version: int, head: EventId) -> bool:
        """Drop the session if it is still at ``version`` on the log that holds ``head``.

        PostgreSQL does not lead to it: a failover lost the tail of its log. Its sockets are told,
        and it is rebuilt.
        """
        ...

    async def erase(self, interview_id: str) -> None:
        """Free everything of the interview, and refuse what arrives late."""
        ...

    async def unstored(self, interview_id: str) -> Unstored | Gone:
        """Read what the writer needs."""
        ...

    async def mark_stored(
        self,
        interview_id: str,
        head: EventId,
        commands: Sequence[str] = (),
        *,
        believed: EventId | None = None,
    ) -> bool:
        """Tell that PostgreSQL has committed everything up to ``head``, and ``commands``.

        ``believed`` is `State.stored` as it was before PostgreSQL was found to hold ``head`` and no
        more. Where it is the same still, and further on, PostgreSQL lost its tail: ``stored`` goes
        back, and all that came after, with every command's answer, is queued to be written again.

        False where the log does not hold ``head``: it lost its tail after that was read, PostgreSQL
        is ahead of Redis, and nothing was marked.
        """
        ...

    async def enqueue_ledger(self, interview_id: str, row: bytes) -> None:
        """Queue a ledger row. A repeat queues it twice: the row's own id tells them apart."""
        ...

    async def take(
        self, partition: int, consumer: str, count: int, idle_ms: int
    ) -> list[OutboxEntry]:
        """Take deliveries: new ones, and those another consumer left for ``idle_ms``."""
        ...

    async def settle(self, partition: int, entries: Sequence[str]) -> None:
        """Acknowledge and delete deliveries that are committed."""
        ...

    async def bury(self, partition: int, entry: OutboxEntry, code: str) -> bool:
        """Count a failure of bad data, once a delivery; at the fifth move it to the dead letters.

        True where the entry is out of the outbox.
        """
        ...


Listener = Callable[[str, str], None]
"""Called with the interview and the payload of a notification; an empty payload wakes in doubt."""


class Notifier(Protocol):
    """The instance's one notification connection."""

    async def watch(self, interview_id: str) -> None:
        """Begin to receive the interview's notifications; returns when they flow."""
        ...

    async def unwatch(self, interview_id: str) -> None:
        """Stop receiving them."""
        ...

    def hears(self, interview_id: str) -> bool:
        """Tell whether the interview's notifications flow, as far as this side knows."""
        ...
