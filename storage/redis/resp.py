"""Commands as the bytes that Redis reads: what an append costs is mostly its packing.

Source: the Redis serialization protocol specification, "Sending commands to a Redis server".
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache

from protocol.ids import EventId
from storage.live import Append, Attendant
from storage.redis import keys, library

Argument = str | bytes | int

OWN_KEYS = 65_536
"""So many packed keys are kept; those of more interviews than one instance can hold."""


def command(arguments: Iterable[Argument]) -> bytes:
    """Pack one command: an array of bulk strings."""
    parts = tuple(map(_bulk, arguments))
    return b"*%d\r\n%b" % (len(parts), b"".join(parts))


def pulses(interviews: Sequence[str]) -> bytes:
    """Pack a look at each one's `storage.live.Pulse`: all sockets' every few seconds."""
    return b"%b%b%b" % (_LOOK, _NEXT_LOOK.join([_own_keys[name] for name in interviews]), _FIELDS)


def attend(partition: int, attendants: Sequence[Attendant], lapse_ms: int, limit: int) -> bytes:
    """Pack one call of the function ``attend``: each interview's every few seconds."""
    count, function = len(attendants), library.function("attend")
    presence = keys.presence_key(partition)
    named: list[bytes] = []
    told: list[bytes] = []
    for each in attendants:
        interview_id = each.interview_id
        name = interview_id.encode()
        named.append(_own_keys[interview_id])
        told.append(  # padded, so that its length need not be found first
            b"$%d\r\n%b\r\n$1\r\n%d\r\n$12\r\n%012d\r\n"
            % (len(name), name, each.present, each.heard_ms)
        )
    begin = b"".join(map(_bulk, ("FCALL", function, count + 1, presence)))
    bounds = _bulk(lapse_ms) + _bulk(limit)
    return b"*%d\r\n%b%b%b%b" % (6 + 4 * count, begin, b"".join(named), bounds, b"".join(told))


def appends(pieces: Sequence[Append]) -> bytes:
    """Pack one call of the function ``append`` for ``pieces``, of which there is one at least."""
    count = len(pieces)
    parts = [_begin(count, library.function("append"))]
    parts += [_named(piece.id) for piece in pieces]
    for piece in pieces:
        ordinal, handle, body = b"%d" % piece.ordinal, piece.handle.encode(), piece.body
        parts.append(
            b"%b$%d\r\n%b\r\n$%d\r\n%b\r\n$1\r\n%d\r\n$%d\r\n%b\r\n"
            % (
                _fence(piece.fence),
                len(ordinal),
                ordinal,
                len(handle),
                handle,
                piece.hears,
                len(body),
                body,
            )
        )
    return b"".join(parts)


def words(piece: Append, name: bytes, position: EventId) -> bytes:
    """Pack ``piece`` as the next entry of the log that goes by ``name``; see ``append`` in Lua."""
    at, body = b"%d-%d" % position, piece.body
    counted = b"%d %b" % (piece.ordinal, piece.handle.encode())
    return b"%b$%d\r\n%b\r\n%b$%d\r\n%b\r\n$1\r\ne\r\n$%d\r\n%b\r\n$1\r\no\r\n$%d\r\n%b\r\n" % (
        _XADD,
        len(name),
        name,
        _NOMKSTREAM,
        len(at),
        at,
        len(body),
        body,
        len(counted),
        counted,
    )


def listeners(owned: Sequence[bytes]) -> bytes:
    """Pack the question how many listen to each interview, given by its `own_key`."""
    return b"*%d\r\n%b%b" % (2 + len(owned), _LISTENERS, b"".join(owned))


def renewals(leases: Sequence[tuple[str, str]], lease_ms: int, *, notes: bool) -> bytes:
    """Pack one call of the function ``renew`` for ``leases``, of which there is one at least.

    Where it ``notes``, the heads of their logs are noted, too.
    """
    count = len(leases)
    named = [name for lease in leases for name in keys.lease_keys(lease[0])]
    told = [part for lease in leases for part in lease]
    function = library.function("renew")
    return command(("FCALL", function, 3 * count, *named, lease_ms, int(notes), *told))


@lru_cache(maxsize=1_024)
def _begin(count: int, function: str) -> bytes:
    arguments = 3 + 7 * count
    return b"*%d\r\n%b%b%b" % (arguments, *map(_bulk, ("FCALL", function, 2 * count)))


@lru_cache(maxsize=16_384)
def _named(interview_id: str) -> bytes:
    return b"".join(map(_bulk, keys.interview_keys(interview_id)[:2]))


class _OwnKeys(dict[str, bytes]):
    """Interviews' own keys, packed.

    Pulses look at all in turn. A dict touches one entry for each; an LRU cache would link it anew
    between two others, all of which have long gone from the processor's cache.
    """

    def __missing__(self, interview_id: str) -> bytes:
        if len(self) >= OWN_KEYS:
            self.clear()
        packed = self[interview_id] = _bulk(keys.interview_key(interview_id))
        return packed


_own_keys = _OwnKeys()


def own_key(interview_id: str) -> bytes:
    """Pack the interview's key, which is its channel, too."""
    return _own_keys[interview_id]


@lru_cache(maxsize=16_384)
def _fence(fence: str) -> bytes:
    return _bulk(fence)


def _bulk(argument: Argument) -> bytes:
    if isinstance(argument, bytes):
        raw = argument
    else:
        raw = (argument if isinstance(argument, str) else str(argument)).encode()
    return b"$%d\r\n%b\r\n" % (len(raw), raw)


_XADD = b"*8\r\n" + _bulk("XADD")
_NOMKSTREAM = _bulk("NOMKSTREAM")
_LISTENERS = _bulk("PUBSUB") + _bulk("NUMSUB")
_LOOK = b"*6\r\n" + _bulk("HMGET")
_FIELDS = b"".join(map(_bulk, ("head", "stored", "socket:candidate", "socket:transcriber")))
_NEXT_LOOK = _FIELDS + _LOOK
