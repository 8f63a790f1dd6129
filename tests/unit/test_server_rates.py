"""How much one socket may send."""

from protocol.limits import ERROR_WINDOW_S, ERRORS_TO_CLOSE, LIMITS, OVERRATE_CLOSE_S
from server.rates import CommandRate, ErrorCount

PER_S, BURST = LIMITS.commands_per_second, LIMITS.command_burst
AT = 1000.0


def _admitted(rate: CommandRate, times: list[float]) -> int:
    return sum(rate.admit(time) for time in times)


def test_a_burst_is_let_in_and_the_next_one_is_not() -> None:
    rate = CommandRate(AT)
    assert _admitted(rate, [AT] * (BURST + 5)) == BURST
    assert not rate.exhausted(AT)


def test_tokens_come_back_at_the_rate_and_never_beyond_the_burst() -> None:
    rate = CommandRate(AT)
    _admitted(rate, [AT] * BURST)
    assert _admitted(rate, [AT + 1] * BURST) == PER_S
    assert _admitted(rate, [AT + 3600] * 2 * BURST) == BURST


def test_the_steady_rate_is_never_refused() -> None:
    rate = CommandRate(AT)
    times = [AT + number / PER_S for number in range(60 * PER_S)]
    assert _admitted(rate, times) == len(times)
    assert not rate.exhausted(times[-1])


def test_ten_seconds_of_surplus_are_too_many() -> None:
    rate = CommandRate(AT)
    closed: float | None = None
    for number in range(60 * PER_S):
        now = AT + number / (2 * PER_S)
        rate.admit(now)
        if rate.exhausted(now):
            closed = now
            break
    # The burst lasts for two seconds at twice the rate; the surplus counts from then on.
    assert closed is not None
    assert abs(closed - AT - BURST / PER_S - OVERRATE_CLOSE_S) < 0.2


def test_a_calm_second_ends_the_spell() -> None:
    rate = CommandRate(AT)
    now = AT
    for _ in range(10):
        _admitted(rate, [now] * (BURST + 1))
        now += 5.0
        assert not rate.exhausted(now - 5.0)
    assert now - AT > OVERRATE_CLOSE_S


def test_three_misfits_in_a_minute_are_too_many() -> None:
    count = ErrorCount()
    assert [count.add(AT + second) for second in range(ERRORS_TO_CLOSE)] == [False, False, True]


def test_old_misfits_are_forgiven() -> None:
    count = ErrorCount()
    assert not count.add(AT)
    assert not count.add(AT + 1)
    assert not count.add(AT + ERROR_WINDOW_S)
    assert count.add(AT + ERROR_WINDOW_S + 0.5)


def test_a_surplus_of_long_ago_does_not_count_any_more() -> None:
    rate = CommandRate(AT)
    assert _admitted(rate, [AT] * (BURST + 1)) == BURST
    assert rate.admit(AT + 3600)
    assert not rate.exhausted(AT + 3600)
