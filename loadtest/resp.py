"""RESP, the protocol of Redis, as far as a proxy needs it: where one message ends.

Sans I/O: bytes in, whole messages out. Knows every type of RESP2 and RESP3 (Redis serialization
protocol specification); what it does not know raises `RespError` at its first byte.
"""

from collections.abc import Iterator

_LINES = b"+-:_,#("
_BULKS = b"$=!"
_LISTS = {b"*"[0]: 1, b"~"[0]: 1, b">"[0]: 1, b"%"[0]: 2, b"|"[0]: 2}
_PUSH = b">"[0]
_ATTRIBUTE = b"|"[0]
LARGEST = 64 * 1024 * 1024
"""No single message may be longer, in bytes."""


class RespError(ValueError):
    """The bytes are not RESP."""


class Splitter:
    """Cuts a stream of bytes into whole messages."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Give the messages that ``chunk`` completes.

        Raises:
            RespError: the stream is no RESP, or a message is larger than `LARGEST`.
        """
        self._rest += chunk
        start = 0
        try:
            while (end := _end(self._rest, start)) is not None:
                yield bytes(self._rest[start:end])
                start = end
        finally:
            del self._rest[:start]
        if len(self._rest) > LARGEST:
            raise RespError("a message is too large")


def is_push(message: bytes) -> bool:
    """Whether the message answers no request (RESP3)."""
    return message[0] == _PUSH


def arguments(request: bytes) -> list[bytes]:
    """Return the arguments of a request, an array of bulk strings.

    Raises:
        RespError: it is none.
    """
    if request[:1] != b"*":
        raise RespError("a request is an array")
    found: list[bytes] = []
    place = request.index(b"\r\n") + 2
    while place < len(request):
        if request[place] not in _BULKS:
            raise RespError("a request holds bulk strings")
        line = request.index(b"\r\n", place)
        size = int(request[place + 1 : line])
        found.append(request[line + 2 : line + 2 + size])
        place = line + 2 + size + 2
    return found


def _end(buffer: bytearray, start: int) -> int | None:
    """Return where the message that begins at ``start`` ends; None where that is not here yet."""
    open_items = 1
    place = start
    while open_items:
        line = buffer.find(b"\r\n", place)
        if line < 0:
            if place < len(buffer):
                _known(buffer[place])
            return None
        kind, after = buffer[place], line + 2
        _known(kind)
        open_items -= 1
        if kind in _BULKS:
            size = int(buffer[place + 1 : line])
            after += size + 2 if size >= 0 else 0
        elif kind in _LISTS:
            # An attribute stands before the message that it describes.
            items = int(buffer[place + 1 : line]) * _LISTS[kind]
            open_items += max(0, items) + (kind == _ATTRIBUTE)
        if after > len(buffer):
            return None
        place = after
    return place


def _known(kind: int) -> None:
    if kind not in _LINES and kind not in _BULKS and kind not in _LISTS:
        raise RespError(f"no RESP type begins with {kind:#04x}")
