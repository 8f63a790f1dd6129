"""The job queue: work that nobody waits for, done once by whichever worker takes it first.

A job is named, and while its name is queued or worked at, queueing it again changes nothing. A
worker that dies leaves its jobs to the others; one that meets an outage puts them back for later. A
job that kills every worker that takes it, or that nobody can do, goes to the dead letters.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from msgspec import Struct

Priority = Literal["high", "normal", "low"]
PRIORITIES: tuple[Priority, ...] = ("high", "normal", "low")

CRASHES = 5
"""A job that was taken so often without any word of its end is buried."""
DEAD_JOBS = 10_000
"""So many dead letters are kept."""


class Job(Struct, frozen=True, kw_only=True):
    """A job in a worker's hands. ``delivery`` tells it from earlier ones; times in Unix ms."""

    name: str
    payload: bytes
    priority: Priority
    delivery: str
    tries: int
    """How often it was put back."""
    faults: int
    """How often of these for no known reason."""
    queued_at: int


class Backlog(Struct, frozen=True, kw_only=True):
    """How many jobs wait, by priority, and how many wait for a later time or are dead.

    Those that are worked at wait, too. ``oldest`` is when the first of them was queued, or was due
    again, in Unix ms.
    """

    waiting: dict[Priority, int]
    later: int
    dead: int
    oldest: int | None


class PutBack(Struct, frozen=True, kw_only=True):
    """When a job is due again that could not be done, in Unix ms, and why it could not."""

    until: int
    code: str


class DeadJob(Struct, frozen=True, kw_only=True):
    """A job that was given up, and why."""

    entry: str
    name: str
    payload: bytes
    code: str


class Jobs(Protocol):
    """The queue. Every method may raise `BackendDownError` and may then be called again."""

    async def enqueue(self, payloads: Mapping[str, bytes], priority: Priority = "normal") -> int:
        """Queue jobs, by their names; return how many were neither queued nor worked at already."""
        ...

    async def take(self, consumer: str, count: int, idle_ms: int) -> list[Job]:
        """Take jobs, the most urgent first; also those whose worker was silent for ``idle_ms``."""
        ...

    async def extend(self, consumer: str, job: Job) -> bool:
        """Say that the job is worked at; False where another worker has it by now."""
        ...

    async def finish(self, job: Job) -> bool:
        """The job is done; False where another worker has it by now."""
        ...

    async def postpone(self, job: Job, until: int, code: str, *, fault: bool = False) -> bool:
        """Put the job back until ``until``; ``code`` says why it could not be done.

        ``fault``: that is no known reason, and is counted.
        """
        ...

    async def ordered(self, name: str) -> bool:
        """Tell whether a job of that name is queued, put back or worked at."""
        ...

    async def put_back(self, name: str) -> PutBack | None:
        """Return until when the job of that name is put back; None where it is not."""
        ...

    async def bury(self, job: Job, code: str) -> bool:
        """Give the job up."""
        ...

    async def backlog(self) -> Backlog:
        """Return how much there is to do."""
        ...

    async def dead(self, limit: int) -> Sequence[DeadJob]:
        """Return the newest dead letters."""
        ...

    async def revive(self, limit: int) -> int:
        """Queue dead jobs again, the oldest first; return how many."""
        ...
