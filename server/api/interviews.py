"""Interviews: create, list, look at, join, read, erase."""

import asyncio
import hashlib
import math
from collections.abc import Callable
from typing import Annotated, Any, cast

import msgspec
import structlog
from litestar import Controller, Request, Response, delete, get, post
from litestar.datastructures import CacheControlHeader
from litestar.params import HeaderParameter, Parameter
from msgspec.structs import replace

from ai.bank.guides import plan_guide
from protocol.guide import Guide
from protocol.plan import Plan
from protocol.scalars import InterviewType, Role, Status
from protocol.session import Session
from server.api.accept import preferred
from server.api.deps import Deps
from server.api.described import SECURED, in_forms, refusals
from server.api.resources import (
    InterviewView,
    Listing,
    Ticket,
    Transcript,
    as_csv,
    as_markdown,
    check_words,
    picked,
    shown,
)
from server.auth import Caller
from server.caching import LIST_S, ONE_S, QUIET_S, Kept, lists_of, progress_of
from server.ids import may_be_interview, uuid7
from server.problems import ProblemError, absent
from server.requests import JsonRequest
from storage.errors import ErasedError, StorageError
from storage.live import State
from storage.postgres.records import Existing, Interview, KeyReused, Page, TooMany

LONGEST_KEY = 255
END_OF_TIME_MS = 253_402_300_799_999
"""The last millisecond of the year 9999: neither Python nor the archive knows later ones."""

Limit = Annotated[int, Parameter(ge=1, le=100)]
Offset = Annotated[int, Parameter(ge=0, le=1_000_000)]
Since = Annotated[int | None, Parameter(ge=0, le=END_OF_TIME_MS)]

_LISTED = Kept("list", LIST_S, Page, QUIET_S)
# Documents are told to nobody but PostgreSQL.
_ONE = Kept("interview", ONE_S, Interview, fit=lambda one: not _has_documents(one))

_DOCUMENTS = ("job_description", "resume")
"""Lists leave them out."""

_OPTIONAL = {field.name for field in msgspec.structs.fields(Plan) if not field.required}

_FORMS: dict[str, Callable[[Transcript], Any]] = {
    "application/json": lambda transcript: transcript,
    "text/markdown": as_markdown,
    "text/csv": as_csv,
}

_log = structlog.get_logger()


class TicketRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a ticket is asked for as; the owner's default is ``candidate``."""

    role: Role | None = None


class PlanRequest(JsonRequest):
    """Asks for an interview; null stands for the default of a field, as many clients write it."""

    async def json(self) -> Any:
        """See `JsonRequest.json`."""
        body = await super().json()
        if not isinstance(body, dict):
            return body
        told = cast("dict[str, Any]", body)
        return {name: it for name, it in told.items() if it is not None or name not in _OPTIONAL}


class Interviews(Controller):
    """`/api/interviews`."""

    path = "/api/interviews"
    tags = ("interviews",)
    security = SECURED
    cache_control = CacheControlHeader(no_store=True)

    @post(responses=refusals(408, 413, 422, 429), request_class=PlanRequest)
    async def create(
        self,
        deps: Deps,
        caller: Caller,
        data: Plan,
        idempotency_key: Annotated[str | None, HeaderParameter(name="Idempotency-Key")] = None,
    ) -> Response[InterviewView]:
        """Create an interview; a repeated `Idempotency-Key` gives the same one again.

        Null stands for a field that is absent, where it may be.
        """
        if idempotency_key is not None and not 0 < len(idempotency_key) <= LONGEST_KEY:
            raise ProblemError(
                400, "bad_idempotency_key", f"Idempotency-Key holds 1 to {LONGEST_KEY} characters."
            )
        check_words(data)
        now = deps.clock.now()
        interview_id = uuid7(now)
        session = Session(
            interview_id=interview_id,
            user_id=caller.user,
            created_at=now,
            plan=data,
            phase="lobby",
        )

        def guide_for(asked: frozenset[str]) -> Guide:
            nonlocal session
            guide = plan_guide(interview_id, data, asked)
            session = replace(session, guide=guide)
            return guide

        digest = hashlib.sha256(msgspec.json.encode(data, order="deterministic")).hexdigest()
        done = await deps.archive.create_interview(
            session,
            idempotency_key=idempotency_key,
            digest=digest,
            most=deps.limits.interviews_per_hour,
            guide_for=guide_for,
        )
        match done:
            case TooMany(until=until):
                raise ProblemError(
                    429,
                    "too_many_interviews",
                    f"You may create {deps.limits.interviews_per_hour} interviews an hour.",
                    {"Retry-After": str(max(1, math.ceil((until - now) / 1000)))},
                )
            case KeyReused():
                raise ProblemError(
                    422, "idempotency_key_reused", "This Idempotency-Key came with another request."
                )
            case Existing(interview=interview):
                pass
            case _:
                await deps.wordings.prepare(session)
                interview = Interview(
                    interview_id=session.interview_id,
                    user_id=session.user_id,
                    plan=data,
                    status=session.status,
                    phase=session.phase,
                    created_at=now,
                )
        await deps.caching.dropped(lists_of(caller.user))
        location = f"/api/interviews/{interview.interview_id}"
        return Response(shown(interview), status_code=201, headers={"Location": location})

    @get(responses=refusals())
    async def list_interviews(
        self,
        deps: Deps,
        caller: Caller,
        *,
        limit: Limit = 20,
        offset: Offset = 0,
        status: Status | None = None,
        type: InterviewType | None = None,  # noqa: A002  # the contract's name
        since: Since = None,
        fields: str | None = None,
    ) -> Listing:
        """List interviews, newest first: the caller's own, for a reviewer or admin all."""
        names = [name for name in picked(fields) if name not in _DOCUMENTS]
        user = None if caller.reviews else caller.user

        async def load() -> Page:
            return await deps.archive.list(
                user, limit=limit, offset=offset, status=status, type=type, since=since
            )

        if user is None:
            page = await load()  # it changes with everybody's turns
        else:
            key = f"{limit} {offset} {status} {type} {since}"
            page = await deps.caching.read(_LISTED, lists_of(user), key, load)
        items = [shown(interview, names) for interview in page.items]
        return Listing(items=items, total=page.total, limit=limit, offset=offset)

    @get("/{interview_id:str}", responses=refusals(404))
    async def show(
        self, deps: Deps, caller: Caller, interview_id: str, fields: str | None = None
    ) -> InterviewView:
        """Show one interview."""
        names = picked(fields)
        return shown(await self._permitted(deps, caller, interview_id), names)

    @delete("/{interview_id:str}", responses=refusals(403, 404))
    async def erase(self, deps: Deps, caller: Caller, interview_id: str) -> None:
        """Erase an interview everywhere; nothing that arrives late brings it back."""
        interview = await deps.archive.get(interview_id)
        if interview is None and await _tombstoned(deps, interview_id):
            # Somebody erased it, perhaps on an instance that died before it came to Redis. Only
            # their repeated request may tell that there ever was one.
            await deps.store.erase(interview_id)
            await deps.caching.dropped(lists_of(caller.user), progress_of(caller.user))
            if await deps.archive.erased_by(interview_id) == caller.user:
                return
        if interview is None or not (caller.reviews or interview.user_id == caller.user):
            raise absent()
        if caller.role == "reviewer" and interview.user_id != caller.user:
            raise ProblemError(403, "forbidden", "Reviewers may not erase interviews.")
        try:
            # The tombstone in PostgreSQL comes first: from then on no late write is taken.
            await deps.archive.erase(interview_id, by=caller.user)
            await deps.store.erase(interview_id)
        finally:  # now or never: a repeated request does not know whose it was
            await deps.caching.dropped(lists_of(interview.user_id), progress_of(interview.user_id))
        _log.info("interview erased", interview=interview_id)

    @post("/{interview_id:str}/tickets", responses=refusals(403, 404, 408, 413))
    async def ticket(
        self,
        deps: Deps,
        caller: Caller,
        interview_id: str,
        request: Request[Any, Any, Any],
        data: TicketRequest | None = None,
    ) -> Ticket:
        """Give a credential for one join, good for a minute."""
        owner = await self._owner(deps, interview_id)
        if owner != caller.user and not caller.reviews:
            raise absent()
        asked = data.role if data is not None else None
        role = _role(asked, owns=owner == caller.user)
        text, expires = deps.credentials.ticket(interview_id, caller.user, role)
        scheme = "wss" if request.url.scheme == "https" else "ws"
        host = request.headers.get("host", "")
        return Ticket(
            ticket=text,
            expires_at=expires,
            socket_url=f"{scheme}://{host}/api/interviews/{interview_id}/socket",
        )

    @get("/{interview_id:str}/socket", include_in_schema=False)
    async def socket(self, interview_id: str) -> None:  # noqa: ARG002  # of the path
        """Tell a plain request that this is a WebSocket."""
        raise ProblemError(
            426,
            "upgrade_required",
            "This is a WebSocket; ask for an upgrade.",
            {"Upgrade": "websocket", "Connection": "Upgrade"},
        )

    @get(
        "/{interview_id:str}/transcript",
        responses=refusals(404, 406),
        operation_class=in_forms(_FORMS),
    )
    async def transcript(
        self, deps: Deps, caller: Caller, interview_id: str, request: Request[Any, Any, Any]
    ) -> Response[Transcript]:
        """Read the finished turns, as JSON, Markdown or CSV by the `Accept` header."""
        await self._permitted(deps, caller, interview_id)
        turns = [turn.public() for turn in await self._turns(deps, interview_id)]
        whole = Transcript(interview_id=interview_id, turns=turns)
        headers = {"Vary": "Accept"}
        form = preferred(request.headers.get("accept", ""), tuple(_FORMS))
        told: Any = await asyncio.to_thread(_FORMS[form], whole)
        return Response(told, media_type=form, headers=headers)

    async def _permitted(self, deps: Deps, caller: Caller, interview_id: str) -> Interview:
        async def load() -> Interview:
            interview = await deps.archive.get(interview_id)
            if interview is None or not (caller.reviews or interview.user_id == caller.user):
                raise absent()
            return interview

        if caller.reviews:
            return await load()
        return await deps.caching.read(_ONE, lists_of(caller.user), interview_id, load)

    async def _owner(self, deps: Deps, interview_id: str) -> str | None:
        """Return whose interview it is; a live one is found without PostgreSQL."""
        if not may_be_interview(interview_id):
            raise absent()
        try:
            found = await deps.store.load(interview_id)
        except StorageError:
            found = None
        if isinstance(found, State):
            return found.session.user_id
        interview = await deps.archive.get(interview_id)
        if interview is None:
            raise absent()
        return interview.user_id

    async def _turns(self, deps: Deps, interview_id: str) -> Any:
        """Return the turns of a live interview as of now, of another one from PostgreSQL."""
        try:
            found = await deps.store.load(interview_id, turns=True)
        except StorageError:
            found = None
        if isinstance(found, State):
            return found.turns
        return await deps.archive.transcript(interview_id)


async def _tombstoned(deps: Deps, interview_id: str) -> bool:
    try:
        await deps.archive.rebuild(interview_id)
    except ErasedError:
        return True
    return False


def _has_documents(interview: Interview) -> bool:
    plan = interview.plan
    return plan.job_description is not None or plan.resume is not None


def _role(asked: Role | None, *, owns: bool) -> Role:
    if owns and asked in (None, "candidate", "transcriber"):
        return asked or "candidate"
    if not owns and asked in (None, "observer"):
        return "observer"
    raise ProblemError(403, "forbidden", f"You may not join this interview as {asked}.")
