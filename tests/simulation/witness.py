"""The impartial observer: sees every write that Redis takes, and judges what clients are told."""

import random
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from protocol.codec import read_body
from protocol.events import DurableEvent, TurnDelta
from protocol.ids import EventId, parse_event_id
from protocol.session import Turn
from storage.live import Append, Appended, Commit, Committed, Fenced
from storage.twin import Twin, TwinServer
from storage.twin.records import Interview
from tests.simulation.world import Network

_T = TypeVar("_T")


class Witness(TwinServer):
    """A Redis that remembers everything that was ever in each log, and who held which fence."""

    def __init__(self, clock: Callable[[], int], network: Network) -> None:
        super().__init__(clock, wire=network)
        self.faults: list[str] = []
        self.writes = 0
        self._journal_of: dict[str, dict[EventId, tuple[EventId, bytes]]] = defaultdict(dict)
        self._fences: dict[str, int] = defaultdict(int)

    def write(self, interview_id: str, change: Callable[[], _T]) -> _T:
        result = super().write(interview_id, change)
        held = self.interviews.get(interview_id)
        if held is None:
            self._fences.pop(interview_id, None)  # a rebuilt session counts anew, with new nonces
        else:
            self._record(interview_id, held)
        return result

    def lose_fences(self) -> None:
        """After lost writes an older fence may be the newest that is left."""
        self._fences.clear()

    def check_event(self, interview_id: str, event: DurableEvent) -> None:
        """A client was sent ``event``: it must be in the log, with this very content."""
        place = parse_event_id(event.id)
        merged = event.first if isinstance(event, TurnDelta) else None
        first, texts = merged or place.seq, list[str]()
        while place.seq >= first:
            known = self._journal_of[interview_id].get(place)
            if known is None:
                self.faults.append(f"{event.id} was sent and is in no log")
                return
            before, body = known
            logged = read_body(body, place)
            if merged is None and logged != event:
                self.faults.append(f"{event.id} was sent with another content")
            texts.append(logged.text if isinstance(logged, TurnDelta) else "")
            place = before
        if isinstance(event, TurnDelta) and "".join(reversed(texts)) != event.text:
            self.faults.append(f"{event.id} was merged wrongly")

    def check_fence(self, interview_id: str, fence: str, client: str) -> None:
        """A fenced write was taken: nobody may have got a later fence before."""
        self.writes += 1
        if _counter(fence) < self._fences[interview_id]:
            self.faults.append(f"{client} wrote under the stale fence {fence}")

    def check_cut(self, logged: str, commit: Commit, client: str) -> None:
        """A turn is cut of which this was ``logged``: it must be kept to its last word."""
        number, text = commit.turns[0]
        cut = msgspec.json.decode(text, type=Turn)
        if cut.text + cut.unheard != logged:
            self.faults.append(f"{client} cut turn {number} and left words of it behind")

    def _record(self, interview_id: str, held: Interview) -> None:
        self._fences[interview_id] = max(self._fences[interview_id], _counter(held.fence))
        journal, log = self._journal_of[interview_id], held.log
        place = len(log) - 1
        while place > 0 and log[place].id not in journal:
            journal[log[place].id] = (log[place - 1].id, log[place].body)
            place -= 1
        if place == 0 and log and log[0].id.seq == 1:
            journal[log[0].id] = (EventId(0, 0), log[0].body)


class WatchedTwin(Twin):
    """One instance's client; each fenced write is shown to the witness."""

    def __init__(self, witness: Witness, name: str, *, max_log: int) -> None:
        super().__init__(witness, name, max_log=max_log)
        self._witness = witness

    def _append(self, append: Append) -> Appended | Fenced:
        result = super()._append(append)
        if isinstance(result, Appended) and result.entry is not None:
            self._witness.check_fence(append.id, append.fence, self._name)
        return result

    def _apply(self, held: Interview, commit: Commit) -> Committed:
        if commit.fence:
            self._witness.check_fence(commit.id, commit.fence, self._name)
        if commit.kind == "cancel":
            logged = held.describe(turns=False, entries=True).logged
            self._witness.check_cut(logged, commit, self._name)
        return super()._apply(held, commit)


class LossyNotices:
    """Delivers notifications late, out of order between interviews, or never."""

    def __init__(self, draw: random.Random, loop: Any) -> None:
        self._draw = draw
        self._loop = loop

    def __call__(self, go: Callable[[], None], interview_id: str, payload: str) -> None:
        del interview_id, payload
        if self._draw.random() >= 0.03:
            self._loop.call_later(self._draw.expovariate(1000), go)


def _counter(fence: str) -> int:
    return int(fence.partition(":")[0] or 0)
