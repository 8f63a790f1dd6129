"""A socket's place in the log."""

from protocol.codec import Encoding
from protocol.ids import EventId
from server.hub import Framed, Topic
from server.partials import Newest
from storage.live import Entry, LiveStore

BATCH = 256


class ResynchroniseError(Exception):
    """The log does not continue what the cursor holds: it lost its tail, or was trimmed (4010)."""


class Cursor:
    """Reads an interview's log on from one position, each entry once, in order, without a hole.

    It reads inclusively and compares the first entry with what it holds, so that a log which lost
    its tail and grew again is never taken for a continuation.
    """

    __slots__ = ("_store", "_topic", "position")

    def __init__(self, store: LiveStore, topic: Topic, position: EventId) -> None:
        self._store = store
        self._topic = topic
        self.position = position

    @property
    def partials(self) -> Newest:
        """The topic's partials."""
        return self._topic.partials

    @property
    def behind(self) -> int:
        """How many events the newest head heard of is ahead."""
        return max(0, self._topic.head.seq - self.position.seq)

    async def take(self) -> list[Entry]:
        """Return the next entries, at most `BATCH`; none where the log holds no more.

        Raises:
            ResynchroniseError: close 4010.
            BackendDownError: try again; nothing was taken.
        """
        entries = self.near()
        return self._moved(await self._read()) if entries is None else entries

    def near(self) -> list[Entry] | None:
        """Return the next entries that this instance holds; None where Redis has to be asked."""
        topic = self._topic
        entries = topic.after(self.position)
        if entries is None or (not entries and not topic.expected and topic.head != self.position):
            return None
        return self._moved(entries)

    def delta(self, encoding: Encoding) -> Framed | None:
        """Return the next entry where it is a delta, and the only one; take it by `position`."""
        return self._topic.delta_after(self.position, encoding)

    def _moved(self, entries: list[Entry]) -> list[Entry]:
        entries = entries[:BATCH]
        if entries:
            self.position = entries[-1].id
        return entries

    async def _read(self) -> list[Entry]:
        entries = await self._store.read(self._topic.interview_id, self.position, BATCH + 1)
        self._topic.stir()
        if self.position.seq == 0:
            if entries and entries[0].id.seq != 1:
                raise ResynchroniseError
            return entries
        if not entries or entries[0].id != self.position:
            raise ResynchroniseError
        return entries[1:]
