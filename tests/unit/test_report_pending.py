"""What is said of a report that is not there yet: for how long to stay away, and why."""

import pytest

from server.api.pending import BATCH_S, LONGEST_S, SOON_S, pending
from storage.jobs import PutBack

NOW = 1_780_000_000_000


@pytest.mark.parametrize(
    ("left_ms", "seconds"),
    [
        (-5_000, SOON_S),
        (0, SOON_S),
        (10_000, 10),
        (10_001, 11),
        (LONGEST_S * 1000, LONGEST_S),
        (10 * 3_600_000, LONGEST_S),
    ],
)
def test_nobody_is_asked_back_before_there_can_be_news(left_ms: int, seconds: int) -> None:
    reply = pending(PutBack(until=NOW + left_ms, code="day_budget"), NOW)
    assert (reply.status_code, reply.headers["Retry-After"]) == (202, str(seconds))
    assert (reply.content.reason, reply.content.until) == ("day_budget", NOW + left_ms)


def test_what_runs_is_asked_for_soon_and_has_no_reason() -> None:
    reply = pending(None, NOW)
    assert reply.headers["Retry-After"] == str(SOON_S)
    assert (reply.content.reason, reply.content.detail, reply.content.until) == (None, None, None)


@pytest.mark.parametrize("code", ["busy", "budget", "call_timeout", "BackendDownError"])
def test_why_a_provider_failed_stays_here(code: str) -> None:
    reply = pending(PutBack(until=NOW + 20_000, code=code), NOW)
    assert (reply.content.reason, reply.headers["Retry-After"]) == ("delayed", "20")
    assert code not in (reply.content.detail or "")


def test_ratings_in_a_batch_take_long_and_nobody_knows_until_when() -> None:
    reply = pending(None, NOW, grouped=True)
    assert reply.headers["Retry-After"] == str(BATCH_S)
    assert (reply.content.reason, reply.content.until) == ("batch", None)
    assert "off-peak" in (reply.content.detail or "")
