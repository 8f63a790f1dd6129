"""The talk's words: what is typed, and what a terminal may be shown."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.closes import Close
from server.talk.text import ORDERS, Typed, UnknownOrderError, clock, closed, inert, parse


@pytest.mark.parametrize("order", ORDERS)
def test_orders_begin_with_a_slash(order: str) -> None:
    assert parse(f" /{order.upper()} now \n") == Typed(order, "")  # type: ignore[arg-type]


@pytest.mark.parametrize("line", ["An answer.", "a /hint inside", "  spaces  ", ""])
def test_anything_else_is_an_answer(line: str) -> None:
    assert parse(line) == Typed(None, line.strip())


def test_two_slashes_begin_an_answer_with_one() -> None:
    assert parse("//etc/hosts was the culprit") == Typed(None, "/etc/hosts was the culprit")


def test_an_unknown_order_is_told_inert() -> None:
    with pytest.raises(UnknownOrderError, match="/help") as caught:
        parse("/\x1b[2J")
    assert "\x1b" not in str(caught.value)


@given(st.text())
def test_no_text_steers_the_terminal(text: str) -> None:
    shown = inert(text)
    assert len(shown) == len(text)
    for char in shown:
        assert char in "\n\t" or unicodedata.category(char) != "Cc"
        assert not "\u202a" <= char <= "\u202e"


def test_plain_text_stays_as_it_is() -> None:
    assert inert("naïve 日本語 👩🏽‍💻\n\tnext") == "naïve 日本語 👩🏽‍💻\n\tnext"


@pytest.mark.parametrize("code", [*(int(code) for code in Close if code >= 4500), 1002, 4999])
def test_every_last_close_is_told_in_a_sentence(code: int) -> None:
    assert closed(code).endswith(".")


@pytest.mark.parametrize(
    ("ms", "shown"), [(0, "0:00"), (1, "0:01"), (60_000, "1:00"), (899_001, "15:00"), (-5, "0:00")]
)
def test_the_clock_counts_down_in_minutes_and_seconds(ms: int, shown: str) -> None:
    assert clock(ms) == shown
