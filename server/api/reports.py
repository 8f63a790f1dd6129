"""Reports: read in several forms, have written again, decide on."""

from typing import Any, Literal

import msgspec
from litestar import Controller, Request, Response, get, post
from litestar.datastructures import CacheControlHeader

from protocol.events import ReportView
from protocol.guide import Guide
from protocol.scalars import ENDED
from server.api.accept import preferred
from server.api.deps import Deps
from server.api.described import SECURED, refusals
from server.api.forms import FORMS, Decided, InForms, decided, in_form
from server.api.pending import PENDING, Pending, pending
from server.auth import Caller
from server.ids import uuid7
from server.problems import ProblemError, absent
from storage.errors import StorageError
from storage.live import State
from storage.postgres.assessments import Assessed, Decision
from storage.postgres.records import Interview

AGAIN_MS = 60_000
"""A report that is not older is not written again: each costs model calls."""
LONGEST_REASON = 4_000


class Verdict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a reviewer decides, and why."""

    decision: Literal["advance", "hold", "reject"]
    reason: str


class Reports(Controller):
    """`/api/interviews/{id}/report` and what belongs to it."""

    path = "/api/interviews/{interview_id:str}"
    tags = ("reports",)
    security = SECURED
    cache_control = CacheControlHeader(no_store=True)

    @get("/report", responses=PENDING | refusals(403, 404, 406, 409), operation_class=InForms)
    async def report(
        self, deps: Deps, caller: Caller, interview_id: str, request: Request[Any, Any, Any]
    ) -> Response[Decided]:
        """Read the report in the form that `Accept` prefers; 202 while it is being written."""
        interview = await _permitted(deps, caller, interview_id)
        assessed = await deps.assessments.assessed(interview_id) or _NOTHING
        if assessed.report is None:
            await _explain(deps, interview)
            waits: Response[Any] = await _pending(deps, interview_id)
            return waits
        form = preferred(request.headers.get("accept", ""), tuple(FORMS))
        # Neither may be older than the other: the report quotes the turns.
        turns = await deps.archive.transcript(interview_id, lagging=False)
        whole = decided(assessed.report, assessed.decisions)
        return await in_form(form, whole, turns, deps.drawing, caller.user)

    @post("/report", status_code=202, responses=refusals(403, 404, 409, 429))
    async def write(self, deps: Deps, caller: Caller, interview_id: str) -> Response[Pending]:
        """Have the report written again: every answer is rated anew."""
        interview = await _permitted(deps, caller, interview_id)
        if interview.status not in ENDED:
            await _ends(deps, interview_id)
            return await _pending(deps, interview_id)  # it is ordered as soon as its end is stored
        assessed = await deps.assessments.assessed(interview_id) or _NOTHING
        age = deps.clock.now() - assessed.report.created_at if assessed.report else AGAIN_MS
        if age < AGAIN_MS:
            wait = str(-(-(AGAIN_MS - age) // 1000))
            raise ProblemError(
                429, "report_is_new", "The report was just written.", {"Retry-After": wait}
            )
        await deps.orders.write(interview_id, again=assessed.report is not None)
        return await _pending(deps, interview_id)

    @get("/guide", responses=refusals(403, 404))
    async def guide(self, deps: Deps, caller: Caller, interview_id: str) -> Guide:
        """Read the questions as they were planned, with what an answer of each score is like."""
        if not caller.reviews:
            raise ProblemError(403, "reviewers_only", "The anchors are shown to reviewers only.")
        await _permitted(deps, caller, interview_id)
        material = await deps.assessments.load(interview_id)
        return material.session.guide or _NO_GUIDE

    @post(
        "/decision",
        status_code=201,
        responses=refusals(
            404, 408, 409, 413, told={403: "Not for this role, or of an interview of one's own."}
        ),
    )
    async def decide(
        self, deps: Deps, caller: Caller, interview_id: str, data: Verdict
    ) -> Decision:
        """Record a reviewer's decision and its reason beside the report."""
        if not caller.reviews:
            raise ProblemError(403, "reviewers_only", "Reviewers decide.")
        interview = await _permitted(deps, caller, interview_id)
        if interview.user_id == caller.user:
            raise ProblemError(
                403, "own_interview", "This interview is your own; another reviewer decides on it."
            )
        reason = data.reason.strip()
        if not 0 < len(reason) <= LONGEST_REASON or "\0" in reason:
            raise ProblemError(
                400, "reason_needed", f"A reason holds 1 to {LONGEST_REASON} characters."
            )
        assessed = await deps.assessments.assessed(interview_id) or _NOTHING
        if assessed.report is None:
            raise ProblemError(409, "no_report", "There is no report yet to decide on.")
        now = deps.clock.now()
        decision = Decision(
            decision_id=uuid7(now),
            reviewer=caller.user,
            decision=data.decision,
            reason=reason,
            at=now,
        )
        await deps.assessments.put_decision(interview_id, decision)
        return decision


async def _pending(deps: Deps, interview_id: str) -> Response[Pending]:
    try:
        put_back = await deps.orders.put_back(interview_id)
    except StorageError:
        put_back = None  # the queue is not needed to say that there is no report yet
    grouped = put_back is None and await deps.assessments.waits(interview_id)
    return pending(put_back, deps.clock.now(), grouped=grouped)


_NO_GUIDE = Guide(version="", questions=())
_NOTHING = Assessed(report=None, decisions=())


async def _permitted(deps: Deps, caller: Caller, interview_id: str) -> Interview:
    interview = await deps.archive.get(interview_id)
    if interview is None or not (caller.reviews or interview.user_id == caller.user):
        raise absent()
    if interview.plan.mode == "assessment" and not caller.reviews:
        raise ProblemError(
            403, "reviewers_only", "Ratings of an assessment are shown to reviewers only."
        )
    return interview


async def _explain(deps: Deps, interview: Interview) -> None:
    """Refuse where no report will come.

    Raises:
        ProblemError: the interview goes on, or its report failed.
        StorageError: nobody knows whether it goes on.
    """
    if interview.status not in ENDED:
        await _ends(deps, interview.interview_id)
        return
    restore = await deps.archive.rebuild(interview.interview_id)
    view: ReportView | None = restore.session.report if restore else None
    if view is not None and view.code is not None and not await _ordered(deps, interview):
        raise ProblemError(
            409, view.code, _FAILED.get(view.code, "The report could not be written.")
        )


async def _ends(deps: Deps, interview_id: str) -> None:
    """Refuse where the interview goes on. Its end is told live before it is in PostgreSQL."""
    found = await deps.store.load(interview_id)
    if not (isinstance(found, State) and found.session.over):
        raise ProblemError(409, "not_over", "The interview is not over; there is no report yet.")


async def _ordered(deps: Deps, interview: Interview) -> bool:
    """Tell whether the report that failed is being written again, or its ratings wait for that."""
    try:
        ordered = await deps.orders.ordered(interview.interview_id)
    except StorageError:
        ordered = False  # the queue is not needed to say why there is no report
    return ordered or await deps.assessments.waits(interview.interview_id)


_FAILED = {"nothing_to_report": "Nothing was answered in this interview; there is no report."}
