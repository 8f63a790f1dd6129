"""Where the logs that are written here end, and by which name they go.

Who holds a turn writes its words to the log past every function: see ``append`` in the Lua source.
That needs the log's present name, which only the last step that renamed it told; its end; and the
connection over which both were told, as a Redis behind a failover may have lost the log's tail.
Past the time of the lease, as this side's clock tells it, the function decides again.
"""

import time

from msgspec import Struct

from protocol.ids import EventId
from storage.live import Append
from storage.redis import resp

MOST = 8_192
"""So many turns are kept account of. Those beyond are written by the function."""


class Place(Struct):
    """A turn held under ``fence`` until ``until``, in seconds of the monotonic clock.

    ``own`` is the interview's key, packed. ``link`` numbers the connection that told the ``name``
    of the log and its ``head``, and that the attempt has made ``ordinal`` appends; 0 where none
    has.
    """

    own: bytes
    fence: str
    until: float
    link: int = 0
    name: bytes = b""
    head: EventId = EventId(0, 0)
    ordinal: int = 0


class Places:
    """One place for each turn that is held here."""

    def __init__(self) -> None:
        self._held: dict[str, Place] = {}

    def hold(self, interview_id: str, fence: str, since: float, lease_ms: int) -> None:
        """Note that the turn's lease was given, no earlier than ``since``."""
        if self.prolong(interview_id, fence, since, lease_ms):
            return
        if len(self._held) >= MOST:
            now = time.monotonic()  # nobody tells of a turn that another instance ended
            self._held = {name: each for name, each in self._held.items() if each.until > now}
        if len(self._held) < MOST:
            until = since + lease_ms / 1000
            self._held[interview_id] = Place(resp.own_key(interview_id), fence, until)

    def prolong(self, interview_id: str, fence: str, since: float, lease_ms: int) -> bool:
        """Note that it was renewed; False where it is not held, or no more."""
        place = self._held.get(interview_id)
        if place is None or place.fence != fence:
            return False
        place.until = since + lease_ms / 1000
        return True

    def drop(self, interview_id: str, fence: str) -> None:
        """Forget the turn that was held under ``fence``: it is over, or somebody else's."""
        place = self._held.get(interview_id)
        if place is not None and place.fence == fence:
            del self._held[interview_id]

    def known(self, append: Append, link: int) -> Place | None:
        """Return the place behind which ``append`` may be written by name, if it may be.

        The first word of another attempt never is: only an append that was answered makes a place,
        so that the next ordinal is 2 at the least.
        """
        place = self._held.get(append.id)
        if (
            place is None
            or place.link != link
            or place.ordinal + 1 != append.ordinal
            or place.fence != append.fence
            or place.until <= time.monotonic()
        ):
            return None
        return place

    def learn(self, append: Append, link: int, name: bytes, head: EventId) -> None:
        """Note what was told when ``append`` was answered over ``link``."""
        place = self._held.get(append.id)
        if place is not None and place.fence == append.fence:
            place.link, place.name, place.head = link, name, head
            place.ordinal = append.ordinal
