import pytest

from ai.failures import CallFailedError, Remedy
from ai.retries import OUTAGE_AFTER, OUTAGE_S, SHUN_S, Circuit, delay_before
from tests.support.speeches import FixedClock

BUSY = CallFailedError("rate_limited")


class _Clock(FixedClock):
    time = 0.0

    def monotonic(self) -> float:
        return self.time


@pytest.mark.parametrize(("retry", "bound"), [(0, 0.5), (1, 1.0), (2, 2.0), (3, 4.0), (99, 4.0)])
def test_the_jitter_is_full_and_its_bound_doubles_up_to_a_cap(retry: int, bound: float) -> None:
    assert delay_before(retry, BUSY, 0.0) == 0
    assert delay_before(retry, BUSY, 0.5) == bound / 2
    assert delay_before(retry, BUSY, 1.0) == bound


def test_what_the_provider_asks_for_is_waited_and_jitter_comes_on_top() -> None:
    asked = CallFailedError("rate_limited", retry_after_s=2.0)
    assert delay_before(0, asked, 0.0) == 2.0
    assert delay_before(0, asked, 1.0) == 2.5


def test_nobody_waits_for_a_provider_that_asks_for_too_much() -> None:
    assert delay_before(0, CallFailedError("rate_limited", retry_after_s=60.0), 0.0) is None


@pytest.mark.parametrize("remedy", [Remedy.BANK, Remedy.SHUN])
def test_what_a_retry_cannot_mend_is_not_tried_again(remedy: Remedy) -> None:
    assert delay_before(0, CallFailedError("x", remedy), 0.0) is None


def test_the_circuit_opens_for_what_nobody_can_mend_and_closes_by_itself() -> None:
    clock = _Clock()
    circuit = Circuit(clock)
    assert circuit.open() == ""
    circuit.lost(CallFailedError("quota_exhausted", Remedy.SHUN))
    clock.time = SHUN_S - 0.1
    assert circuit.open() == "quota_exhausted"
    clock.time = SHUN_S
    assert circuit.open() == ""


def test_the_circuit_honours_a_long_retry_after_up_to_its_own_bound() -> None:
    clock = _Clock()
    circuit = Circuit(clock)
    circuit.lost(CallFailedError("rate_limited", retry_after_s=3600.0))
    clock.time = SHUN_S - 0.1
    assert circuit.open() == "rate_limited"
    clock.time = SHUN_S
    assert circuit.open() == ""


def test_an_outage_is_noticed_after_some_turns_in_a_row() -> None:
    clock = _Clock()
    circuit = Circuit(clock)
    for _ in range(OUTAGE_AFTER - 1):
        circuit.lost(BUSY)
    circuit.succeeded()
    for _ in range(OUTAGE_AFTER - 1):
        circuit.lost(BUSY)
    assert circuit.open() == ""
    circuit.lost(BUSY)
    assert circuit.open() == "rate_limited"
    clock.time = OUTAGE_S
    assert circuit.open() == ""


def test_a_bad_request_says_nothing_about_the_next_turn() -> None:
    circuit = Circuit(_Clock())
    for _ in range(10):
        circuit.lost(CallFailedError("refused", Remedy.BANK))
    assert circuit.open() == ""


def test_a_lack_of_our_own_says_nothing_of_the_model() -> None:
    circuit = Circuit(_Clock())
    for _ in range(10):
        circuit.lost(CallFailedError("connections_in_use", ours=True))
    assert circuit.open() == ""


def test_it_is_told_once_that_the_circuit_opened_and_who_said_so() -> None:
    clock, told = _Clock(), list[tuple[str, float, bool]]()
    circuit = Circuit(clock, lambda code, seconds, said: told.append((code, seconds, said)))
    for _ in range(2):  # calls that were under way fail as well
        circuit.lost(CallFailedError("quota_exhausted", Remedy.SHUN))
    assert told == [("quota_exhausted", SHUN_S, True)]
    clock.time = SHUN_S
    circuit.lost(CallFailedError("rate_limited", retry_after_s=10.0))
    assert told[1:] == [("rate_limited", 10.0, True)]
    clock.time += 10.0
    for _ in range(OUTAGE_AFTER):
        circuit.lost(CallFailedError("unreachable"))
    assert told[2:] == [("unreachable", OUTAGE_S, False)]


def test_what_others_were_told_opens_the_circuit_for_a_bounded_time_and_is_not_passed_on() -> None:
    clock, told = _Clock(), list[tuple[str, float, bool]]()
    circuit = Circuit(clock, lambda code, seconds, said: told.append((code, seconds, said)))
    circuit.heard("quota_exhausted", 1e9)
    assert circuit.open() == "quota_exhausted"
    clock.time = SHUN_S
    assert (circuit.open(), told) == ("", [])
