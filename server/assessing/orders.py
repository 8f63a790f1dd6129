"""What is ordered of the assessor, and when.

A main question is rated as soon as it is done with, so that a practice interview can tell its
candidate while it goes on; the report is ordered when the interview is over. The writer orders,
behind its commit: what is to be assessed is in PostgreSQL then. An order that is lost with Redis is
made good by the workers, who look for interviews that ended without a report.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import msgspec
from msgspec import Struct

from protocol.session import Session
from storage.jobs import Job, Jobs, Priority, PutBack

WORDS = "words"


class Rate(Struct, frozen=True, tag="rate", tag_field="kind"):
    """Rate the answers to one main question."""

    interview_id: str
    question_id: str


class Word(Struct, frozen=True, tag="word", tag_field="kind"):
    """Have the shared wordings made that an interview needs and nobody has."""

    interview_id: str


class Write(Struct, frozen=True, tag="report", tag_field="kind"):
    """Write the report; ``again``: all ratings are made anew that are older than the order."""

    interview_id: str
    again: bool = False


Order = Rate | Write | Word

_order: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)


def order_of(job: Job) -> Order:
    """Read a job's order.

    Raises:
        ValueError: this version does not know it, or it is no JSON.
    """
    return _order.decode(job.payload)


class Orders(Protocol):
    """Who is told that an interview's newest state is stored."""

    async def consider(self, session: Session) -> None:
        """Order what the state calls for. May raise `StorageError`; repeating it does no harm."""
        ...


class OrderBook:
    """Puts orders in the queue. ``placed`` is set when one was, for the workers in this process."""

    def __init__(self, jobs: Jobs, *, defers: bool = False) -> None:
        """Where it ``defers``, an assessment is rated when it is over, and not before.

        What a batch may cost is held for hours, and the interviewer needs it.
        """
        self._jobs = jobs
        self._defers = defers
        self.placed = asyncio.Event()

    async def consider(self, session: Session) -> None:
        """See `Orders.consider`."""
        practice = session.plan.mode == "practice"
        done = 0 if self._defers and not practice else session.question
        orders: list[Order] = []
        if not session.over:
            names = (f"core-{number}" for number in range(1, done + 1) if session.done_with(number))
            unrated = [name for name in names if name not in session.rated]
            orders = [Rate(session.interview_id, name) for name in unrated]
        elif session.report is None:
            orders = [Write(session.interview_id)]
        await self._place(orders, "high" if practice else "normal")

    async def write(self, interview_id: str, *, again: bool = False) -> bool:
        """Order a report out of turn; False where one is being written already."""
        return await self._place([Write(interview_id, again)], "low")

    async def ordered(self, interview_id: str) -> bool:
        """Tell whether the report is being written, or waits for that."""
        return await self._jobs.ordered(_name(Write(interview_id)))

    async def put_back(self, interview_id: str) -> PutBack | None:
        """Return until when the report's order is put back, and why; None where it is not."""
        return await self._jobs.put_back(_name(Write(interview_id)))

    async def resume(self, interview_id: str) -> bool:
        """Order the report again that waited for a batch; False where it is ordered already."""
        return await self._place([Write(interview_id)], "normal")

    async def word(self, interview_id: str) -> bool:
        """Order wordings; False where they are being made already."""
        return await self._place([Word(interview_id)], "normal")

    async def _place(self, orders: Sequence[Order], priority: Priority) -> bool:
        """Place those that are not placed yet, and tell whether there were any."""
        if not orders:
            return False
        payloads = {_name(order): msgspec.json.encode(order) for order in orders}
        placed = await self._jobs.enqueue(payloads, priority)
        if placed:
            self.placed.set()
        return placed > 0


def _name(order: Order) -> str:
    return f"{order.interview_id}:{_part(order)}"


def _part(order: Order) -> str:
    match order:
        case Rate(question_id=question_id):
            return question_id
        case Word():
            return WORDS
        case Write():
            return "report"
