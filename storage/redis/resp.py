"""Commands as the bytes that Redis reads: what an append costs is mostly its packing.

Source: the Redis serialization protocol specification, "Sending commands to a Redis server".
"""

from collections.abc import Iterable
from functools import lru_cache

from storage.live import Append
from storage.redis import keys, library

Argument = str | bytes | int


def command(arguments: Iterable[Argument]) -> bytes:
    """Pack one command: an array of bulk strings."""
    parts = tuple(map(_bulk, arguments))
    return b"*%d\r\n%b" % (len(parts), b"".join(parts))


def append(append: Append, max_log: int) -> bytes:
    """Pack the call of the function ``append``."""
    ordinal, handle, body = b"%d" % append.ordinal, append.handle.encode(), append.body
    return b"%b$%d\r\n%b\r\n$%d\r\n%b\r\n$1\r\n%d\r\n$%d\r\n%b\r\n" % (
        _append_under(append.id, append.fence, library.function("append"), max_log),
        len(ordinal),
        ordinal,
        len(handle),
        handle,
        append.hears,
        len(body),
        body,
    )


@lru_cache(maxsize=16_384)
def _append_under(interview_id: str, fence: str, function: str, max_log: int) -> bytes:
    """Return what all appends of one turn begin with."""
    named = keys.interview_keys(interview_id)[:2]
    parts = ("FCALL", function, 2, *named, max_log, fence)
    return b"*%d\r\n%b" % (len(parts) + 4, b"".join(map(_bulk, parts)))


def _bulk(argument: Argument) -> bytes:
    if isinstance(argument, bytes):
        raw = argument
    else:
        raw = (argument if isinstance(argument, str) else str(argument)).encode()
    return b"$%d\r\n%b\r\n" % (len(raw), raw)
