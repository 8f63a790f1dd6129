"""Which partials are still news.

Partials are relayed as they come, past the log, through any socket of any instance; so one can be
overtaken by a newer one, or by the final that ends its utterance.
"""

UTTERANCES = 64
"""Utterances remembered of an interview; people speak one at a time."""


class Newest:
    """The newest revision heard of each utterance that was heard of last."""

    __slots__ = ("_revisions", "_turn")

    def __init__(self) -> None:
        self._revisions: dict[str, int | None] = {}
        self._turn = 0

    def begin(self, turn: int) -> None:
        """Note that an answer is open: its utterances may bear the names of earlier ones."""
        if turn > self._turn:
            self._turn = turn
            self._revisions.clear()

    def admits(self, utterance_id: str, revision: int) -> bool:
        """Note a partial; tell whether it is none that is older than what was heard already."""
        newest = self._revisions.get(utterance_id, -1)
        if newest is None or revision < newest:
            return False
        self._remember(utterance_id, revision)
        return True

    def close(self, utterance_id: str, turn: int) -> None:
        """Note that the utterance of a ``turn`` was recorded: no partial of it is news any more.

        Who catches up tells of turns that are over, whose utterances may have borne the same names.
        """
        if turn >= self._turn:
            self._remember(utterance_id, None)

    def closed(self, utterance_id: str) -> bool:
        """Whether the utterance was recorded."""
        return self._revisions.get(utterance_id, -1) is None

    def __len__(self) -> int:
        return len(self._revisions)

    def _remember(self, utterance_id: str, revision: int | None) -> None:
        self._revisions.pop(utterance_id, None)
        self._revisions[utterance_id] = revision
        if len(self._revisions) > UTTERANCES:
            del self._revisions[next(iter(self._revisions))]
