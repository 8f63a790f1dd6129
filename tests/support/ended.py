"""Ended interviews, ready to be assessed, and an assessor that does as it is told."""

import asyncio
from collections import Counter
from collections.abc import Callable

from msgspec.structs import replace

from ai.assessor import AssessmentFailedError, RatingRequest
from ai.bank.guides import plan_guide
from protocol.assessment import Evidence, Method, Rating
from protocol.commands import Consent
from protocol.ids import ORIGIN, EventId
from protocol.plan import Plan
from protocol.scalars import InterviewType, Mode
from protocol.session import Session, Turn
from protocol.text import sha256
from storage.live import State, Unstored
from storage.postgres.archive import Archive
from tests.support.interviews import interview_id

ANSWER = "We were late. I cut the scope in two and told the client on the same day. It worked."
QUOTE = "I cut the scope in two and told the client on the same day."


async def ended(
    archive: Archive,
    at: int,
    *,
    lasted_ms: int = 60_000,
    mode: Mode = "practice",
    kind: InterviewType = "behavioral",
    user: str = "ann",
    answers: tuple[str, ...] = (ANSWER,) * 2,
) -> Session:
    """An interview that is over and stored, with an answer to each of its main questions."""
    plan = Plan(type=kind, role="Engineer", mode=mode, duration_minutes=15)
    name = interview_id(at)
    new = Session(
        interview_id=name,
        user_id=user,
        created_at=at,
        plan=plan,
        guide=plan_guide(name, plan),
        phase="lobby",
    )
    await archive.create_interview(new)
    turns: list[Turn] = []
    for number, answer in enumerate(answers, 1):
        turns += [
            _turn(at, len(turns) + 1, f"core-{number}", "Tell me."),
            _turn(at, len(turns) + 2, f"core-{number}", answer),
        ]
    over = replace(
        new,
        status="completed",
        phase="closed",
        consent=Consent(version="1", at=at),
        question=len(answers),
        turn=len(turns),
        ended_at=at + lasted_ms,
    )
    state = State(session=over, version=3, head=EventId(9, 99), stored=ORIGIN, turns=tuple(turns))
    assert await archive.write(Unstored(state, ())) is None
    return over


def _turn(at: int, number: int, question_id: str, text: str) -> Turn:
    asks = number % 2 == 1
    return Turn(
        turn=number,
        speaker="interviewer" if asks else "candidate",
        kind="question" if asks else "answer",
        question_id=question_id,
        text=text,
        sha256=sha256(text),
        outcome="final",
        source="bank" if asks else None,
        started_at=at + number * 1000,
        ended_at=at + number * 1000 + 900,
    )


class ScriptedAssessor:
    """Rates every answer 4 by its first known sentence, unless ``fails`` has an error for it.

    Where it ``listens``, so it does with communication, by a question of that name.
    """

    method: Method = "model"

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, str]] = Counter()
        self.fails: Callable[[RatingRequest], AssessmentFailedError | None] = lambda _: None
        self.listens = False
        self.forges = False
        self.pause_s = 0.0

    async def rate(self, request: RatingRequest) -> Rating:
        question = request.question
        self.calls[request.interview_id, question.question_id] += 1
        await asyncio.sleep(self.pause_s)
        error = self.fails(request)
        if error is not None:
            raise error
        (answer, *_) = (turn for turn in request.turns if QUOTE in turn.text)
        start = answer.text.index(QUOTE)
        quote = "I single-handedly saved the company." if self.forges else QUOTE
        return Rating(
            question_id=question.question_id,
            competency=question.competency,
            turns=(answer.turn,),
            score=4,
            anchor=3,
            evidence=(
                Evidence(turn=answer.turn, start=start, end=start + len(quote), quote=quote),
            ),
            rationale="Names a decision and its effect.",
            method="model",
            model="scripted",
            rubric=request.guide,
            samples=(4,),
        )

    async def communication(self, request: RatingRequest) -> Rating | None:
        if self.listens:
            question = replace(request.question, question_id="communication")
            return await self.rate(replace(request, question=question))
        self.calls[request.interview_id, "communication"] += 1
        return None

    async def aclose(self) -> None:
        pass
