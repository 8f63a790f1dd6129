"""Does one order: has answers rated, checks the ratings, keeps them, tells the interview.

Every step is kept before the next begins and found again by whoever repeats the order: a rating is
paid for once, and told once.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import msgspec
import structlog

from ai.assessor import AssessmentFailedError, Assessor, DeferredError, RatingRequest
from protocol.assessment import Guide, GuideQuestion, Rating, Report, verified
from protocol.events import RatingReady
from protocol.machine import Input, Rated, Reported
from protocol.scalars import Mode
from protocol.session import Session, Turn
from server.assessing.orders import Order, Rate, Word, Write
from server.clock import Clock
from server.ids import uuid7
from server.reporting.compose import compose_report
from storage.live import Fenced, State
from storage.postgres.assessments import Assessed, Material

COMMUNICATION = "communication"
REMEMBERED = 1_000
"""Of so many orders it is remembered what could not be rated."""
_NO_GUIDE = Guide(version="", questions=())

_log = structlog.get_logger()


class Archive(Protocol):
    """What is asked of PostgreSQL here; see `storage.postgres.assessments.Assessments`."""

    async def load(self, interview_id: str) -> Material:
        """Return what there is to assess."""
        ...

    async def put_rating(
        self, interview_id: str, rating: Rating, at: int, *, again: bool = False
    ) -> None:
        """Keep a rating, unless the question has one."""
        ...

    async def put_report(self, report: Report) -> None:
        """Keep a report."""
        ...

    async def assessed(self, interview_id: str) -> Assessed | None:
        """Return the newest report."""
        ...

    async def earlier(self, interview_id: str) -> Mapping[Mode, int]:
        """Return how many interviews of the same type the user had begun before, by their mode."""
        ...


class Live(Protocol):
    """Who applies what was found to the live session; see `server.sessions.Sessions`."""

    async def apply(self, interview_id: str, happened: Input) -> State | Fenced:
        """Apply an input that is no command."""
        ...


class Publisher(Protocol):
    """Who tells observers."""

    async def publish(self, interview_id: str, payload: str) -> None:
        """Send a notification to the instances that hold sockets of the interview."""
        ...


class Filler(Protocol):
    """Who has wordings made; see `server.wordings.Wordings`."""

    async def fill(self, session: Session) -> None:
        """Make what the interview needs and nobody has."""
        ...


class Desk:
    """Where orders are carried out; safe for any number at once."""

    def __init__(
        self,
        *,
        archive: Archive,
        assessor: Assessor,
        sessions: Live,
        publisher: Publisher,
        clock: Clock,
        reported: Callable[[str], None] = lambda _: None,
        wordings: Filler | None = None,
    ) -> None:
        """``reported`` is told the user whose reports changed; it may not block."""
        self._archive = archive
        self._assessor = assessor
        self._sessions = sessions
        self._publisher = publisher
        self._clock = clock
        self._reported = reported
        self._wordings = wordings
        self._lost: dict[tuple[str, int], dict[str, str]] = {}
        """What failed for good, by interview and order: repeated, it would be paid for again."""

    async def do(self, order: Order, ordered_at: int) -> None:
        """Carry an order out that was placed at ``ordered_at``, in Unix ms.

        Raises:
            AssessmentFailedError: the assessor has no rating for it, now or ever.
            DeferredError: it waits for ratings that may wait.
            MissingError, ErasedError: the interview is gone.
            StorageError: a backend does not answer; what was done so far is kept.
        """
        material = await self._archive.load(order.interview_id)
        if isinstance(order, Word):
            if self._wordings is not None:
                await self._wordings.fill(material.session)
        elif isinstance(order, Rate):
            question = (material.session.guide or _NO_GUIDE).question(order.question_id)
            if question is not None:
                await self._tell(material, await self._rating(material, question, since=0))
        elif material.session.over:
            lost = self._lost_of(order, ordered_at)
            await self._report(material, lost, since=ordered_at if order.again else 0)

    async def give_up(self, order: Order, code: str) -> None:
        """Say that there will be no report; a rating that is missing is missing in the report."""
        if isinstance(order, Write):
            failed = Reported(code=code, retryable=True, at=self._clock.now())
            await self._sessions.apply(order.interview_id, failed)

    async def _rating(self, material: Material, question: GuideQuestion, *, since: int) -> Rating:
        """Return a question's rating, made anew where the one that is kept is older than ``since``.

        An order that is repeated finds what it made before.
        """
        kept = _find(material, question.question_id, since)
        if kept is not None:
            return kept
        own = [turn for turn in material.turns if turn.question_id == question.question_id]
        rating = await self._assessor.rate(_request(material, question, own, again=since > 0))
        await self._keep(material, rating, since=since)
        return rating

    async def _keep(self, material: Material, rating: Rating, *, since: int) -> None:
        if not verified(rating, material.turns):
            raise AssessmentFailedError("unverifiable", retryable=False)
        # The order was placed by another clock: made before it, the rating would be paid for again.
        made_at = max(self._clock.now(), since)
        # A rating that is kept and proves nothing gives way: `_find` would never find the new one.
        kept = any(other.question_id == rating.question_id for other in material.ratings)
        await self._archive.put_rating(
            material.session.interview_id, rating, made_at, again=kept or since > 0
        )

    async def _tell(self, material: Material, rating: Rating) -> None:
        session = material.session
        if session.over or rating.question_id in session.rated:
            return  # the report tells
        shown: dict[str, Any] = msgspec.to_builtins(rating)
        asked = next((t.turn for t in material.turns if t.question_id == rating.question_id), 1)
        rated = Rated(
            question_id=rating.question_id, turn=asked, ratings=(shown,), at=self._clock.now()
        )
        await self._sessions.apply(session.interview_id, rated)
        if session.plan.mode == "assessment":
            told = msgspec.json.encode(RatingReady(turn=asked, ratings=[shown])).decode()
            await self._publisher.publish(session.interview_id, f"r{told}")

    # --- the report -------------------------------------------------------------------------------

    def _lost_of(self, order: Order, ordered_at: int) -> dict[str, str]:
        """Return why parts could not be rated when the order was tried before, by their names."""
        key = (order.interview_id, ordered_at)
        lost = self._lost[key] = self._lost.pop(key, {})
        if len(self._lost) > REMEMBERED:
            del self._lost[next(iter(self._lost))]
        return lost

    async def _report(self, material: Material, lost: dict[str, str], *, since: int) -> None:
        interview_id = material.session.interview_id
        written = await self._archive.assessed(interview_id)
        if written is not None and written.report is not None and not since:
            await self._announce(interview_id, written.report.report_id)
            return
        if not any(turn.speaker == "candidate" and turn.text.strip() for turn in material.turns):
            nothing = Reported(code="nothing_to_report", at=self._clock.now())
            await self._sessions.apply(interview_id, nothing)
            return
        rated, notes = await self._all(material, lost, since=since)
        earlier: Mapping[Mode, int] = {}
        if material.session.plan.mode == "assessment":  # whoever practises knows it
            earlier = await self._archive.earlier(interview_id)
        report = compose_report(
            report_id=uuid7(self._clock.now()),
            session=material.session,
            turns=material.turns,
            guide=material.session.guide or _NO_GUIDE,
            ratings=[rating for rating in rated if rating.question_id != COMMUNICATION],
            communication=next((r for r in rated if r.question_id == COMMUNICATION), None),
            method=self._assessor.method,
            created_at=self._clock.now(),
            disconnections=material.session.absences,
            cost_micro_usd=(await self._archive.load(interview_id)).cost,
            earlier=earlier,
            notes=notes,
        )
        await self._archive.put_report(report)
        self._reported(material.session.user_id)
        await self._announce(interview_id, report.report_id)

    async def _all(
        self, material: Material, lost: dict[str, str], *, since: int
    ) -> tuple[list[Rating], list[str]]:
        """Return all ratings, that of communication among them, and notes on those that failed.

        ``lost`` tells why parts cannot be rated; what fails for good is added to it.

        Raises:
            AssessmentFailedError: some can be had later; all that can be had now are kept.
            DeferredError: some are waited for; all that may wait were parked.
        """
        ratings: list[Rating | None] = []
        later: AssessmentFailedError | DeferredError | None = None
        for name, make in self._parts(material, since=since):
            if name in lost:
                continue
            try:
                ratings.append(await make())
            except DeferredError as error:
                later = later or error
            except AssessmentFailedError as error:
                if error.retryable:
                    later = error
                    continue
                _log.warning("rating failed", question=name, code=error.code)
                lost[name] = error.code
        if later is not None:
            raise later
        # What was proven once is not lost for a try to have it anew.
        kept = {name: _find(material, name) for name in lost}
        found = (*ratings, *kept.values())
        notes = [_note(name, code, kept[name]) for name, code in lost.items()]
        return [rating for rating in found if rating is not None], notes

    def _parts(
        self, material: Material, *, since: int
    ) -> Iterator[tuple[str, Callable[[], Awaitable[Rating | None]]]]:
        """Give all that is rated in an interview by name, each with what has it rated."""
        guide = material.session.guide or _NO_GUIDE
        for question in guide.questions[: material.session.question]:
            yield question.question_id, partial(self._rating, material, question, since=since)
        yield COMMUNICATION, partial(self._communication, material, since=since)

    async def _communication(self, material: Material, *, since: int) -> Rating | None:
        kept = _find(material, COMMUNICATION, since)
        guide = material.session.guide
        if kept is not None or guide is None or not guide.questions:
            return kept
        request = _request(material, guide.questions[0], material.turns, again=since > 0)
        rating = await self._assessor.communication(request)
        if rating is not None:
            await self._keep(material, rating, since=since)
        return rating

    async def _announce(self, interview_id: str, report_id: str) -> None:
        ready = Reported(report_id=report_id, at=self._clock.now())
        await self._sessions.apply(interview_id, ready)


def _find(material: Material, name: str, since: int = 0) -> Rating | None:
    """Return the rating that is kept of a part, unless it was made before ``since``.

    One that an earlier version kept, and that proves nothing by today's rule, is none.
    """
    for rating in material.ratings:
        if rating.question_id == name and material.rated_at[name] >= since:
            return rating if verified(rating, material.turns) else None
    return None


def _note(name: str, code: str, kept: Rating | None) -> str:
    told = "Communication" if name == COMMUNICATION else f"The answers to {name}"
    again = "" if kept is None else " again; the earlier rating stands"
    return f"{told} could not be rated{again} ({code})."


def _request(
    material: Material, question: GuideQuestion, turns: Sequence[Turn], *, again: bool
) -> RatingRequest:
    session: Session = material.session
    # Whoever has a report written again waits for it.
    deferrable = session.over and session.plan.mode == "assessment" and not again
    return RatingRequest(
        interview_id=session.interview_id,
        user_id=session.user_id,
        plan=session.plan,
        guide=(session.guide or _NO_GUIDE).version,
        question=question,
        turns=tuple(turns),
        confidence={t.turn: t.confidence for t in turns if t.confidence is not None},
        over=session.over,
        deferrable=deferrable,
    )
