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
    handle, fence = append.handle.encode(), append.fence.encode()
    return b"%b$%d\r\n%b\r\n%b$%d\r\n%b\r\n%b$%d\r\n%b\r\n" % (
        _append_to(append.id, library.function("append")),
        len(fence),
        fence,
        _bulk(append.ordinal),
        len(handle),
        handle,
        _bulk(max_log),
        len(append.body),
        append.body,
    )


@lru_cache(maxsize=16_384)
def _append_to(interview_id: str, function: str) -> bytes:
    """Return what all appends to one interview begin with."""
    named = keys.interview_keys(interview_id)[:2]
    parts = ("FCALL", function, 2, *named)
    return b"*%d\r\n%b" % (len(parts) + 5, b"".join(map(_bulk, parts)))


def _bulk(argument: Argument) -> bytes:
    if isinstance(argument, bytes):
        raw = argument
    else:
        raw = (argument if isinstance(argument, str) else str(argument)).encode()
    return b"$%d\r\n%b\r\n" % (len(raw), raw)
