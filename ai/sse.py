"""Server-sent events, as far as a model's stream uses them: bytes in, the data of each event out.

Source: WHATWG HTML, §9.2.6 "Interpreting an event stream". Names, ids and retry times mean nothing
to this reader; an event that its blank line does not end is dropped, as the standard says.
"""

MAX_EVENT_BYTES = 1 << 20
"""The last event of a response repeats all of it, its instructions included."""


class OversizedEventError(Exception):
    """An event is longer than `MAX_EVENT_BYTES`; the stream cannot be read on."""


class EventSplitter:
    """Cuts a byte stream, however it was chunked, into the data of its events."""

    __slots__ = ("_after_cr", "_between", "_data", "_limit", "_line", "_size")

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        self._limit = limit
        self._line = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        self._after_cr = False
        self._between = True
        """Whether nothing is held: no part of an event, no CR whose LF may follow."""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the data of the events that ``chunk`` completed.

        Raises:
            OversizedEventError: a line, or an event of several, exceeds the limit.
        """
        # One whole event of one line, as nearly all that models send; this runs for each token.
        if (
            chunk.startswith(b"data: ")
            and chunk.endswith(b"\n\n")
            and chunk.count(b"\n") == 2
            and b"\r" not in chunk
            and len(chunk) < self._limit
            and self._between
        ):
            return [chunk[6:-2]]
        self._between = False
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        events: list[bytes] = []
        for piece in chunk.splitlines(keepends=True):  # of bytes: at LF, CR and CR LF only
            line = piece.rstrip(b"\r\n")
            if len(line) == len(piece) or self._line:
                self._line += line
                if len(self._line) > self._limit:
                    raise OversizedEventError
                if len(line) == len(piece):
                    continue
                line = bytes(self._line)
                self._line.clear()
            self._take(line, events)
        self._after_cr = chunk.endswith(b"\r")
        self._between = not (self._line or self._data or self._after_cr)
        return events

    def _take(self, line: bytes, events: list[bytes]) -> None:
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            self._size += len(line)
            if self._size > self._limit:
                raise OversizedEventError
        elif not line and self._data:
            events.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
            self._data.clear()
            self._size = 0
