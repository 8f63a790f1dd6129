"""What decides about batches without asking anybody: hours, groups, lines, what they cost."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from ai.assessor.lines import Counter, Outcome, read_lines
from ai.assessor.source import BODY_BYTES, RATING, read_body, request_body
from ai.chunks import Usage
from ai.prices import Price, load_batch_share, load_prices
from ai.provider import Prompt
from ai.settings import AiSettings
from protocol.ledger import LedgerEntry, Task
from server.assessing.groups import LAST_LOOK_S, Hours, Pace
from storage.postgres.batches import Waits

HOUR_MS = 3_600_000
SETTINGS = AiSettings(api_key="k", assessor_model="gpt-5.4")


class Line(Struct, frozen=True, kw_only=True):
    """A call as the counter sees it."""

    request_id: str = "r1"
    interview_id: str = "i1"
    user_id: str = "u1"
    task: Task = "rate"
    turn: int = 4
    sample: int = 1
    sampled: bool = False
    instructions: str = "rules"
    input: str = "case"


# --- hours and groups -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "until", "inside"),
    [
        (22, 6, {22, 23, 0, 1, 2, 3, 4, 5}),
        (1, 4, {1, 2, 3}),
        (0, 24, set(range(24))),
        (22, 24, {22, 23}),
        (23, 0, {23}),
    ],
)
def test_hours_may_go_over_midnight(first: int, until: int, inside: set[int]) -> None:
    hours = Hours(first, until)
    days = 20_000 * 24
    opened = {hour for hour in range(24) if hours.open((days + hour) * HOUR_MS + HOUR_MS - 1)}
    assert opened == inside


def waiting(*sizes: int, age_s: float = 0.0) -> list[Waits]:
    return [Waits(f"r{place}", size, age_s) for place, size in enumerate(sizes)]


def test_a_group_goes_when_it_is_full_or_has_waited() -> None:
    pace = Pace(600.0, calls=3, size=100)
    assert pace.group([]) == ()
    assert pace.group(waiting(10, 10)) == ()
    assert pace.group(waiting(10, 10, age_s=600.0)) == ["r0", "r1"]
    assert pace.group(waiting(10, 10, 10)) == ["r0", "r1", "r2"]
    assert pace.group(waiting(10, 10, 10, 10)) == ["r0", "r1", "r2"]
    assert pace.group(waiting(60, 50)) == ["r0"], "both do not fit, so it is full"
    assert pace.group(waiting(500, 50)) == ["r0"], "one that never fits goes alone"


@given(st.lists(st.integers(1, 200), max_size=12), st.booleans())
def test_groups_are_bounded_and_leave_nobody_out(sizes: list[int], old: bool) -> None:  # noqa: FBT001
    pace = Pace(60.0, calls=4, size=300)
    left, sent = waiting(*sizes, age_s=60.0 if old else 1.0), list[str]()
    while chosen := pace.group(left[: pace.calls + 1]):
        assert len(chosen) <= pace.calls
        size = sum(call.size for call in left if call.request_id in chosen)
        assert size <= pace.size or len(chosen) == 1
        sent += chosen
        left = left[len(chosen) :]
    assert sent == [f"r{place}" for place in range(len(sent))], "the oldest first"
    assert (not left) or not old


def test_batches_are_looked_at_less_the_older_they_are() -> None:
    looks = [Pace(600.0).next_look_s(age) for age in (0, 600, 3_600, 86_400)]
    assert looks == [60.0, 60.0, 360.0, LAST_LOOK_S]


# --- lines ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_line_is_what_a_live_call_would_send(api: Any) -> None:
    raw = Counter(SETTINGS).line(Line(), api, "gpt-5.4", 1_700)
    assert raw.endswith(b"}\n")
    assert raw.count(b"\n") == 1
    line = json.loads(raw)
    prompt = Prompt("rules", "case", 1_700)
    assert line == {
        "custom_id": "r1",
        "method": "POST",
        "url": "/v1/chat/completions" if api == "chat" else "/v1/responses",
        "body": request_body(SETTINGS, RATING, prompt, api, "gpt-5.4", sampled=False),
    }
    assert "1700" in raw.decode()


def told(name: str, **fields: Any) -> bytes:
    return json.dumps({"custom_id": name, "response": None, "error": None, **fields}).encode()


def answered(status: int, body: Any) -> dict[str, Any]:
    return {"response": {"status_code": status, "body": body}}


def test_lines_are_read_by_name_and_what_is_none_is_skipped() -> None:
    error = {"error": {"code": "rate_limit_exceeded"}}
    data = b"\n".join(
        (
            told("good", **answered(200, {"x": 1})),
            b"{not json",
            b"",
            b"[" * 5_000,
            told("limited", **answered(429, error)),
            told("odd", **answered(500, "no object")),
            told("late", error={"code": "batch_expired"}),
            told("gone", error={"code": "whatever it says"}),
            told("long", **answered(200, "x" * BODY_BYTES)),
            b'{"custom_id": "bytes", "response": {"status_code": 200, "body": "\xff"}}',
        )
    )
    assert dict(read_lines(data)) == {
        "good": Outcome(reply=b'{"x": 1}'),
        "limited": Outcome(code="rate_limited"),
        "odd": Outcome(code="provider_error"),
        "late": Outcome(code="batch_expired"),
        "gone": Outcome(code="provider_error"),
        "long": Outcome(code="malformed"),
        "bytes": Outcome(code="malformed"),
    }


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_an_answer_with_half_a_surrogate_pair_is_read_and_paid_for(api: Any) -> None:
    chat = {
        "choices": [
            {"message": {"content": "Well \ud83d\ude00 \ud83d"}, "finish_reason": "length"}
        ],
        "usage": {"prompt_tokens": 3_000, "completion_tokens": 6_000},
    }
    part = {"type": "output_text", "text": "Well \ud83d\ude00 \ud83d"}
    responses = {
        "status": "incomplete",
        "output": [{"type": "message", "content": [part]}],
        "usage": {"input_tokens": 3_000, "output_tokens": 6_000},
    }
    given = chat if api == "chat" else responses
    live = read_body(json.dumps(given).encode(), api)
    assert (live.text, live.cut) == ("Well 😀 ?", True)
    ((name, outcome),) = read_lines(told("r1", **answered(200, given)))
    assert outcome.reply is not None
    assert (name, read_body(outcome.reply, api)) == ("r1", live)
    row = Counter(SETTINGS).entry(Line(), outcome, api=api, model="gpt-5.4", at=1, now=2)
    assert (row.output_tokens, row.exact, row.code) == (6_000, True, "length")


@given(st.binary(max_size=400))
def test_no_file_breaks_the_reader(data: bytes) -> None:
    for name, outcome in read_lines(data):
        assert isinstance(name, str)
        assert (outcome.reply is None) == bool(outcome.code)


# --- money ----------------------------------------------------------------------------------------


def test_the_share_is_data_and_halves_all_three() -> None:
    assert load_batch_share() == 0.5
    assert Price(2.5, 0.25, 15.0).times(0.5) == Price(1.25, 0.125, 7.5)


def entry(outcome: Outcome, model: str = "gpt-5.4") -> LedgerEntry:
    return Counter(SETTINGS).entry(Line(), outcome, api="chat", model=model, at=1_000, now=9_000)


def body(**fields: Any) -> bytes:
    usage = {"prompt_tokens": 1_000, "completion_tokens": 100}
    choice = {"message": {"content": "{}"}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice], "usage": usage, **fields}).encode()


@pytest.mark.parametrize(
    ("outcome", "end", "code", "cost", "exact"),
    [
        (Outcome(reply=body()), "completed", "", 2_000, True),
        (Outcome(reply=body(usage=None)), "completed", "", 12, False),
        (Outcome(reply=b"5"), "failed", "malformed", 1_879, False),
        (Outcome(code="batch_expired"), "failed", "batch_expired", 0, True),
        (Outcome(code="batch_lost"), "failed", "batch_lost", 1_879, False),
        (
            Outcome(reply=body(choices=[{"message": {"refusal": "No."}}])),
            "refused",
            "refused",
            2_000,
            True,
        ),
    ],
)
def test_every_line_has_a_row(
    outcome: Outcome,
    end: str,
    code: str,
    cost: int,
    exact: bool,  # noqa: FBT001
) -> None:
    row = entry(outcome)
    assert (row.outcome, row.code, row.cost_micro_usd, row.exact) == (end, code, cost, exact)
    assert (row.api, row.id, row.at, row.total_ms) == ("batch", "batch-r1", 1_000, 8_000)
    assert row == entry(outcome), "the same again, however often"


def test_a_model_without_a_price_counts_like_the_dearest() -> None:
    row = entry(Outcome(reply=body()), model="own")
    assert (row.priced, row.cost_micro_usd) == (False, 0)
    assert Counter(SETTINGS).counted(row) == 1_000 * 2.5 + 100 * 15  # half of gpt-5.5


def test_what_is_held_is_shared_and_never_exceeded() -> None:
    counter, lines = Counter(SETTINGS), [Line(input="x" * 6_000)] * 3
    quote = counter.quote(lines, "gpt-5.4")
    price = load_prices()["gpt-5.4"].times(0.5)
    for amount in (quote.least, (quote.least + quote.most) // 2, quote.most):
        tokens = counter.allowed(lines, "gpt-5.4", amount)
        spent = sum(price.cost(Usage(6_005 // 3 + 17, 0, tokens)) for _ in lines)
        assert spent <= amount
        assert SETTINGS.assessor_least_output_tokens - 2 <= tokens
    assert tokens >= SETTINGS.assessor_output_tokens - 2
