"""The shared half of the twin: what a Redis server holds, and what may go wrong with it.

Calls are instantaneous unless a `Wire` makes them wait; each is atomic. Every write is journalled,
so that a failover can lose the last of them.
"""

from collections import Counter, deque
from collections.abc import Callable
from typing import Literal, Protocol, TypeVar

from storage.errors import BackendDownError, OutOfMemoryError
from storage.live import PARTITIONS, partition_of
from storage.twin.records import Interview, Partition

JOURNAL = 64
"""How many of the last writes can be lost."""

_T = TypeVar("_T")


class Wire(Protocol):
    """The way of a call and of its reply. Either may wait, or raise `BackendDownError`."""

    async def request(self, client: str, operation: str) -> None:
        """Wait until the call arrives; raising means that it never does."""
        ...

    async def reply(self, client: str, operation: str) -> None:
        """Wait until the reply arrives; raising means that it never does."""
        ...


class Subscriber(Protocol):
    """One instance's notification connection, as the server sees it."""

    def receive(self, interview_id: str, payload: str) -> None:
        """Take what was published."""
        ...

    def hears(self, interview_id: str) -> bool:
        """Tell whether it is subscribed to the interview's notifications."""
        ...

    def reconnected(self) -> None:
        """The connection was lost, and is there again."""
        ...


class TwinServer:
    """One Redis for many clients.

    ``down`` and ``full`` (out of memory) may be set at any time; ``lose`` drops single calls or
    replies by name, `fail_over` and `flush` lose data. ``clock`` returns Unix ms.
    """

    def __init__(self, clock: Callable[[], int], *, wire: Wire | None = None) -> None:
        self.clock = clock
        self.wire = wire
        self.full = False
        self.interviews: dict[str, Interview] = {}
        self.partitions = [Partition() for _ in range(PARTITIONS)]
        self.subscribers: list[Subscriber] = []
        self.calls: Counter[str] = Counter()
        self._down = False
        self._number = 0
        self._lost: Counter[tuple[str, str]] = Counter()
        self._journal: deque[Callable[[], None]] = deque(maxlen=JOURNAL)

    @property
    def down(self) -> bool:
        """Whether nothing is answered. Back up, every notification connection is made anew."""
        return self._down

    @down.setter
    def down(self, down: bool) -> None:
        was, self._down = self._down, down
        if was and not down:
            self._reconnect()

    def lose(
        self, operation: str, part: Literal["request", "reply"] = "request", times: int = 1
    ) -> None:
        """Lose the next ``times`` calls of ``operation``, before or after they take effect."""
        self._lost[operation, part] += times

    def fail_over(self, writes: int) -> None:
        """Lose the last writes: a replica that had not received them takes over.

        Raises:
            ValueError: more than the journal holds.
        """
        if writes > JOURNAL:
            raise ValueError(f"at most {JOURNAL} writes can be lost")
        for _ in range(min(writes, len(self._journal))):
            self._journal.pop()()
        self._reconnect()

    def flush(self) -> None:
        """Lose everything."""
        self.interviews.clear()
        self.partitions = [Partition() for _ in range(PARTITIONS)]
        self._journal.clear()
        self._reconnect()

    def publish(self, interview_id: str, payload: str) -> None:
        """Notify every instance that watches the interview."""
        for subscriber in tuple(self.subscribers):
            subscriber.receive(interview_id, payload)

    def listeners(self, interview_id: str) -> int:
        """Return how many instances watch the interview."""
        return sum(subscriber.hears(interview_id) for subscriber in self.subscribers)

    def partition(self, interview_id: str) -> Partition:
        """Return the partition of an interview."""
        return self.partitions[partition_of(interview_id)]

    def number(self) -> int:
        """Return the next socket's number: by the microsecond, and never the same."""
        self._number = max(self._number + 1, self.clock() * 1000)
        return self._number

    def erased(self, interview_id: str) -> bool:
        """Whether the interview has a tombstone."""
        return self.partition(interview_id).erased.get(interview_id, 0) > self.clock()

    def write(self, interview_id: str, change: Callable[[], _T]) -> _T:
        """Make a change to one interview and its partition, such that it can be lost."""
        number = partition_of(interview_id)
        held = self.interviews.get(interview_id)
        before, shared = held.copy() if held else None, self.partitions[number].copy()

        def undo() -> None:
            self.partitions[number] = shared
            if before is None:
                self.interviews.pop(interview_id, None)
            else:
                self.interviews[interview_id] = before

        self._journal.append(undo)
        return change()

    def write_partition(self, number: int, change: Callable[[Partition], _T]) -> _T:
        """Make a change to one partition, such that it can be lost."""
        shared = self.partitions[number].copy()

        def undo() -> None:
            self.partitions[number] = shared

        self._journal.append(undo)
        return change(self.partitions[number])

    async def call(
        self, client: str, operation: str, effect: Callable[[], _T], *, adds: bool = False
    ) -> _T:
        """Make a call: its way here, its effect, the way of its reply.

        Raises:
            BackendDownError: it was lost; ``effect`` may have taken place.
            OutOfMemoryError: it ``adds`` data and memory is out.
        """
        self.calls[operation] += 1
        if self.wire is not None:
            await self.wire.request(client, operation)
        self._pass(operation, "request")
        if adds and self.full:
            raise OutOfMemoryError("Redis is out of memory")
        result = effect()
        if self.wire is not None:
            await self.wire.reply(client, operation)
        self._pass(operation, "reply")
        return result

    def _pass(self, operation: str, part: str) -> None:
        if self._lost[operation, part] > 0:
            self._lost[operation, part] -= 1
            raise BackendDownError("Redis does not answer")
        if self._down:
            raise BackendDownError("Redis cannot be reached")

    def _reconnect(self) -> None:
        for subscriber in tuple(self.subscribers):
            subscriber.reconnected()
