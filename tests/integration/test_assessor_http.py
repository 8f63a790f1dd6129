"""The assessor over real HTTP: what it asks, what it accepts, what it pays."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any, Literal

import pytest

from ai.assessor import AssessmentFailedError
from ai.assessor.replies import SCHEMA
from ai.retries import OUTAGE_S, SHUN_S
from loadtest.fakeopenai import FakeOpenAI, Options
from loadtest.fakeopenai.faults import Fault
from protocol.assessment import verified
from protocol.ledger import LedgerEntry
from tests.support.assessing import GOOD, SETTINGS, answered, asked, asking, reply, request
from tests.support.raw_http import Reply, Request, raw_server
from tests.support.speeches import Rows

pytestmark = pytest.mark.anyio
QUICK = Options(first_token_s=0.0)
Api = Literal["chat", "responses"]
APIS: tuple[Api, ...] = ("chat", "responses")


def same_as_billed(rows: Iterable[LedgerEntry], fake: FakeOpenAI) -> bool:
    """Whether the ledger's exact rows are the bill, call by call."""
    paid = [(row.input_tokens, row.output_tokens) for row in rows if row.input_tokens]
    return paid == [(call.prompt_tokens, call.tokens) for call in fake.bill.calls]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(("quality", "score"), [("strong", 5), ("middling", 3), ("weak", 1)])
async def test_a_rating_and_its_price(api: Api, quality: str, score: int) -> None:
    rows = Rows()
    async with FakeOpenAI(QUICK).running() as fake, asking(fake, rows, api=api) as assessor:
        made = request(f"{GOOD} quality:{quality}")
        rating = await assessor.rate(made)
        assert (rating.score, rating.method) == (score, "model")
        assert rating.evidence
        assert verified(rating, made.turns)
        spoken = await assessor.communication(request(f"{GOOD} quality:{quality} " * 3))
        assert spoken is not None
        assert spoken.score == score
        assert [(row.task, row.api) for row in rows.rows] == [("rate", api), ("communicate", api)]
        assert all(row.exact and row.priced and row.cost_micro_usd for row in rows.rows)
        assert same_as_billed(rows.rows, fake)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("forged_quote", "unverifiable"),
        ("score_without_quote", "unverifiable"),
        ("bad_schema", "malformed"),
        ("empty", "malformed"),
    ],
)
async def test_one_repair_and_then_open_failure(api: Api, kind: Any, code: str) -> None:
    rows = Rows()
    async with FakeOpenAI(QUICK).running() as fake, asking(fake, rows, api=api) as assessor:
        fake.faults.set([Fault(kind=kind, count=1)])
        rating = await assessor.rate(request())
        assert rating.score is not None
        assert verified(rating, request().turns)
        assert rows.ends == [("completed", code), ("completed", "")]
        fake.faults.set([Fault(kind=kind)])
        with pytest.raises(AssessmentFailedError) as caught:
            await assessor.rate(request())
        assert (caught.value.code, caught.value.retryable) == (code, False)
        assert rows.ends[2:] == [("completed", code)] * 2
        assert len(fake.bill.calls) == 4
        assert same_as_billed(rows.rows, fake)


@pytest.mark.parametrize("api", APIS)
async def test_no_forged_quote_is_ever_accepted(api: Api) -> None:
    accepted = 0
    async with FakeOpenAI(QUICK).running() as fake, asking(fake, api=api) as assessor:
        fake.faults.set([Fault(kind="forged_quote", every=3), Fault(kind="forged_quote", every=4)])
        for number in range(60):
            made = request(f"{GOOD} It was run number {number}, quality:middling.")
            try:
                rating = await assessor.rate(made)
            except AssessmentFailedError as failure:
                assert failure.code == "unverifiable"  # noqa: PT017 # some succeed, some do not
            else:
                accepted += not verified(rating, made.turns)
        assert fake.faults.applied["forged_quote"] > 20
    assert accepted == 0


@pytest.mark.parametrize("api", APIS)
async def test_a_reply_with_the_mark_of_the_rules_is_refused(api: Api) -> None:
    rows = Rows()
    async with FakeOpenAI(QUICK).running() as fake, asking(fake, rows, api=api) as assessor:
        fake.faults.set([Fault(kind="leak")])
        with pytest.raises(AssessmentFailedError, match="leaked"):
            await assessor.rate(request())
        assert "mark-" in fake.bill.calls[0].text
        assert rows.ends == [("completed", "leaked")]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    ("fault", "code", "calls", "retryable", "after"),
    [
        (Fault(kind="status", status=500), "provider_error", 3, True, OUTAGE_S),
        (Fault(kind="status", status=503, retry_after="30"), "provider_error", 1, True, 30.0),
        (Fault(kind="status", status=429, retry_after="9"), "rate_limited", 1, True, 9.0),
        (Fault(kind="status", status=401), "unauthorized", 1, True, SHUN_S),
        (Fault(kind="status", status=400), "bad_request", 1, False, None),
        (Fault(kind="quota"), "quota_exhausted", 1, True, SHUN_S),
        (Fault(kind="slow", seconds=5), "call_timeout", 3, True, OUTAGE_S),
        (Fault(kind="cut"), "unreachable", 3, True, OUTAGE_S),
        (Fault(kind="malformed"), "malformed", 3, True, OUTAGE_S),
        (Fault(kind="failed"), "provider_error", 3, True, OUTAGE_S),
        (Fault(kind="refused"), "refused", 1, False, None),
    ],
)
async def test_calls_that_fail(
    *, api: Api, fault: Fault, code: str, calls: int, retryable: bool, after: float | None
) -> None:
    rows = Rows()
    # Fake and client share a loop: the time of a call must outlast its stalls, or a call may end
    # before the fake has read it.
    timeout_s = 1.0 if fault.kind == "slow" else 10.0
    async with (
        FakeOpenAI(QUICK).running() as fake,
        asking(fake, rows, api=api, assessor_timeout_s=timeout_s) as assessor,
    ):
        fake.faults.set([fault])
        with pytest.raises(AssessmentFailedError) as caught:
            await assessor.rate(request())
        failure = caught.value
        assert (failure.code, failure.retryable, failure.after_s) == (code, retryable, after)
        assert [row.code for row in rows.rows] == [code] * calls
        assert len(fake.bill.calls) + fake.bill.refused == calls
        for row in rows.rows:  # what was consumed is known, or estimated and marked so
            refused = fault.kind in ("status", "quota")
            assert row.exact is (refused or fault.kind in ("failed", "refused"))
            assert (row.input_tokens == 0) is refused
    if fault.kind in ("failed", "refused"):
        assert same_as_billed(rows.rows, fake)


async def test_a_fault_that_passes_is_waited_for() -> None:
    rows = Rows()
    async with FakeOpenAI(QUICK).running() as fake, asking(fake, rows) as assessor:
        fake.faults.set([Fault(kind="status", status=429, retry_after="0.05", count=2)])
        assert (await assessor.rate(request())).score is not None
    assert [row.code for row in rows.rows] == ["rate_limited", "rate_limited", ""]


async def test_a_provider_that_is_not_there_costs_nothing() -> None:
    rows = Rows()
    async with FakeOpenAI(QUICK).running() as fake:
        pass
    async with asking(fake, rows) as assessor:
        with pytest.raises(AssessmentFailedError, match="unreachable"):
            await assessor.rate(request())
    assert all(row.exact and row.input_tokens == 0 for row in rows.rows)


async def test_a_call_that_is_cancelled_has_its_row() -> None:
    rows, came = Rows(), asyncio.Event()

    def answer(_request: Request) -> Reply:
        came.set()
        return Reply([30.0])

    async with (
        raw_server(answer) as server,
        asking(server, rows, assessor_timeout_s=9.0) as assessor,
        asyncio.timeout(5),
    ):
        rating = asyncio.ensure_future(assessor.rate(request()))
        await came.wait()
        rating.cancel()
        await asyncio.wait([rating])
        await server.gone.acquire()
    (row,) = rows.rows
    assert (row.outcome, row.exact, row.input_tokens > 500) == ("aborted", False, True)


async def test_what_is_sent_by_each_api() -> None:
    body = json.dumps({"choices": [{"message": {"content": json.dumps(reply())}}]})
    given = Reply([body.encode()], headers={"content-type": "application/json"})
    async with (
        raw_server(lambda _request: given) as server,
        asking(server, temperature=0.7) as assessor,
        asking(server, temperature=0.7, api="responses") as other,
    ):
        rows = await assessor.rate(request(asked(), answered(GOOD)))
        assert rows.score == 4
        with pytest.raises(AssessmentFailedError, match="malformed"):
            await other.rate(request())
        chat, responses = (server.requests[place].json() for place in (0, 1))
    assert server.requests[0].target == "/v1/chat/completions"
    chat.pop("messages")
    form = {"name": "rating", "strict": True, "schema": SCHEMA}
    assert chat == {
        "model": SETTINGS.assessor_model,
        "store": False,
        "temperature": 0.0,
        "max_completion_tokens": SETTINGS.assessor_output_tokens,
        "response_format": {"type": "json_schema", "json_schema": form},
    }
    assert server.requests[1].target == "/v1/responses"
    assert (responses["store"], responses.get("tools")) == (False, None)
    assert responses["text"] == {"format": {"type": "json_schema", **form}}
