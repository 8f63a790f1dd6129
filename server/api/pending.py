"""What is answered while a report is being written: how long that takes, and what it waits for."""

from typing import Literal

import msgspec
from litestar import Response
from litestar.openapi.datastructures import ResponseSpec

from protocol.scalars import Milliseconds
from storage.jobs import PutBack

SOON_S = 3
LONGEST_S = 3_600
"""Nobody is told to stay away for longer: clocks are set, and budgets raised."""

BATCH_S = 600
"""A batch takes hours."""

Reason = Literal["day_budget", "delayed", "batch"]

_DETAILS: dict[Reason, str] = {
    "day_budget": "The day's budget for the model is spent; the report is written when the next"
    " day of UTC has begun.",
    "delayed": "The report could not be written yet; that is tried again.",
    "batch": "The ratings are made off-peak, in a group with others; that takes up to two days.",
}


class Pending(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The report is being written, or waits for ``reason`` until ``until`` (Unix ms)."""

    status: Literal["pending"]
    reason: Reason | None = None
    detail: str | None = None
    """The reason as a sentence."""
    until: Milliseconds | None = None


PENDING = {202: ResponseSpec(Pending, generate_examples=False, description="It is being written.")}


def pending(put_back: PutBack | None, now: int, *, grouped: bool = False) -> Response[Pending]:
    """Return 202; ``put_back`` is what the queue tells of the report's order.

    ``grouped``: its ratings wait for a batch, of which nobody knows when it is back.
    """
    if grouped:
        told = Pending(status="pending", reason="batch", detail=_DETAILS["batch"])
        return _reply(told, BATCH_S)
    if put_back is None:
        return _reply(Pending(status="pending"), SOON_S)
    reason: Reason = "day_budget" if put_back.code == "day_budget" else "delayed"
    told = Pending(
        status="pending", reason=reason, detail=_DETAILS[reason], until=max(0, put_back.until)
    )
    left_s = -((now - put_back.until) // 1000)
    return _reply(told, min(LONGEST_S, max(SOON_S, left_s)))


def _reply(told: Pending, seconds: int) -> Response[Pending]:
    return Response(told, status_code=202, headers={"Retry-After": str(seconds)})
