"""Ratings in batches, between a real Valkey, a real PostgreSQL and the fake provider."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from ai.chunks import Usage
from ai.prices import load_prices
from ai.settings import DEFAULT_ASSESSOR_MODEL
from loadtest.fakeopenai.batches import Fate
from loadtest.fakeopenai.faults import Fault
from protocol.assessment import verified
from protocol.scalars import Mode
from server.assessing import worker as working
from server.assessing.batcher import Batcher
from server.assessing.groups import Hours
from server.assessing.orders import OrderBook
from storage.budgets import Caps, Payer
from storage.errors import BadDataError
from storage.postgres.batches import Batch, Batches
from tests.support.batching import PENDING, Night, night
from tests.support.databases import flush_redis
from tests.support.ended import ended

pytestmark = pytest.mark.anyio
BATCH_ID = "0190f7c2-0000-7000-8000-000000000001"


@pytest.fixture
async def scene(
    redis_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Night]:
    monkeypatch.setattr(working, "IDLE_MS", 2_000)
    async with night(redis_url, database_url) as made:
        yield made


async def test_an_assessment_is_rated_by_a_batch_at_half_the_price(scene: Night) -> None:
    session = await scene.ended()
    await scene.parked(3)
    async with scene.rating(workers=2, batchers=2):
        (report,) = await scene.reported(session.interview_id)
    turns = await scene.archive.transcript(session.interview_id)
    assert turns is not None
    assert [rating.score for rating in report.ratings] == [2, 2]
    assert all(verified(rating, turns) for rating in report.ratings)
    assert report.communication is not None
    assert report.ratings[0].model == DEFAULT_ASSESSOR_MODEL
    calls = list(scene.fake.bill.calls)
    assert len(calls) == 3
    assert len({call.batch for call in calls}) == 1
    assert scene.live.rows == []
    price = load_prices()[DEFAULT_ASSESSOR_MODEL].times(0.5)
    paid = Counter((row[3], row[4], row[5]) for row in scene.ledger())
    assert paid == Counter(
        (each.prompt_tokens, each.tokens, price.cost(Usage(each.prompt_tokens, 0, each.tokens)))
        for each in calls
    )
    day = Payer(
        interview_id=session.interview_id,
        user_id="ann",
        day=report_day(scene),
    )
    spent = await scene.budgets.spent(day)
    assert {(each.spent, each.held) for each in spent.values()} == {
        (sum(row[5] for row in scene.ledger()), 0)
    }
    assert scene.fake.batches.files == {}, "answers are not left at the provider"
    assert not await scene.assessments.waits(session.interview_id)
    await scene.batches.tidy()
    assert scene.rows("SELECT count(*) FROM rating_requests") == [(0,)]


def report_day(scene: Night) -> str:
    ((day,),) = scene.rows("SELECT (sealed_at AT TIME ZONE 'UTC')::date::text FROM rating_batches")
    return str(day)


@pytest.mark.parametrize("mode", ["practice", "assessment"])
async def test_what_somebody_waits_for_is_rated_live(scene: Night, mode: Mode) -> None:
    session = await scene.ended(mode=mode)
    async with scene.rating():
        await scene.reported(session.interview_id)
        batched = len(scene.ledger())
        async with asyncio.timeout(10):
            while not await scene.book.write(session.interview_id, again=True):  # noqa: ASYNC110
                await asyncio.sleep(0.02)  # the order is at its end, but not over
        await scene.until("SELECT count(*) FROM reports", 2)
    assert batched == (3 if mode == "assessment" else 0)
    assert len(scene.live.rows) == (3 if mode == "assessment" else 6)
    assert len(scene.ledger()) == batched


async def test_an_assessment_is_not_rated_before_it_is_over(scene: Night) -> None:
    async def ordered(book: OrderBook, mode: Mode) -> int:
        over = await ended(scene.archive, scene.clock.now(), mode=mode)
        live = replace(over, status="live", phase="wrap_up", ended_at=None)
        await book.consider(live)
        backlog = await scene.jobs.backlog()
        return sum(backlog.waiting.values())

    assert await ordered(scene.book, "assessment") == 0
    assert await ordered(scene.book, "practice") == 2
    assert await ordered(OrderBook(scene.jobs), "assessment") == 4


async def test_many_interviews_share_a_batch(scene: Night) -> None:
    scene.fake.batches.fate = Fate(seconds=1.0)
    names = [(await scene.ended(1)).interview_id for _ in range(12)]
    async with scene.rating(workers=3, batchers=3):
        await scene.reported(*names)
    assert len(scene.fake.bill.calls) == 12 == len(scene.ledger())
    assert 1 <= len(scene.fake.batches.batches) < 12
    assert scene.rows("SELECT count(*) FROM ratings") == [(12,)]


async def test_nothing_is_sent_outside_of_the_hours(scene: Night) -> None:
    hour = scene.clock.now() // 3_600_000 % 24
    scene.hours = Hours((hour + 2) % 24, (hour + 4) % 24)
    session = await scene.ended()
    async with scene.rating():
        await scene.until(PENDING, 3)
        batcher = scene.batcher()
        for _ in range(3):
            await batcher.round()
        await batcher.aclose()
        assert scene.fake.batches.uploads == 0
        assert await scene.assessments.unreported(0) == (), "it waits, and is not lost"
        assert await scene.assessments.waits(session.interview_id)
    scene.hours = Hours(0, 24)
    async with scene.rating():
        await scene.reported(session.interview_id)


@pytest.mark.parametrize("kind", ["forged_quote", "bad_schema", "score_without_quote", "empty"])
async def test_a_reply_that_breaks_a_rule_is_mended_live_once(scene: Night, kind: Any) -> None:
    scene.fake.faults.set([Fault(kind=kind, count=1)])
    session = await scene.ended(1)
    async with scene.rating():
        (report,) = await scene.reported(session.interview_id)
    code = "unverifiable" if "quote" in kind else "malformed"
    assert [row[1:3] for row in scene.ledger()] == [("completed", code)]
    assert [(row.code, row.call, row.attempt) for row in scene.live.rows] == [("", 2, 1)]
    assert len(report.ratings) == 1
    (mended,) = [call for call in scene.fake.bill.calls if not call.batch]
    assert mended.text


async def test_what_stays_broken_is_said_openly(scene: Night) -> None:
    scene.fake.faults.set([Fault(kind="forged_quote")])
    session = await scene.ended(1)
    async with scene.rating():
        (report,) = await scene.reported(session.interview_id)
    assert report.ratings == ()
    assert any("unverifiable" in note for note in report.notes)
    assert scene.rows("SELECT count(*) FROM ratings") == [(0,)]


@pytest.mark.parametrize(
    ("fate", "batched", "codes"),
    [
        (Fate(status="expired", share=0.0), 0, {"batch_expired"}),
        (Fate(status="expired", share=0.5), 1, {"", "batch_expired"}),
        (Fate(status="cancelled", share=0.5), 1, {"", "batch_expired"}),
        (Fate(status="failed"), 0, {"batch_failed"}),
    ],
)
async def test_what_a_batch_leaves_over_is_rated_live(
    scene: Night, fate: Fate, batched: int, codes: set[str]
) -> None:
    scene.fake.batches.fate = fate
    session = await scene.ended(1)
    other = await scene.ended(1)
    await scene.parked(2)
    async with scene.rating():
        reports = await scene.reported(session.interview_id, other.interview_id)
    assert [len(report.ratings) for report in reports] == [1, 1]
    rows = scene.ledger()
    assert len(rows) == 2
    assert {row[2] for row in rows} == codes
    assert sum(row[5] > 0 for row in rows) == batched
    assert len(scene.live.rows) == 2 - batched
    assert len(scene.fake.bill.calls) == 2, "each answer is paid for once"


async def test_a_line_that_fails_is_rated_live(scene: Night) -> None:
    scene.fake.faults.set([Fault(kind="status", status=500, count=1)])
    session = await scene.ended(1)
    async with scene.rating():
        (report,) = await scene.reported(session.interview_id)
    assert len(report.ratings) == 1
    assert [row[1:] for row in scene.ledger()] == [("failed", "provider_error", 0, 0, 0)]
    assert [row.code for row in scene.live.rows] == [""]


async def test_a_provider_without_batches_is_asked_live(
    scene: Night, capsys: pytest.CaptureFixture[str]
) -> None:
    scene.fake.batches.fate = Fate(absent=True)
    names = [(await scene.ended(1)).interview_id]
    async with scene.rating():
        await scene.reported(*names)
        names.append((await scene.ended(1)).interview_id)
        await scene.reported(*names)
    assert len(scene.live.rows) == 2
    assert capsys.readouterr().out.count("no Batch API") == 1
    assert scene.ledger() == []


async def test_batches_that_are_turned_off_leave_nothing_waiting(scene: Night) -> None:
    scene.fake.batches.fate = Fate(seconds=3600.0)
    sent = await scene.ended(1)
    async with scene.rating():
        await scene.until("SELECT count(*) FROM rating_batches WHERE provider_id IS NOT NULL", 1)
    scene.hours, scene.parks = None, False
    later = await scene.ended(1)
    async with scene.rating():
        await scene.reported(later.interview_id)
        assert (await scene.assessments.assessed(sent.interview_id)) is not None
        scene.fake.batches.fate = Fate()
        (report,) = await scene.reported(sent.interview_id)
    assert len(report.ratings) == 1
    assert [row.interview_id for row in scene.live.rows] == [later.interview_id]
    assert len(scene.ledger()) == 1


# --- dying ----------------------------------------------------------------------------------------


class DyingError(Exception):
    """What takes the place of a kill."""


class Dying(Batches):
    """Dies at one call, before it or after it has taken effect."""

    def __init__(self, night: Night, at: str, *, after: bool) -> None:
        super().__init__(night.archive.database)
        self._at = at
        self._after = after

    async def _dies(self, name: str, work: Any) -> Any:
        if name != self._at:
            return await work
        if self._after:
            await work
        else:
            work.close()
        raise DyingError

    async def sent(self, batch: Batch, provider_id: str) -> bool:
        done: bool = await self._dies("sent", super().sent(batch, provider_id))
        return done

    async def take(self, batch: Batch, interview_id: str, ends: Any) -> None:
        await self._dies("take", super().take(batch, interview_id, ends))

    async def ready(self, batch: Batch) -> tuple[str, ...]:
        found: tuple[str, ...] = await self._dies("ready", super().ready(batch))
        return found

    async def end(self, batch: Batch, ended: str) -> bool:
        done: bool = await self._dies("end", super().end(batch, ended))
        return done


async def rounds_until_it_dies(batcher: Batcher) -> None:
    died = False
    async with asyncio.timeout(20):
        while not died:
            try:
                await batcher.round()
            except* DyingError:
                died = True
            await asyncio.sleep(0.02)
    await batcher.aclose()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", ["sent", "take", "ready", "end"])
async def test_a_worker_that_dies_leaves_each_rating_once(
    scene: Night,
    at: str,
    after: bool,  # noqa: FBT001
) -> None:
    names = [(await scene.ended(2)).interview_id for _ in range(2)]
    await scene.parked(6)
    await rounds_until_it_dies(scene.batcher(Dying(scene, at, after=after), lease_s=1.0))
    async with scene.rating(batchers=2):
        await scene.reported(*names)
    assert len(scene.fake.batches.batches) == 1 == scene.fake.batches.uploads
    assert len(scene.fake.bill.calls) == 6 == len(scene.ledger())
    assert scene.rows("SELECT count(*) FROM ratings") == [(6,)]
    assert scene.live.rows == []


async def test_a_batch_is_held_for_as_long_as_somebody_works_at_it(scene: Night) -> None:
    await scene.ended(1)
    await scene.parked(1)
    assert await scene.batches.seal(BATCH_ID, 5, lambda waiting: [each[0] for each in waiting])
    first = await scene.batches.claim("first", 0.4)
    assert first is not None
    for _ in range(4):
        await asyncio.sleep(0.15)
        assert await scene.batches.keep(first, 0.4)
        assert await scene.batches.claim("second", 5.0) is None
    await asyncio.sleep(0.5)
    second = await scene.batches.claim("second", 5.0)
    assert second is not None
    assert (second.tries, second.provider_id) == (2, None)
    assert not await scene.batches.keep(first, 5.0)
    assert not await scene.batches.sent(first, "batch_1")
    assert not await scene.batches.end(first, "taken")
    assert await scene.batches.sent(second, "batch_2")
    assert not await scene.batches.sent(second, "batch_3"), "once"


async def test_a_batch_whose_creation_was_not_answered_is_found(scene: Night) -> None:
    scene.fake.batches.fate = Fate(lost=1)
    session = await scene.ended(1)
    async with scene.rating():
        await scene.reported(session.interview_id)
    assert len(scene.fake.batches.batches) == 1
    assert len(scene.fake.bill.calls) == 1


async def test_whoever_took_too_long_cancels_what_nobody_waits_for(scene: Night) -> None:
    """Two have sent the same batch: the second one did not find the first one's."""
    session = await scene.ended(1)
    scene.fake.batches.fate = Fate(seconds=3600.0, unlisted=True)
    await scene.parked(1)
    await rounds_until_it_dies(scene.batcher(Dying(scene, "sent", after=False), lease_s=0.5))
    async with scene.rating():
        await scene.until("SELECT count(*) FROM rating_batches WHERE provider_id IS NOT NULL", 1)
        scene.fake.batches.fate = Fate()
        await scene.reported(session.interview_id)
    assert len(scene.fake.batches.batches) == 2, "that cannot be helped"
    assert len(scene.fake.bill.calls) == 1, "but only one is paid for"
    assert len(scene.ledger()) == 1


async def test_redis_that_lost_everything_costs_no_report(scene: Night, redis_url: str) -> None:
    scene.fake.batches.fate = Fate(seconds=3600.0)
    session = await scene.ended(1)
    async with scene.rating():
        await scene.until("SELECT count(*) FROM rating_batches WHERE provider_id IS NOT NULL", 1)
    flush_redis(redis_url)
    scene.fake.batches.fate = Fate()
    async with scene.rating():
        (report,) = await scene.reported(session.interview_id)
    assert len(report.ratings) == 1
    assert len(scene.fake.bill.calls) == 1


# --- erasing, and money ---------------------------------------------------------------------------


async def test_what_comes_late_for_an_erased_interview_brings_nothing_back(scene: Night) -> None:
    scene.fake.batches.fate = Fate(seconds=3600.0)
    erased, kept = await scene.ended(1), await scene.ended(1)
    async with scene.rating():
        await scene.until(
            "SELECT count(*) FROM rating_requests WHERE batch_id IN"
            " (SELECT batch_id FROM rating_batches WHERE provider_id IS NOT NULL)",
            2,
        )
        await scene.archive.erase(erased.interview_id, by="ann")
        scene.fake.batches.fate = Fate()
        await scene.reported(kept.interview_id)
        await scene.until("SELECT count(*) FROM rating_batches WHERE ended_at IS NULL", 0)
    for table in ("ratings", "reports", "ledger", "rating_requests"):
        names = {name for (name,) in scene.rows(f"SELECT interview_id::text FROM {table}")}  # noqa: S608
        assert names == {kept.interview_id}, table
    assert scene.fake.batches.files == {}


async def test_an_interview_that_is_erased_before_it_is_sent_is_not_sent(scene: Night) -> None:
    session = await scene.ended(1)
    await scene.parked(1)
    await scene.archive.erase(session.interview_id, by="ann")
    async with scene.rating():
        later = await scene.ended(1)
        await scene.reported(later.interview_id)
    (call,) = scene.fake.bill.calls
    assert call.batch


async def test_each_call_gets_its_share_of_what_is_left(scene: Night) -> None:
    scene.caps = Caps(interview=60_000)
    session = await scene.ended(2)
    await scene.parked(3)
    scene.fake.batches.fate = Fate(seconds=3600.0)
    await scene.until("SELECT max(parked_at) < now() - interval '0.3 s' FROM rating_requests", True)
    batcher = scene.batcher()
    await batcher.round()
    await batcher.aclose()
    (file,) = scene.fake.batches.files.values()
    bodies = [msgspec.json.decode(each)["body"] for each in file.data.splitlines()]
    allowed = {body["max_completion_tokens"] for body in bodies}
    assert len(bodies) == 3
    assert len(allowed) == 1
    assert 1_500 <= min(allowed) < scene.settings.assessor_output_tokens
    spent = await scene.budgets.spent(
        Payer(interview_id=session.interview_id, user_id="ann", day=report_day(scene))
    )
    assert spent["interview"].held <= 60_000


async def test_an_interview_whose_budget_is_damaged_holds_up_no_other(
    scene: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = sorted([(await scene.ended(1)).interview_id for _ in range(2)])
    settle = scene.budgets.settle

    async def settled(call: str, payer: Payer, cost: int, **told: Any) -> bool:
        if payer.interview_id == first:  # it is taken in before the other
            raise BadDataError("a marker")
        return await settle(call, payer, cost, **told)

    monkeypatch.setattr(scene.budgets, "settle", settled)
    async with scene.rating():
        reports = await scene.reported(first, second)
    assert [len(report.ratings) for report in reports] == [1, 1]
    assert len(scene.ledger()) == 2


async def test_a_budget_that_is_used_up_is_told_in_the_report(scene: Night) -> None:
    scene.caps = Caps(interview=100)
    session = await scene.ended(1)
    async with scene.rating():
        (report,) = await scene.reported(session.interview_id)
    assert report.ratings == ()
    assert any("(budget)" in note for note in report.notes)
    assert scene.fake.batches.uploads == 0
    assert len(scene.fake.bill.calls) == 0
