"""Turns the text of a stream's events into pieces fit for the log, each with its place."""

from msgspec import Struct

from ai.handles import ResponsePosition
from protocol.text import Joiner


class Words(Struct, frozen=True, gc=False):
    """A piece of the turn, fit for the log, and what to go on behind it with."""

    text: str
    handle: str = ""


class Progress:
    """How far an attempt has come, over all of its calls.

    ``said`` counts the code points handed out, ``size`` their bytes; ``position`` is the place in a
    stored response right behind them, None where there is none. ``model`` says which of the models
    speaks.
    """

    __slots__ = ("model", "position", "said", "size")

    def __init__(
        self, logged: str = "", position: ResponsePosition | None = None, model: int = 0
    ) -> None:
        self.model = model
        self.said = len(logged)
        self.size = len(logged.encode())
        self.position = position


class Pieces:
    """Joins split surrogate pairs, drops NUL and leading space, and cuts at ``limit`` code points.

    Where the response is stored (``begin`` was given), every piece carries a handle. A taken up
    response repeats the events behind the last one that was wholly handed out; ``skip`` of its
    position tells how much of them is out already.
    """

    __slots__ = ("_beyond", "_joiner", "_limit", "_plain", "_progress", "_skip", "_whole", "full")

    def __init__(self, progress: Progress, limit: int) -> None:
        self._progress = progress
        self._limit = limit
        self._joiner = Joiner()
        position = progress.position
        self._skip = position.skip if position else 0
        self._whole = position.sequence if position else 0
        self._beyond = 0  # code points joined behind the event `_whole`
        self.full = progress.said >= limit
        """Whether the limit is reached; nothing more is handed out."""
        self._plain = False
        """Whether words go out as they come: no half is held back, no response is stored."""

    def begin(self, response_id: str, sequence: int) -> None:
        """Note that the response is stored under this id; its events so far had no text."""
        if self._progress.position is None:
            self._whole, self._plain = sequence, False
            self._progress.position = ResponsePosition(
                response_id, sequence, 0, 0, self._progress.model
            )

    def take(self, text: str, sequence: int = 0) -> Words | None:
        """Return what can be handed out of event ``sequence``, whose text is ``text``."""
        joined = self._joiner.feed(text)
        if "\ud800" <= text[-1:] <= "\udbff":
            self._beyond += len(joined)  # half a pair is held back: the event is not wholly out
        else:
            self._whole, self._beyond = sequence, 0
        words = self._emit(joined)
        self._plain = self._progress.position is None and not (self._skip or self._joiner.holds)
        return words

    def plain(self, text: str) -> bool:
        """Count ``text`` as handed out if it can be as it stands; tell whether.

        Nearly every word can, and is spared what `take` does with the others.
        """
        if not (self._plain and text.isascii()) or "\x00" in text:
            return False
        progress, size = self._progress, len(text)
        said = progress.said + size
        if not size < said < self._limit:
            return False  # it is the first, or the last
        progress.said = said
        progress.size += size
        return True

    def close(self) -> Words | None:
        """Return what was held back, now that the stream has ended."""
        joined = self._joiner.close()
        self._beyond += len(joined)
        return self._emit(joined)

    def _emit(self, joined: str) -> Words | None:
        progress, text = self._progress, joined
        if self._skip:
            skipped = min(self._skip, len(joined))
            self._skip -= skipped
            text = joined[skipped:]
        if progress.said == 0:
            text = text.lstrip()
        if progress.said + len(text) > self._limit:
            text = text[: self._limit - progress.said]
        if not text:
            return None
        progress.said += len(text)
        self.full = progress.said >= self._limit
        progress.size += len(text) if text.isascii() else len(text.encode())
        if progress.position is None:
            return Words(text)
        progress.position = ResponsePosition(
            progress.position.response_id, self._whole, self._beyond, progress.said, progress.model
        )
        return Words(text, str(progress.position))
