"""Orders, workers and the desk between a real Valkey and a real PostgreSQL."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncGenerator

import psycopg
import pytest
import structlog
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from ai.assessor import AssessmentFailedError, RatingRequest
from protocol.assessment import Evidence, Rating, Report
from protocol.clock import PAUSED_MS, UNSTARTED_MS
from protocol.session import Session
from server.assessing import worker as working
from server.meters import Meters
from storage.live import State, Unstored
from storage.postgres.archive import Archive
from storage.postgres.assessments import Decision
from storage.redis.connect import connect
from storage.redis.store import RedisStore
from tests.support.databases import flush_redis
from tests.support.ended import ANSWER, QUOTE, ScriptedAssessor, ended
from tests.support.interviews import archive_on, interview_id, rows_of
from tests.support.workshop import Workshop

pytestmark = pytest.mark.anyio


class Scene(Workshop):
    """Everything between an order and its report but the model."""

    def __init__(self, store: RedisStore, archive: Archive, url: str) -> None:
        super().__init__(store, archive)
        self.url = url
        self.assessor = ScriptedAssessor()
        self.ends: Counter[str] = Counter()
        self.meters = Meters(CollectorRegistry())
        self._looked = asyncio.Event()

    def job_ended(self, kind: str, end: str) -> None:
        assert kind in ("rate", "report")
        self.ends[end] += 1

    def jobs_waiting(self, waiting: int, dead: int, waited_s: float) -> None:
        self.meters.jobs_waiting(waiting, dead, waited_s)
        self._looked.set()

    async def looked(self) -> tuple[float | None, ...]:
        """How many orders wait and how many are dead, and since when, as the next look tells."""
        self._looked.clear()
        await self._looked.wait()
        names = ("waiting", "dead", "oldest_seconds")
        return tuple(self.meters.registry.get_sample_value(f"viva_jobs_{name}") for name in names)

    @contextlib.asynccontextmanager
    async def working(self, workers: int = 1) -> AsyncGenerator[None]:
        async with asyncio.TaskGroup() as group:
            made = [self.worker(number, self.assessor, self) for number in range(workers)]
            tasks = [group.create_task(each.run()) for each in made]
            yield
            for task in tasks:
                task.cancel()

    async def settled(self) -> None:
        """Wait until nothing is to be done any more."""
        async with asyncio.timeout(20):
            while True:
                backlog = await self.jobs.backlog()
                if not sum(backlog.waiting.values()) and not backlog.later:
                    return
                await asyncio.sleep(0.02)

    async def report(self, session: Session) -> Report:
        assessed = await self.assessments.assessed(session.interview_id)
        assert assessed is not None
        assert assessed.report is not None
        return assessed.report

    async def live(self, name: str) -> State:
        state = await self.store.load(name)
        assert isinstance(state, State)
        return state


@pytest.fixture
async def scene(
    redis_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Scene]:
    monkeypatch.setattr(working, "BACKOFF_S", 0.02)
    flush_redis(redis_url)
    client = connect(redis_url)
    try:
        async with archive_on(database_url) as archive:
            store = RedisStore(client)
            await store.prepare()
            yield Scene(store, archive, database_url)
    finally:
        await client.aclose()


async def test_an_ended_interview_gets_its_ratings_and_its_report_once(scene: Scene) -> None:
    session = await ended(scene.archive, scene.clock.now())
    name = session.interview_id
    async with scene.working(workers=3):
        await scene.book.consider(session)
        await scene.book.consider(session)
        await scene.settled()
    assessed = await scene.assessments.assessed(name)
    assert assessed is not None
    report = assessed.report
    assert report is not None
    assert [rating.score for rating in report.ratings] == [4, 4]
    assert report.composite == 4.0
    assert all(rating.evidence[0].quote == QUOTE for rating in report.ratings)
    assert scene.assessor.calls == {
        (name, "core-1"): 1,
        (name, "core-2"): 1,
        (name, "communication"): 1,
    }
    view = (await scene.live(name)).session.report
    assert view is not None
    assert view.report_id == report.report_id
    unstored = await scene.store.unstored(name)
    assert isinstance(unstored, Unstored), "what the interview was told waits for the writer"


async def test_reviewers_are_told_how_often_the_candidate_was_interviewed_before(
    scene: Scene,
) -> None:
    """Only how often: begun before this one, of its type, and not erased."""
    now, archive = scene.clock.now(), scene.archive
    for number in range(3):
        await ended(archive, now - 9_000 - number)
    erased = await ended(archive, now - 8_000)
    await archive.erase(erased.interview_id)
    await ended(archive, now - 7_000, mode="assessment")
    await ended(archive, now - 6_000, kind="technical")
    await ended(archive, now - 5_000, user="bob")
    unbegun = interview_id(now - 4_000)
    await archive.create_interview(replace(erased, interview_id=unbegun, phase="lobby"))
    assessed = await ended(archive, now, mode="assessment")
    await ended(archive, now + 5_000)
    practised = await ended(archive, now + 6_000)
    async with scene.working():
        await scene.book.consider(assessed)
        await scene.book.consider(practised)
        await scene.settled()
    told = (
        "The candidate had begun 4 interviews of this type before (3 for practice, 1 assessed), "
        "and may know some of the questions."
    )
    assert told in (await scene.report(assessed)).notes
    assert not any("before" in note for note in (await scene.report(practised)).notes)


async def test_a_report_is_written_again_on_request_and_the_newest_counts(scene: Scene) -> None:
    session = await ended(scene.archive, scene.clock.now())
    async with scene.working():
        await scene.book.consider(session)
        await scene.settled()
        first = await scene.assessments.assessed(session.interview_id)
        await scene.book.write(session.interview_id, again=True)
        await scene.settled()
    second = await scene.assessments.assessed(session.interview_id)
    assert first is not None
    assert second is not None
    assert first.report is not None
    assert second.report is not None
    assert first.report.report_id != second.report.report_id
    assert scene.assessor.calls[session.interview_id, "core-1"] == 2
    assert rows_of(scene.url, "SELECT count(*) FROM ratings") == [(2,)]


async def test_a_rating_that_cannot_be_had_again_stands_as_it_was(scene: Scene) -> None:
    session = await ended(scene.archive, scene.clock.now())
    scene.assessor.listens = True
    async with scene.working():
        await scene.book.consider(session)
        await scene.settled()
        scene.assessor.fails = lambda request: (
            None
            if request.question.question_id == "core-1"
            else AssessmentFailedError("budget", retryable=False)
        )
        await scene.book.write(session.interview_id, again=True)
        await scene.settled()
    report = await scene.report(session)
    assert [rating.score for rating in report.ratings] == [4, 4]
    assert report.communication is not None
    assert report.composite == 4.0
    stands = "could not be rated again; the earlier rating stands (budget)."
    assert [note for note in report.notes if "budget" in note] == [
        f"The answers to core-2 {stands}",
        f"Communication {stands}",
    ]


async def test_what_was_rated_anew_is_not_rated_again_when_its_order_is_repeated(
    scene: Scene,
) -> None:
    session = await ended(scene.archive, scene.clock.now())
    scene.assessor.listens = True
    errors = [AssessmentFailedError("rate_limited", retryable=True)] * 3
    async with scene.working():
        await scene.book.consider(session)
        await scene.settled()
        scene.assessor.fails = lambda request: (
            errors.pop() if errors and request.question.question_id == "communication" else None
        )
        await scene.book.write(session.interview_id, again=True)
        await scene.settled()
    assert scene.ends == {"done": 2, "postponed": 3}
    name = session.interview_id
    assert scene.assessor.calls == {
        (name, "core-1"): 2,
        (name, "core-2"): 2,
        (name, "communication"): 5,
    }


async def test_an_outage_holds_up_no_other_rating_and_has_nothing_paid_for_twice(
    scene: Scene,
) -> None:
    session = await ended(scene.archive, scene.clock.now())
    scene.assessor.listens = True
    outages = [AssessmentFailedError("rate_limited", retryable=True)] * 3
    kept: list[object] = []

    def fails(request: RatingRequest) -> AssessmentFailedError | None:
        match request.question.question_id:
            case "core-1":
                return AssessmentFailedError("unverifiable", retryable=False)
            case "core-2" if outages:
                kept.append(rows_of(scene.url, "SELECT question_id FROM ratings"))
                return outages.pop()
            case _:
                return None

    scene.assessor.fails = fails
    async with scene.working():
        await scene.book.consider(session)
        await scene.settled()
    report = await scene.report(session)
    assert [rating.question_id for rating in report.ratings] == ["core-2"]
    assert report.communication is not None
    assert "The answers to core-1 could not be rated (unverifiable)." in report.notes
    assert kept == [[], [("communication",)], [("communication",)]]
    name = session.interview_id
    assert scene.assessor.calls == {
        (name, "core-1"): 1,
        (name, "core-2"): 4,
        (name, "communication"): 1,
    }


async def test_ratings_wait_for_a_provider_that_is_down(scene: Scene) -> None:
    session = await ended(scene.archive, scene.clock.now())
    down = True
    scene.assessor.fails = lambda _: (
        AssessmentFailedError("server_error", retryable=True) if down else None
    )
    async with scene.working():
        await scene.book.consider(session)
        async with asyncio.timeout(10):
            while scene.ends["postponed"] < 4:  # noqa: ASYNC110 - the queue is in Redis
                await asyncio.sleep(0.02)
        waiting = await scene.assessments.assessed(session.interview_id)
        assert waiting is not None
        assert waiting.report is None
        down = False
        await scene.settled()
    assessed = await scene.assessments.assessed(session.interview_id)
    assert assessed is not None
    assert assessed.report is not None
    assert assessed.report.composite == 4.0


async def test_the_assessor_is_told_whether_the_interview_is_over(scene: Scene) -> None:
    session = await ended(scene.archive, scene.clock.now())
    told: list[bool] = []
    scene.assessor.fails = lambda request: told.append(request.over)
    async with scene.working():
        await scene.book.consider(session)
        await scene.settled()
    assert told == [True, True]


@pytest.mark.parametrize("faults", [working.TRIES - 1, working.TRIES])
async def test_behind_outages_an_order_has_all_of_its_tries_at_a_fault(
    scene: Scene, faults: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(working, "BACKOFF_CAP_S", 0.05)
    session = await ended(scene.archive, scene.clock.now())
    down = AssessmentFailedError("server_error", retryable=True)
    outages = [down] * 2 * (working.TRIES - 1)  # both questions meet each
    errors = [*[RuntimeError("odd")] * faults, *outages]

    def fails(_: RatingRequest) -> None:
        if errors:
            raise errors.pop()

    scene.assessor.fails = fails
    with structlog.testing.capture_logs():  # to print what was raised takes seconds
        async with scene.working():
            await scene.book.consider(session)
            await scene.settled()
    if faults < working.TRIES:
        assert (await scene.report(session)).composite == 4.0
    else:
        view = (await scene.live(session.interview_id)).session.report
        assert view is not None
        assert view.code == "RuntimeError"


async def test_an_answer_that_cannot_be_rated_is_said_to_be_so(scene: Scene) -> None:
    session = await ended(scene.archive, scene.clock.now())
    scene.assessor.fails = lambda request: (
        AssessmentFailedError("malformed", retryable=False)
        if request.question.question_id == "core-2"
        else None
    )
    async with scene.working():
        await scene.book.consider(session)
        await scene.settled()
    assessed = await scene.assessments.assessed(session.interview_id)
    assert assessed is not None
    assert assessed.report is not None
    assert [rating.question_id for rating in assessed.report.ratings] == ["core-1"]
    assert any("core-2" in note for note in assessed.report.notes)


async def test_no_forged_quote_is_kept(scene: Scene) -> None:
    session = await ended(scene.archive, scene.clock.now())
    scene.assessor.forges = True
    async with scene.working():
        await scene.book.consider(session)
        await scene.settled()
    assert rows_of(scene.url, "SELECT count(*) FROM ratings") == [(0,)]


async def test_a_kept_rating_that_proves_nothing_any_more_is_made_anew(scene: Scene) -> None:
    dots = "." * 20
    session = await ended(scene.archive, scene.clock.now(), answers=(f"{dots} {ANSWER}", ANSWER))
    guide = session.guide
    assert guide is not None
    earlier = Rating(
        question_id="core-1",
        competency=guide.questions[0].competency,
        turns=(2,),
        score=5,
        anchor=5,
        evidence=(Evidence(turn=2, start=0, end=len(dots), quote=dots),),
        method="model",
        rubric=guide.version,
    )
    await scene.assessments.put_rating(session.interview_id, earlier, scene.clock.now())
    async with scene.working():
        await scene.book.consider(session)
        await scene.settled()
    assert [rating.score for rating in (await scene.report(session)).ratings] == [4, 4]
    kept = "SELECT score FROM ratings WHERE question_id = 'core-1'"
    assert rows_of(scene.url, kept) == [(4,)], "who repeats the order finds it, and pays for none"


async def test_the_database_itself_refuses_a_score_without_evidence(scene: Scene) -> None:
    session = await ended(scene.archive, scene.clock.now())
    with psycopg.connect(scene.url) as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute(
            "INSERT INTO ratings SELECT user_id, created_at, interview_id, 'core-1', 5,"
            """ '{"evidence": []}', now() FROM interviews WHERE interview_id = %s""",
            [session.interview_id],
        )


async def test_an_interview_without_answers_has_nothing_to_report(scene: Scene) -> None:
    session = await ended(scene.archive, scene.clock.now(), answers=(" ",))
    async with scene.working():
        await scene.book.consider(session)
        await scene.settled()
    view = (await scene.live(session.interview_id)).session.report
    assert view is not None
    assert (view.code, view.retryable) == ("nothing_to_report", False)
    assert scene.assessor.calls == {}


async def test_orders_that_were_lost_with_redis_are_placed_anew(
    scene: Scene, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(working, "LOOK_S", 0.05)
    long_ago = scene.clock.now() - 600_000
    session = await ended(scene.archive, long_ago)
    await scene.book.consider(session)
    flush_redis(redis_url)
    async with scene.working(), asyncio.timeout(20):
        while True:
            assessed = await scene.assessments.assessed(session.interview_id)
            if assessed is not None and assessed.report is not None:
                break
            await asyncio.sleep(0.05)


async def test_it_is_told_how_many_orders_wait_and_for_how_long(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(working, "LOOK_S", 0.05)
    began = time.monotonic()
    await scene.jobs.enqueue({"odd": b"{}"})
    job, *_ = await scene.jobs.take("somebody", 1, 60_000)
    await asyncio.sleep(0.3)
    async with scene.working(), asyncio.timeout(20):
        *counted, waited_s = await scene.looked()
        assert counted == [1, 0]
        assert waited_s is not None
        assert 0.29 <= waited_s <= time.monotonic() - began
        await scene.jobs.bury(job, "odd")
        await scene.looked()  # it may have been under way
        assert await scene.looked() == (0, 1, 0)


async def test_a_report_is_missed_of_whatever_ended_lately(scene: Scene) -> None:
    now, day_ms = scene.clock.now(), 86_400_000
    lasted_ms = UNSTARTED_MS + PAUSED_MS  # begun in the last minute, and then paused
    late = await ended(scene.archive, now - 600_000 - lasted_ms, lasted_ms=lasted_ms)
    await ended(scene.archive, now - 9 * day_ms)
    await ended(scene.archive, now)  # its order may still be on its way
    assert await scene.assessments.unreported(now - 8 * day_ms) == (late.interview_id,)


async def test_a_report_that_redis_lost_word_of_is_told_anew(
    scene: Scene, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await ended(scene.archive, scene.clock.now() - 600_000)
    name = session.interview_id
    async with scene.working():
        await scene.book.consider(session)
        await scene.settled()
    told = (await scene.live(name)).session.report
    calls = scene.assessor.calls.copy()
    flush_redis(redis_url)
    monkeypatch.setattr(working, "LOOK_S", 0.05)
    async with scene.working(), asyncio.timeout(20):
        while True:
            found = await scene.store.load(name)
            if isinstance(found, State) and found.session.report is not None:
                break
            await asyncio.sleep(0.05)
    assert found.session.report == told
    assert scene.assessor.calls == calls
    unstored = await scene.store.unstored(name)
    assert isinstance(unstored, Unstored)
    assert await scene.archive.write(unstored) is None
    assert await scene.assessments.unreported(0) == ()


async def test_the_orders_of_an_erased_interview_come_to_nothing(scene: Scene) -> None:
    session = await ended(scene.archive, scene.clock.now())
    await scene.book.consider(session)
    await scene.archive.erase(session.interview_id, by="ann")
    async with scene.working():
        await scene.settled()
    assert scene.ends == {"gone": 1}
    for table in ("ratings", "reports", "decisions"):
        assert rows_of(scene.url, f"SELECT count(*) FROM {table}") == [(0,)]  # noqa: S608


async def test_decisions_stand_beside_the_report_and_go_with_the_interview(scene: Scene) -> None:
    session = await ended(scene.archive, scene.clock.now())
    name = session.interview_id
    decision = Decision(
        decision_id=interview_id(scene.clock.now()),
        reviewer="rita",
        decision="advance",
        reason="Clear evidence.",
        at=scene.clock.now(),
    )
    async with scene.working():
        await scene.book.consider(session)
        await scene.settled()
    for _ in range(2):  # the first time, its reply was lost
        await scene.assessments.put_decision(name, decision)
    assessed = await scene.assessments.assessed(name)
    assert assessed is not None
    assert assessed.decisions == (decision,)
    await scene.archive.erase(name, by="ann")
    assert await scene.assessments.assessed(name) is None
    assert rows_of(scene.url, "SELECT count(*) FROM decisions") == [(0,)]


@pytest.mark.parametrize("order", [b'{"kind":"dance"}', b'{"kind":"\xff"}'], ids=["kind", "bytes"])
async def test_an_unknown_order_is_buried_and_holds_nobody_up(scene: Scene, order: bytes) -> None:
    session = await ended(scene.archive, scene.clock.now())
    await scene.jobs.enqueue({"odd": order}, "high")
    async with scene.working():
        await scene.book.consider(session)
        await scene.settled()
    (letter,) = await scene.jobs.dead(10)
    assert (letter.name, letter.code) == ("odd", "unknown_order")
    assert scene.ends["done"] == 1
