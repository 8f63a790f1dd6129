"""The interviewer and the assessor on a budget: a real Redis, a provider with a bill of its own."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Literal

import pytest
from msgspec import Struct
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from ai.assessor import AssessmentFailedError, build_assessor
from ai.build import build_interviewer
from ai.chunks import Usage
from ai.interviewer import Interviewer
from ai.prices import load_prices
from ai.settings import AiSettings
from ai.speech import AttemptFailedError, TurnRequest
from loadtest.fakeopenai import FakeOpenAI, Options
from loadtest.fakeopenai.faults import Fault
from protocol.ledger import Scope
from server.budgetbook import BudgetBook
from server.meters import Meters
from storage.budgets import Caps, Payer, Spent
from storage.redis.budgets import RedisBudgets
from storage.redis.connect import connect
from storage.redis.store import RedisStore
from tests.support.assessing import request as rating_request
from tests.support.clocks import LoopClock
from tests.support.speeches import REQUEST, End, Fallback, Low, Rows, Spoken, spoken, text_of

pytestmark = pytest.mark.anyio

PRICE = load_prices()["gpt-5.4-mini"]
QUICK = Options(tokens=12, tokens_per_second=1500.0, first_token_s=0.0)


class Desk(Struct):
    """What a test has at hand."""

    speaker: Interviewer
    settings: AiSettings
    kept: RedisBudgets
    book: BudgetBook
    rows: Rows
    fake: FakeOpenAI
    clock: LoopClock

    async def spent(self, interview_id: str, user_id: str = "u1") -> dict[Scope, Spent]:
        await self.book.drained(5)
        day = next(iter(await self.days()))
        return await self.kept.spent(Payer(interview_id=interview_id, user_id=user_id, day=day))

    async def days(self) -> set[str]:
        keys = await self.kept._store.plain(("KEYS", "viva:{budget}:day:*"))  # pyright: ignore[reportPrivateUsage]
        return {key.decode().split(":")[3] for key in keys[0]}

    @property
    def ledger(self) -> int:
        return sum(row.cost_micro_usd for row in self.rows.rows)

    @property
    def bill(self) -> int:
        """What the provider itself has counted."""
        return sum(
            PRICE.cost(Usage(call.prompt_tokens, 0, call.tokens)) for call in self.fake.bill.calls
        )


@asynccontextmanager
async def desk(
    redis_url: str,
    caps: Caps,
    options: Options = QUICK,
    *,
    api: Literal["chat", "responses"] = "chat",
) -> AsyncGenerator[Desk]:
    rows, clock, client = Rows(), LoopClock(), connect(redis_url)
    kept = RedisBudgets(RedisStore(client))
    book = BudgetBook(kept, caps, clock, Meters(CollectorRegistry()))
    async with FakeOpenAI(options).running() as fake:
        settings = AiSettings(
            api_key="k", base_url=fake.url, api=api, assessor_model="gpt-5.4-mini",
            bank_words_per_second=0,
        )  # fmt: skip
        speaker = build_interviewer(settings, rows, clock, book)
        settling = asyncio.create_task(book.run())
        try:
            yield Desk(speaker, settings, kept, book, rows, fake, clock)
        finally:
            settling.cancel()
            await asyncio.gather(settling, return_exceptions=True)
            await speaker.aclose()
            await client.aclose()


async def turn(
    speaker: Interviewer, request: TurnRequest, *, leaves_after: int | None = None
) -> list[Spoken]:
    """One turn, over as many attempts as it takes, or until the candidate barges in."""
    for attempt in range(1, 9):
        items: list[Spoken] = []
        try:
            async with aclosing(spoken(speaker, replace(request, attempt=attempt))) as speech:
                async for item in speech:
                    items.append(item)
                    if len(items) == leaves_after:
                        return items
        except AttemptFailedError:
            continue
        return items
    raise AssertionError("it never ends")


def _of(interview: int, user: str = "u1") -> TurnRequest:
    name = f"0190f7c2-0000-7000-8000-{interview:012d}"
    return replace(REQUEST, interview_id=name, user_id=user)


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_ledger_budget_and_bill_agree_to_the_micro_dollar(
    api: Literal["chat", "responses"], redis_url: str
) -> None:
    faults = [
        Fault(kind="cut", tokens=4, every=10),
        Fault(kind="status", status=500, every=11),
        Fault(kind="refused", every=12),
        Fault(kind="status", status=429, every=13),
    ]
    async with desk(redis_url, Caps(), api=api) as having:
        having.fake.faults.set(faults)

        async def interview(number: int) -> None:
            for place in range(10):
                leaves = 3 if (number + place) % 10 == 0 else None
                await turn(having.speaker, _of(number, f"u{number % 3}"), leaves_after=leaves)

        await asyncio.gather(*(interview(number) for number in range(15)))
        rows = [row for row in having.rows.rows if row.api != "bank"]
        exact = Counter(
            (r.input_tokens, r.output_tokens) for r in rows if r.exact and r.input_tokens
        )
        billed = Counter((call.prompt_tokens, call.tokens) for call in having.fake.bill.calls)
        estimates = [row for row in rows if not row.exact]

        # The provider's bill: what was told exactly is on it exactly, the rest is marked.
        assert sum(exact.values()) > 100
        assert exact - billed == Counter()
        assert sum((billed - exact).values()) == len(estimates) > 15
        assert all(row.outcome != "completed" for row in estimates)
        refused = [row for row in rows if row.exact and not row.input_tokens]
        assert len(refused) == having.fake.bill.refused > 10
        marked = sum(row.cost_micro_usd for row in estimates)
        unmarked = sum(
            PRICE.cost(Usage(call[0], 0, call[1])) * times for call, times in exact.items()
        )
        assert having.ledger == unmarked + marked
        assert abs(having.bill - having.ledger) < marked / 5, "estimates are close"

        # The budgets: the ledger, of each interview, user and day.
        by_interview, by_user = Counter[str](), Counter[str]()
        for row in rows:
            by_interview[row.interview_id] += row.cost_micro_usd
            by_user[row.user_id] += row.cost_micro_usd
        for number in range(15):
            request = _of(number, f"u{number % 3}")
            spent = await having.spent(request.interview_id, request.user_id)
            assert spent == {
                "interview": Spent(by_interview[request.interview_id], 0),
                "user_day": Spent(by_user[request.user_id], 0),
                "day": Spent(having.ledger, 0),
            }
        print(  # noqa: T201 - the figures
            f"{api}: {len(rows)} calls, {len(estimates)} estimates of {marked} micro-dollars,"
            f" ledger {having.ledger}, bill {having.bill}"
        )


async def test_an_interview_with_a_tiny_cap_is_completed_by_the_bank(redis_url: str) -> None:
    cap = 15_000
    wordy = replace(QUICK, tokens=450, tokens_per_second=0.0)
    async with desk(redis_url, Caps(interview=cap, soft=0.5), wordy) as having:
        turns = [await turn(having.speaker, _of(1)) for _ in range(20)]
        sources = [items[-1] for items in turns]
        assert all(text_of(items) for items in turns), "no turn is empty"
        assert sources == sorted(sources, key=lambda end: end == End("bank")), "the model, then not"
        spoken = sources.count(End("model"))
        assert 3 <= spoken <= 18
        assert [items[0] for items in turns[spoken:]] == [Fallback("budget")] * (20 - spoken)
        lows = [place for place, items in enumerate(turns) if Low() in items]
        assert lows
        assert lows[0] > 0
        assert len(having.fake.bill.calls) == spoken, "no call but those"
        assert having.ledger <= cap
        assert having.bill <= cap
        assert having.bill == having.ledger
        assert (await having.spent(_of(1).interview_id))["interview"] == Spent(having.ledger, 0)
        assert (await turn(having.speaker, _of(2)))[-1] == End("model"), "another one goes on"


@pytest.mark.parametrize("caps", [Caps(user_day=30_000), Caps(day=30_000)], ids=["user_day", "day"])
async def test_no_crowd_gets_past_a_days_cap(caps: Caps, redis_url: str) -> None:
    wordy = replace(QUICK, tokens=300)
    async with desk(redis_url, caps, wordy) as having:
        having.fake.faults.set([Fault(kind="cut", tokens=9, every=10)])

        async def interview(number: int) -> Sequence[Spoken]:
            return [(await turn(having.speaker, _of(number)))[-1] for _ in range(3)]

        ends = await asyncio.gather(*(interview(number) for number in range(30)))
        counted = Counter(end for each in ends for end in each)
        assert counted[End("model")] > 5
        assert counted[End("bank")] > 40
        assert having.ledger <= 30_000
        assert having.bill <= 30_000
        assert (await having.spent(_of(1).interview_id))["day"] == Spent(having.ledger, 0)


async def test_ratings_are_on_the_interviews_budget(redis_url: str) -> None:
    async with desk(redis_url, Caps(interview=30_000)) as having:
        assessor = build_assessor(having.settings, having.rows, having.clock, having.book)
        rated, failure = 0, None
        while failure is None and rated < 50:
            try:
                await assessor.rate(rating_request())
            except AssessmentFailedError as failed:
                failure = failed
            else:
                rated += 1
        await assessor.aclose()
        assert failure is not None
        assert (failure.code, failure.retryable) == ("budget", False)
        assert rated > 2
        assert having.ledger <= 30_000
        assert len(having.fake.bill.calls) == len(having.rows.rows)
        spent = await having.spent(rating_request().interview_id)
        assert spent["interview"] == Spent(having.ledger, 0)
