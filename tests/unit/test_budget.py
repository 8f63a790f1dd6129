"""No call of the model without money held for it, and every hold is settled once."""

import asyncio
import contextlib
from collections.abc import Sequence
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ai.assessor import AssessmentFailedError
from ai.assessor.source import Completion
from ai.budget import Busy, Held, Refusal, Till
from ai.handles import ResponsePosition
from ai.prices import dearest, load_prices, price_of
from ai.provider import Prompt
from ai.settings import AiSettings
from ai.speech import AttemptFailedError
from protocol.ledger import Scope
from tests.support.assessing import ScriptedSource, over, reply, request
from tests.support.budgets import Purse
from tests.support.speeches import (
    BANK_TEXT,
    DONE,
    FINISH,
    REQUEST,
    End,
    Fallback,
    Low,
    Rows,
    ScriptedCall,
    ScriptedModel,
    Spoken,
    Words,
    chat,
    delta,
    event,
    interviewer,
    listen,
    spoken,
    text_of,
)
from tests.support.virtual_time import run_virtual
from tests.unit.test_failures import refusal

COST = 435
"""What `chat` costs: its usage by the price of gpt-5.4-mini."""
MOST = 2_000 * 4.5
LEAST = 500 * 4.5
DAY_MS = 86_400_000
NOW_MS = 1_800_001_000_000
"""What the clock of these tests begins at."""


def hear(
    model: ScriptedModel, purse: Purse, rows: Rows, turns: int = 1, name: str = "gpt-5.4-mini"
) -> list[Spoken]:
    chosen = AiSettings(api_key="k", model=name, bank_words_per_second=0)
    speaker = interviewer(model, rows, settings=chosen, budget=purse)

    async def run() -> list[Spoken]:
        items: list[Spoken] = []
        for _ in range(turns):
            items += await listen(speaker)
        await speaker.aclose()
        return items

    return run_virtual(run())


def test_a_call_is_held_for_and_settled_with_its_row() -> None:
    model, purse, rows = ScriptedModel(chat("Hello")), Purse(), Rows()
    assert hear(model, purse, rows) == [Words("Hello"), End("model")]
    (hold,), (row,) = purse.holds, rows.rows
    assert hold.costs == [row.cost_micro_usd] == [COST]
    ((least, most, sunk),) = purse.asked
    prompt = least - LEAST
    assert most - MOST == prompt > model.prompts[0].size / 4 * 0.75
    assert not sunk
    assert model.prompts[0].output_tokens is None


def test_where_no_money_is_left_the_bank_speaks_at_once_and_no_call_is_made() -> None:
    model, purse, rows = ScriptedModel(chat("Hello")), Purse(cap=0), Rows()
    items = hear(model, purse, rows)
    assert items[0] == Fallback("budget")
    assert (text_of(items), items[-1]) == (BANK_TEXT, End("bank"))
    assert (model.calls, purse.holds) == ([], [])
    assert [row.api for row in rows.rows] == ["bank"]
    again = hear(model, Purse(), rows)
    assert again[0] == Words("Hello"), "the circuit did not open"


def test_the_last_calls_get_what_is_left() -> None:
    model, purse, rows = ScriptedModel(chat("Hello")), Purse(cap=8_000), Rows()
    items = hear(model, purse, rows, turns=20)
    bounds = [prompt.output_tokens for prompt in model.prompts]
    assert len(bounds) > 5
    assert all(bound is not None and 500 <= bound < 2_000 for bound in bounds)
    assert bounds == sorted(bounds, key=lambda bound: -(bound or 0))
    assert purse.spent == COST * len(bounds) <= 8_000
    assert Fallback("budget") in items
    assert [hold.amount for hold in purse.holds] == [8_000 - COST * n for n in range(len(bounds))]


def test_a_passed_soft_cap_is_told_before_the_words_of_the_turn() -> None:
    model, rows = ScriptedModel(chat("Hello", "!")), Rows()
    items = hear(model, Purse(soft=COST), rows, turns=2)
    assert items == [
        *(Words("Hello"), Words("!"), End("model")),
        *(Low(), Words("Hello"), Words("!"), End("model")),
    ]


def test_each_retry_is_held_for_apart() -> None:
    model = ScriptedModel(
        ScriptedCall(refused=refusal(500)), ScriptedCall([delta(" "), FINISH, DONE]), chat("Hi")
    )
    purse, rows = Purse(), Rows()
    assert hear(model, purse, rows)[-1] == End("model")
    assert [hold.costs for hold in purse.holds] == [[row.cost_micro_usd] for row in rows.rows]
    assert len(purse.holds) == 3
    assert purse.holds[0].costs == [0]


def test_a_retry_that_nothing_is_left_for_is_not_made() -> None:
    model = ScriptedModel(ScriptedCall([ConnectionResetError()]))
    purse, rows = Purse(cap=5_500), Rows()
    items = hear(model, purse, rows, turns=4)
    assert Fallback("budget") in items
    assert purse.spent <= 5_500
    assert len(model.calls) == len(purse.holds) == len([r for r in rows.rows if r.api == "chat"])


def test_a_model_without_a_price_counts_like_the_dearest() -> None:
    purse, rows = Purse(), Rows()
    hear(ScriptedModel(chat("Hello")), purse, rows, name="a-model-of-my-own")
    (row,) = rows.rows
    assert (row.cost_micro_usd, row.priced) == (0, False)
    assert purse.holds[0].costs == [400 * 5 + 600 * 1.25 + 20 * 30]
    high = dearest(load_prices())
    assert all(high[n] >= price[n] for price in load_prices().values() for n in range(3))


def test_an_estimate_is_never_more_than_what_was_held() -> None:
    cut = ScriptedCall([*(delta("語" * 300) for _ in range(13)), ConnectionResetError()])
    model, purse, rows = ScriptedModel(cut), Purse(cap=6_000), Rows()
    with pytest.raises(AttemptFailedError):
        hear(model, purse, rows)
    (hold,), (row,) = purse.holds, rows.rows
    assert row.output_tokens == model.prompts[0].output_tokens
    assert not row.exact
    assert hold.costs == [row.cost_micro_usd]
    assert hold.costs[0] <= hold.amount


@settings(deadline=None, database=None)
@given(size=st.integers(0, 100_000), cap=st.integers(0, 200_000))
def test_what_a_hold_pays_for_is_never_more_than_it_is(size: int, cap: int) -> None:
    price = price_of("gpt-5.4-mini", load_prices())
    assert price is not None

    async def hold() -> Held | Refusal:
        till = Till(Purse(cap), price, least=500, most=2_000, call_s=60)
        held = await till.hold(REQUEST, size)
        assert not isinstance(held, Busy), "no gate, no queue"
        return held

    held = run_virtual(hold())
    if isinstance(held, Refusal):
        assert cap < price.most(size // 3, 500) + 20
        return
    tokens = 2_000 if held.output_tokens is None else held.output_tokens
    assert 500 <= tokens <= 2_000
    assert price.most(-(-size // 4), tokens) <= held.hold.amount <= cap


# --- every hold is settled once -------------------------------------------------------------------

_CALLS = st.sampled_from(
    [
        chat("One", " two", " three"),
        ScriptedCall(refused=refusal(500), open_delay_s=0.3),
        ScriptedCall(refused=refusal(429, "insufficient_quota"), open_delay_s=0.2),
        ScriptedCall([0.4, delta("One"), 0.4, delta(" two"), 0.4, FINISH, DONE]),
        ScriptedCall([0.2, ConnectionResetError()]),
        ScriptedCall([0.2, delta("One"), 0.2, ConnectionResetError()], open_delay_s=0.2),
        ScriptedCall([0.1, FINISH, DONE]),
        ScriptedCall([60.0], open_delay_s=1.0),
    ]
)


@settings(deadline=None, database=None)
@given(
    calls=st.lists(_CALLS, min_size=1, max_size=4),
    cancel_s=st.floats(0, 4),
    delay_s=st.sampled_from([0.0, 0.05, 0.5]),
    cap=st.sampled_from([10**9, 9_000, 5_000]),
    taken=st.integers(0, 5),
)
def test_no_call_without_a_hold_and_no_hold_is_left_or_settled_twice(
    calls: Sequence[ScriptedCall], cancel_s: float, delay_s: float, cap: int, taken: int
) -> None:
    model, rows = ScriptedModel(*calls), Rows()
    purse = Purse(cap, delay_s=delay_s)

    async def take() -> None:
        """Listen to some of it, and leave."""
        async with aclosing(spoken(interviewer(model, rows, budget=purse), REQUEST)) as speech:
            heard = 0
            async for _ in speech:
                heard += 1
                if heard > taken > 0:
                    return

    async def run() -> None:
        task = asyncio.create_task(take())
        await asyncio.wait([task], timeout=cancel_s)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, AttemptFailedError):
            await task

    run_virtual(run())
    booked = [row for row in rows.rows if row.api == "chat"]
    assert purse.settled == [1] * len(purse.holds)
    assert [hold.costs[0] for hold in purse.holds] == [row.cost_micro_usd for row in booked]
    assert len(model.calls) == len(purse.holds)
    assert all(hold.costs[0] <= hold.amount for hold in purse.holds)


@settings(deadline=None, database=None)
@given(
    cancel_s=st.floats(0, 3),
    delay_s=st.sampled_from([0.0, 0.5]),
    replies=st.lists(
        st.sampled_from([reply(), "", refusal(500), ConnectionResetError()]),
        min_size=1,
        max_size=4,
    ),
)
def test_the_assessors_holds_are_settled_once(
    cancel_s: float, delay_s: float, replies: Sequence[object]
) -> None:
    rows, purse = Rows(), Purse(delay_s=delay_s)
    source = ScriptedSource(*replies)

    async def run() -> None:
        task = asyncio.create_task(over(source, rows, budget=purse).rate(request()))
        await asyncio.wait([task], timeout=cancel_s)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, AssessmentFailedError):
            await task

    run_virtual(run())
    assert purse.settled == [1] * len(purse.holds)
    assert [hold.costs[0] for hold in purse.holds] == [row.cost_micro_usd for row in rows.rows]
    assert len(source.prompts) == len(purse.holds)


# --- the assessor ---------------------------------------------------------------------------------


def unpaid(purse: Purse) -> tuple[AssessmentFailedError, ScriptedSource]:
    source = ScriptedSource(reply())

    async def rate() -> None:
        await over(source, budget=purse).rate(request())

    with pytest.raises(AssessmentFailedError) as caught:
        run_virtual(rate())
    return caught.value, source


def test_an_interview_that_is_spent_is_never_rated() -> None:
    failure, source = unpaid(Purse(0))
    assert (failure.code, failure.retryable, failure.after_s) == ("budget", False, None)
    assert source.prompts == []


@pytest.mark.parametrize("scope", ["user_day", "day"])
def test_a_day_that_is_spent_is_rated_on_the_next(scope: Scope) -> None:
    failure, source = unpaid(Purse(0, scope=scope))
    assert (failure.code, failure.retryable) == ("day_budget", True)
    assert source.prompts == []
    assert failure.after_s is not None
    assert 0 <= failure.after_s - (DAY_MS - NOW_MS % DAY_MS) / 1000 < 60


def test_money_that_other_calls_hold_is_waited_for() -> None:
    failure, _ = unpaid(Purse(0, passing=True))
    assert failure.retryable
    assert failure.after_s == 10


def test_a_rating_under_way_leaves_the_interview_money_for_turns() -> None:
    purse, rows, model = Purse(90_000), Rows(), ScriptedModel(chat("Hello"))
    waiting = asyncio.Event()

    class Slow(ScriptedSource):
        async def complete(self, prompt: Prompt, *, sampled: bool) -> Completion:
            waiting.set()
            await asyncio.sleep(2)
            return await super().complete(prompt, sampled=sampled)

    async def run() -> None:
        rating = asyncio.create_task(over(Slow(reply()), rows, budget=purse).rate(request()))
        await waiting.wait()
        for _ in range(2):
            assert (await listen(interviewer(model, rows, budget=purse)))[-1] == End("model")
        await rating

    run_virtual(run())
    rating, *turns = purse.holds
    assert 70_000 < rating.amount < 80_000
    assert len(turns) == 2


def test_a_rating_of_an_interview_that_is_over_leaves_it_no_money() -> None:
    purse = Purse(30_000)

    async def rate(*, ended: bool) -> None:
        await over(ScriptedSource(reply()), budget=purse).rate(replace(request(), over=ended))

    with pytest.raises(AssessmentFailedError, match="budget"):
        run_virtual(rate(ended=False))
    run_virtual(rate(ended=True))
    assert len(purse.holds) == 1


def test_a_rating_is_allowed_what_is_left() -> None:
    async def rate(cap: int) -> ScriptedSource:
        source = ScriptedSource(reply())
        await over(source, budget=Purse(cap)).rate(request())
        return source

    assert run_virtual(rate(10**6)).prompts[0].output_tokens is None
    bound = run_virtual(rate(60_000)).prompts[0].output_tokens
    assert bound is not None
    assert 1_500 <= bound < 6_000


def test_a_stored_response_is_sunk_when_it_is_taken_up() -> None:
    stored = AiSettings(api_key="k", api="responses", background=True, bank_words_per_second=0)
    position = ResponsePosition("resp_1", 1, 0, 3)
    end = {"id": "resp_1", "usage": {"input_tokens": 50, "output_tokens": 6}}
    call = ScriptedCall(
        [
            event({"type": "response.output_text.delta", "delta": " two", "sequence_number": 2}),
            event({"type": "response.completed", "response": end, "sequence_number": 3}),
        ]
    )
    model, purse, rows = ScriptedModel(call, stored=True), Purse(0), Rows()

    async def run() -> list[Spoken]:
        speaker = interviewer(model, rows, settings=stored, budget=purse)
        return await listen(speaker, replace(REQUEST, handle=str(position), logged="One"))

    items = run_virtual(run())
    assert (text_of(items), items[-1]) == (" two", End("model"))
    assert purse.asked[0][2]
    assert purse.holds[0].responses == ["resp_1"]
