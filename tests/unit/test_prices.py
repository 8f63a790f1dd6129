import msgspec
import pytest

from ai.chunks import Usage
from ai.prices import Price, estimate_tokens, load_prices, price_of
from ai.settings import DEFAULT_ASSESSOR_MODEL, DEFAULT_MODEL
from protocol.ledger import LedgerEntry


def test_the_default_models_have_a_price() -> None:
    for model in (DEFAULT_MODEL, DEFAULT_ASSESSOR_MODEL):
        assert price_of(model, load_prices()) is not None


def test_cached_input_is_cheaper_everywhere() -> None:
    for price in load_prices().values():
        assert 0 < price.cached < price.input < price.output


def test_cost_is_rounded_up_to_a_millionth_of_a_dollar() -> None:
    price = Price(0.75, 0.075, 4.5)
    assert price.cost(Usage(0, 0, 0)) == 0
    assert price.cost(Usage(1, 0, 0)) == 1
    assert price.cost(Usage(1000, 600, 20)) == 435
    assert price.cost(Usage(5, 9, 0)) == 1  # a provider that counts oddly is not paid back


@pytest.mark.parametrize(
    ("model", "known"),
    [("gpt-5.4-mini", True), ("gpt-5.4-mini-2026-03-17", True), ("gpt-5.4-minimal", False)],
)
def test_a_snapshot_costs_what_its_model_costs(model: str, known: bool) -> None:  # noqa: FBT001
    assert (price_of(model, load_prices()) is not None) is known


@pytest.mark.parametrize(("size", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2), (4000, 1000)])
def test_the_estimate(size: int, tokens: int) -> None:
    assert estimate_tokens(size) == tokens


def test_a_row_survives_its_encoding() -> None:
    row = LedgerEntry(
        id="1",
        interview_id="i",
        user_id="u",
        turn=1,
        attempt=1,
        call=1,
        at=0,
        model="m",
        api="chat",
        outcome="aborted",
        total_ms=5,
    )
    assert msgspec.json.decode(msgspec.json.encode(row), type=LedgerEntry) == row


def test_own_prices_go_before_the_table() -> None:
    own = load_prices({"mine": Price(0, 0, 0), "gpt-5.4": Price(1, 1, 1)})
    assert own["gpt-5.4"] == Price(1, 1, 1)
    assert own["mine"].most(10**6, 10**6) == 0
    assert own["mine"].pays(0, 10**6) > 10**6
    assert load_prices()["gpt-5.4"] != own["gpt-5.4"]
