"""Ratings that may wait: their first calls are parked until a group of them is sent off-peak.

A parked call is named by its interview, question and sample. What becomes of it is found by
whoever asks for the rating again: it waits, has a reply, or lapsed and is to be made live.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

from msgspec import Struct

from protocol.ledger import Task


class Parked(Struct, frozen=True, kw_only=True):
    """The first call of one sample, whole but for its limit of tokens, which money decides."""

    interview_id: str
    question_id: str
    sample: int
    task: Task
    turn: int
    """The last turn that is read, as the ledger names it."""
    sampled: bool
    """Whether others are made of the same prompt and shall differ."""
    api: Literal["chat", "responses"]
    model: str
    canary: str
    prompt_sha256: str
    instructions: str
    input: str


class Found(Struct, frozen=True, kw_only=True):
    """What became of a parked call: neither ``reply`` nor ``lapsed`` while it waits."""

    request_id: str
    sample: int
    api: Literal["chat", "responses"]
    model: str
    canary: str
    prompt_sha256: str
    reply: bytes | None = None
    """The body, as a live call would have had it."""
    lapsed: str | None = None
    """Why it has to be made live."""

    @property
    def pending(self) -> bool:
        """Whether nothing is known of its end."""
        return self.reply is None and self.lapsed is None


class Shelf(Protocol):
    """Where calls are parked. Its errors are the storage's, and go past the assessor."""

    async def find(self, interview_id: str, question_id: str) -> Sequence[Found]:
        """Return what is known of a question's samples."""
        ...

    async def park(self, calls: Sequence[Parked]) -> None:
        """Park calls of one interview; those that are parked already stay as they are."""
        ...

    async def faulty(self, found: Found, interview_id: str, code: str) -> None:
        """Note in the ledger that the reply breaks a rule."""
        ...


class DeferredError(Exception):
    """The rating was parked; whoever asks again when its group is back gets it."""
