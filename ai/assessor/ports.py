"""What the report's worker and the assessor say to each other."""

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from protocol.assessment import GuideQuestion, Method, Rating
from protocol.plan import Plan
from protocol.session import Turn


class RatingRequest(Struct, frozen=True, kw_only=True):
    """One question of the guide, and what was said on it."""

    interview_id: str
    user_id: str
    plan: Plan
    guide: str
    """The guide's version."""
    question: GuideQuestion
    turns: tuple[Turn, ...]
    """The finished turns of this question, interviewer's and candidate's, in order."""
    confidence: Mapping[int, float] = {}
    """The mean confidence of voice-to-text by the turn's number, where it is known."""
    over: bool = False
    """Whether the interview is over, so that its money is left for ratings."""
    deferrable: bool = False
    """Whether nobody waits for it, so that it may go with others in a batch."""


class AssessmentFailedError(Exception):
    """There is no rating, and that is said openly: it is never replaced by a guess.

    ``code`` is short and fit for logs. ``retryable``: the same request may succeed later, after
    ``after_s`` seconds where that is known.
    """

    def __init__(self, code: str, *, retryable: bool, after_s: float | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.retryable = retryable
        self.after_s = after_s


class Assessor(Protocol):
    """Rates answers by the anchors of their question; safe for any number of requests at once."""

    @property
    def method(self) -> Method:
        """Who rates."""
        ...

    async def rate(self, request: RatingRequest) -> Rating:
        """Rate the answers to one question.

        The rating keeps `protocol.assessment.verified`. Where the answers show too little, its
        score is None.

        Raises:
            AssessmentFailedError: no rating could be had that keeps the rule.
            DeferredError: it may wait, and does.
        """
        ...

    async def communication(self, request: RatingRequest) -> Rating | None:
        """Rate how the candidate communicates, apart from what was said.

        ``request.turns`` are all finished turns of the interview; its question is not looked at.
        None where the candidate said too little.

        Raises:
            AssessmentFailedError, DeferredError: see `rate`.
        """
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...
