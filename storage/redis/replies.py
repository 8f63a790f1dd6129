"""What the functions answer, read into the Structs of `storage.live`."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from protocol.ids import EventId, trusted_event_id
from protocol.session import Turn
from storage import live
from storage.answers import read_answer
from storage.errors import BadDataError
from storage.given import Given, whole

Reply = list[Any]

_turn = msgspec.json.Decoder(Turn)


def gone(reply: Reply) -> live.Missing | live.Erased | None:
    """Read the answer of a call to an interview that is not there; None where it is."""
    match reply[0]:
        case b"missing":
            return live.Missing()
        case b"erased":
            return live.Erased()
        case _:
            return None


def event_id(raw: bytes) -> EventId:
    """Read an event id.

    Raises:
        BadDataError: it is none.
    """
    try:
        return trusted_event_id(raw)
    except ValueError as error:
        raise BadDataError("Redis holds what is no event id") from error


def names(raw: Sequence[bytes]) -> tuple[str, ...]:
    """Read names."""
    return tuple(map(_name, raw))


def pairs(flat: Sequence[bytes]) -> list[tuple[str, str]]:
    """Read a flat list as pairs."""
    return [(_name(flat[i]), flat[i + 1].decode()) for i in range(0, len(flat), 2)]


def _name(raw: bytes) -> str:
    # What is no name of ours is nobody's, and stops nobody.
    return raw.decode("utf-8", "replace")


def log_entries(raw: Sequence[Any]) -> list[live.Entry]:
    """Read a range of the log."""
    return [live.Entry(event_id(entry_id), fields[1]) for entry_id, fields in raw]


def state(raw: Sequence[Any], given: Given) -> live.State:
    """Read what ``describe`` returns, in its order.

    Raises:
        BadDataError: the session cannot be read by this version.
    """
    try:
        return _state(raw, given)
    except ValueError as error:
        raise BadDataError("Redis holds a session of another form") from error


def _state(raw: Sequence[Any], given: Given) -> live.State:
    session, _, version, head, fence, open_from, ordinal, handle, stored, touched = raw[:10]
    heard, answer, turns, entries = raw[10:]
    kept = sorted((_turn.decode(text) for text in turns[1::2]), key=lambda turn: turn.turn)
    return live.State(
        session=whole(session, given),
        version=int(version),
        head=event_id(head),
        fence=fence.decode(),
        open_from=int(open_from),
        ordinal=int(ordinal),
        handle=handle.decode(),
        stored=event_id(stored),
        touched=int(touched),
        heard=int(heard or 0),
        turns=tuple(kept),
        entries=tuple(log_entries(entries)),
        answer=read_answer(answer.decode()) if answer else None,
    )


def pulse(reply: Reply | Exception, last: live.Pulse | None) -> live.Pulse | None:
    """Read the fields of a pulse, unless they are those of the ``last`` one."""
    if isinstance(reply, Exception):
        return live.UNREADABLE
    head, stored, *sockets = reply
    if head is None or stored is None:
        return None
    raw = b"\n".join([part or b"" for part in reply])
    if last is not None and last.raw == raw:
        return last
    slots = zip(("candidate", "transcriber"), sockets, strict=True)
    try:
        return live.Pulse(event_id(head), event_id(stored), _numbers(slots), raw)
    except (BadDataError, ValueError):
        return live.UNREADABLE


def attendance(reply: Reply) -> live.Attendance:
    """Read the answer of one partition's ``attend``."""
    away, lapsed = reply
    seen = ((name, float(score)) for name, score in pairs(lapsed))
    return live.Attendance(
        names(away), tuple((name, int(at)) for name, at in seen if math.isfinite(at))
    )


def _numbers(slots: Iterable[tuple[str, bytes | None]]) -> dict[str, int]:
    return {slot: int(holder.partition(b" ")[0]) for slot, holder in slots if holder}


def appended(
    reply: tuple[bytes, bytes, int] | Exception | None, body: bytes
) -> live.Appended | live.Fenced:
    """Read the answer of one append; a refused one stops its caller, and nobody else."""
    if reply is None or isinstance(reply, Exception):
        return live.Fenced()
    head, _, new = reply
    position = event_id(head)
    return live.Appended(position, live.Entry(position, body) if new else None)


def library_name(listed: Any) -> str:
    """Read the name of one of ``FUNCTION LIST``'s libraries."""
    # A map since RESP3, which redis-py gives as a dict; a flat list before.
    name: bytes = listed[b"library_name"] if hasattr(listed, "keys") else listed[1]
    return name.decode()


def delivery(raw: Sequence[Any]) -> live.OutboxEntry:
    """Read one delivery of the outbox."""
    fields = dict(zip(raw[1][::2], raw[1][1::2], strict=True))
    return live.OutboxEntry(
        id=raw[0].decode(), interview_id=_name(fields.get(b"i", b"")), ledger=fields.get(b"l", b"")
    )
