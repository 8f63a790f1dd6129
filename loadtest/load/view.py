"""A client's view that takes the words of a turn at the least cost, and counts what goes wrong."""

from msgspec.structs import replace

from protocol import events as e
from protocol.ids import EventId, trusted_event_id
from protocol.view import GapError, View


class StreamView(View):
    """A `View` that joins the words of a turn only when somebody asks for them.

    `hear` takes deltas; all else goes to `apply`. Both hold an event against what was there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.repeats = 0
        self._words: list[str] = []
        self._length = 0

    @property
    def length(self) -> int:
        """How many code points there are of the open turn."""
        return self._length + len(self.open.text) if self.open is not None else 0

    def hear(self, delta: e.TurnDelta) -> bool:
        """Take a piece of the open turn; False where it was taken before.

        Raises:
            GapError: it does not continue what was there.
        """
        event_id = trusted_event_id(delta.id)
        if event_id.seq <= self.head.seq:
            self.repeats += 1
            return False
        if (delta.first or event_id.seq) != self.head.seq + 1:
            raise GapError(f"expected {self.head.seq + 1}, got {delta.first or event_id.seq}")
        held = self.open
        there = held and (held.turn, held.attempt, len(held.text) + self._length)
        if there != (delta.turn, delta.attempt, delta.offset):
            raise GapError(f"turn {delta.turn} does not go on at {delta.offset}")
        self._words.append(delta.text)
        self._length += len(delta.text)
        self.head = event_id
        return True

    def apply(self, event: e.DurableEvent) -> bool:
        """See `View.apply`."""
        if isinstance(event, e.TurnDelta):
            return self.hear(event)
        self._join()
        applied = super().apply(event)
        self.repeats += not applied
        return applied

    def replace(self, snapshot: e.Snapshot, head: EventId) -> None:
        """See `View.replace`."""
        self._words.clear()
        self._length = 0
        super().replace(snapshot, head)

    def _join(self) -> None:
        if self._words and self.open is not None:
            self.open = replace(self.open, text=self.open.text + "".join(self._words))
        self._words.clear()
        self._length = 0
