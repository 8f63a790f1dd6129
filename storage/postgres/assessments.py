"""What is concluded from interviews, in PostgreSQL: ratings, reports, reviewers' decisions."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from protocol.assessment import Rating, Report
from protocol.clock import PAUSED_MS, UNSTARTED_MS
from protocol.scalars import Milliseconds, Mode, Text
from protocol.session import Session, Turn
from storage.errors import BadDataError, MissingError
from storage.postgres.places import partitioned, place_of
from storage.postgres.pool import Connection, Database
from storage.postgres.queries import query
from storage.postgres.records import decoded, session_of, turns_of
from storage.postgres.times import moment


class Material(Struct, frozen=True, kw_only=True):
    """All that an assessment reads of one interview. ``cost`` is in millionths of a US dollar."""

    session: Session
    turns: tuple[Turn, ...]
    ratings: tuple[Rating, ...]
    rated_at: dict[str, Milliseconds]
    """When each rating was made, by its question."""
    cost: int


class Decision(Struct, frozen=True, kw_only=True):
    """What a reviewer concluded from a report, and why."""

    decision_id: str
    reviewer: str
    decision: Literal["advance", "hold", "reject"]
    reason: Text
    at: Milliseconds


class Assessed(Struct, frozen=True, kw_only=True):
    """The newest report of an interview, if any, and the decisions beside it."""

    report: Report | None
    decisions: tuple[Decision, ...]


_ratings = msgspec.json.Decoder(tuple[Rating, ...])
_rated_at = msgspec.json.Decoder(dict[str, Milliseconds])
_report = msgspec.json.Decoder(Report)
_decisions = msgspec.json.Decoder(tuple[Decision, ...])


class Assessments:
    """Every method may raise `BackendDownError` and may then be called again as it was."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, interview_id: str) -> Material:
        """Return what there is to assess, from the primary.

        Raises:
            MissingError: there is no such interview, or it was erased.
        """
        row = await self._row("assess", _place(interview_id))
        if row is None:
            raise MissingError
        plan, guide, session, turns, ratings, rated_at, cost = row
        return Material(
            session=session_of(session, plan, guide),
            turns=turns_of(turns),
            ratings=decoded(_ratings, ratings),
            rated_at=decoded(_rated_at, rated_at),
            cost=int(cost),
        )

    async def put_rating(
        self, interview_id: str, rating: Rating, at: int, *, again: bool = False
    ) -> None:
        """Keep a rating, unless the question has one; ``again`` replaces that.

        Raises:
            BadDataError: PostgreSQL refuses it: it has a score without evidence, say.
        """
        values = {
            **_place(interview_id),
            "question_id": rating.question_id,
            "score": rating.score,
            "rating": msgspec.json.encode(rating).decode(),
            "at": at,
            "again": again,
        }
        await self._put("put_rating", values, interview_id)

    async def put_report(self, report: Report) -> None:
        """Keep a report; the newest of an interview counts."""
        values = {
            **_place(report.interview_id),
            "report_id": report.report_id,
            "composite": report.composite,
            "report": msgspec.json.encode(report).decode(),
            "at": report.created_at,
        }
        await self._put("put_report", values, report.interview_id)

    async def put_decision(self, interview_id: str, decision: Decision) -> None:
        """Keep a reviewer's decision."""
        values = {**_place(interview_id), **msgspec.to_builtins(decision)}
        await self._put("put_decision", values, interview_id)

    async def assessed(self, interview_id: str) -> Assessed | None:
        """Return an interview's newest report and decisions; None where there is no interview."""
        row = await self._row("find_report", _place(interview_id))
        if row is None:
            return None
        report, decisions = row
        return Assessed(
            report=None if report is None else decoded(_report, report),
            decisions=decoded(_decisions, decisions),
        )

    async def waits(self, interview_id: str) -> bool:
        """Whether some of an interview's ratings wait for a batch."""
        return bool(await self._rows("find_waiting", _place(interview_id)))

    async def reports_of(self, user_id: str, limit: int = 100) -> tuple[Report, ...]:
        """Return the newest reports of a user, one an interview, the newest interview first."""
        rows = await self._rows("list_reports", {"user_id": user_id, "limit": limit})
        return tuple(decoded(_report, row[0]) for row in rows)

    async def earlier(self, interview_id: str) -> Mapping[Mode, int]:
        """Return how many interviews of the same type the user had begun before this one.

        By their mode. Interviews that were erased are not among them.
        """
        rows = await self._rows("earlier", _place(interview_id))
        return {mode: int(count) for mode, count in rows}

    async def unreported(self, since: int, limit: int = 100) -> tuple[str, ...]:
        """Return interviews that ended after ``since`` (Unix ms) and know of no report.

        However late they were begun, and resumed from a pause; one that paused for weeks several
        times may not be found.
        """
        oldest = since - UNSTARTED_MS - PAUSED_MS
        values = {"since": moment(since), "oldest": moment(oldest), "limit": limit}
        rows = await self._rows("unreported", values)
        return tuple(str(row[0]) for row in rows)

    async def _row(self, name: str, values: dict[str, Any]) -> Sequence[Any] | None:
        rows = await self._rows(name, values)
        return rows[0] if rows else None

    async def _rows(self, name: str, values: dict[str, Any]) -> Sequence[Sequence[Any]]:
        async def find(connection: Connection) -> Sequence[Sequence[Any]]:
            return await (await connection.execute(query(name), values)).fetchall()

        return await self._database.read(find)

    async def _put(self, name: str, values: dict[str, Any], interview_id: str) -> None:
        async def put(connection: Connection) -> None:
            await connection.execute(query("lock"), values)  # an erasure waits, or went before
            await connection.execute(query(name), values)

        await partitioned(self._database, put, interview_id)


def _place(interview_id: str) -> dict[str, Any]:
    try:
        return place_of(interview_id)
    except BadDataError:
        raise MissingError from None
