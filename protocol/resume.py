"""Resume decisions: what a client that comes back is sent, as pure functions.

Nothing is guessed: a client goes on behind the event it holds only where the log holds that very
event; otherwise it gets a snapshot that replaces everything.
"""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from protocol.events import DurableEvent, Snapshot, TurnDelta
from protocol.ids import EventId, parse_event_id
from protocol.limits import LIMITS

_ENVELOPE_BYTES = 2 * 1024
"""Room that is left for what surrounds a snapshot or a delta's text in its message."""


def last_event_id(text: str | None) -> EventId | None:
    """Return the id that a ``hello`` names, None where it names none that could be in a log."""
    if not text:
        return None
    try:
        return parse_event_id(text)
    except ValueError:
        return None


def merge(events: Sequence[DurableEvent]) -> list[DurableEvent]:
    """Join neighbouring deltas of one attempt, for a client that is catching up.

    The joined delta carries the last one's id and, as ``first``, the first ``seq`` it covers.
    Applying it is the same as applying each. Its text stays well below the outbound message limit.
    """
    merged: list[DurableEvent] = []
    run: list[TurnDelta] = []
    size = 0
    for event in events:
        if isinstance(event, TurnDelta):
            length = len(event.text.encode())
            if run and (not _follows(run[-1], event) or size + length > _LARGEST):
                merged.append(_joined(run))
                run, size = [], 0
            run.append(event)
            size += length
            continue
        if run:
            merged.append(_joined(run))
            run, size = [], 0
        merged.append(event)
    if run:
        merged.append(_joined(run))
    return merged


def fit(snapshot: Snapshot, transcript_url: str, limit: int = LIMITS.message_bytes) -> Snapshot:
    """Leave the oldest turns out of a snapshot too large, and name where they can be read."""
    room = limit - _ENVELOPE_BYTES - _size(replace(snapshot, turns=()))
    sizes = [_size(turn) + 1 for turn in snapshot.turns]
    if sum(sizes) <= room:
        return snapshot
    kept = len(sizes)
    while kept and sizes[kept - 1] <= room:
        kept -= 1
        room -= sizes[kept]
    return replace(snapshot, turns=snapshot.turns[kept:], transcript_url=transcript_url)


# JSON writes a control character as six bytes, so text may grow sixfold on the wire.
_LARGEST = (LIMITS.message_bytes - _ENVELOPE_BYTES) // 6


def _follows(before: TurnDelta, after: TurnDelta) -> bool:
    same = (before.turn, before.attempt) == (after.turn, after.attempt)
    return same and before.offset + len(before.text) == after.offset


def _joined(run: list[TurnDelta]) -> TurnDelta:
    if len(run) == 1:
        return run[0]
    text = "".join(delta.text for delta in run)
    first = run[0].first or parse_event_id(run[0].id).seq
    return replace(run[-1], offset=run[0].offset, text=text, first=first)


def _size(value: msgspec.Struct) -> int:
    return len(msgspec.json.encode(value))
