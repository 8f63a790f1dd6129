"""What is given of the interviews met last, so that Redis need not tell it with each step.

It never changes, and an id is given once. So nothing that is held here can be outdated; what was
erased is dropped at the next call that learns of it, or when others take its room.
"""

from collections import OrderedDict

from storage.errors import BadDataError
from storage.given import Given, read_given

BUDGET_BYTES = 4 * 1024 * 1024
"""As Redis holds it: some 500 interviews without documents. In memory it is about the double.

A turn asks for its interview half a dozen times within seconds, and then not for a while."""


class Known:
    """What is given of interviews, by their ids: those used last, up to ``budget`` bytes."""

    def __init__(self, budget: int = BUDGET_BYTES) -> None:
        self._budget = budget
        self._held = 0
        self._given: OrderedDict[str, tuple[Given, int]] = OrderedDict()

    def get(self, interview_id: str) -> Given | None:
        """Return what is given of an interview, where that is known here."""
        found = self._given.get(interview_id)
        if found is None:
            return None
        self._given.move_to_end(interview_id)
        return found[0]

    def learn(self, interview_id: str, text: bytes) -> Given:
        """Read what Redis told of an interview, and keep it.

        Raises:
            BadDataError: this version cannot read it.
        """
        try:
            given = read_given(text)
        except ValueError as error:
            raise BadDataError("Redis does not hold what is given of an interview") from error
        self.keep(interview_id, given, len(text))
        return given

    def keep(self, interview_id: str, given: Given, size: int) -> None:
        """Keep what is given of an interview, of ``size`` bytes in JSON."""
        self.drop(interview_id)
        self._given[interview_id] = (given, size)
        self._held += size
        while self._held > self._budget:
            _, (_, freed) = self._given.popitem(last=False)
            self._held -= freed

    def drop(self, interview_id: str) -> None:
        """Forget an interview, where it is known."""
        _, size = self._given.pop(interview_id, (None, 0))
        self._held -= size
