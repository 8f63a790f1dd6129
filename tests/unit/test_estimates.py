"""What a call comes to whose usage is not told: learned from those whose usage is."""

import random

import pytest

from ai.chunks import Usage
from ai.estimates import Estimates


def test_before_anything_is_known_the_rule_of_thumb_holds() -> None:
    assert Estimates().usage(4_000, 400) == Usage(1_000, 0, 100)
    assert Estimates().usage(0, 0) == Usage(0, 0, 0)


@pytest.mark.parametrize(("asked", "said"), [(1 / 4.6, 1 / 4.1), (1 / 1.5, 1 / 2), (1 / 4, 5.0)])
def test_estimates_come_to_what_such_calls_come_to(asked: float, said: float) -> None:
    estimates, draw = Estimates(), random.Random(1)
    estimated = real = 0
    for number in range(2_000):
        sizes = draw.randrange(2_000, 12_000), draw.randrange(50, 1_500)
        noise = draw.uniform(0.8, 1.2)
        usage = Usage(round(asked * sizes[0] * noise), 0, round(said * sizes[1] * noise))
        if number % 10 == 0 and number > 100:
            told = estimates.usage(*sizes)
            estimated += told.input_tokens + told.output_tokens
            real += usage.input_tokens + usage.output_tokens
        else:
            estimates.learn(*sizes, usage)
    assert estimated == pytest.approx(real, rel=0.03)


def test_it_follows_a_change() -> None:
    estimates = Estimates()
    for tokens in (1_000, 3_000):
        for _ in range(300):
            estimates.learn(4_000, 400, Usage(tokens, 0, tokens))
    assert estimates.usage(4_000, 400).input_tokens == pytest.approx(3_000, rel=0.02)


def test_what_says_nothing_teaches_nothing_and_nonsense_is_bounded() -> None:
    estimates = Estimates()
    for _ in range(300):
        estimates.learn(0, 0, Usage(10**9, 0, 10**9))
        estimates.learn(1_000, 1_000, Usage(0, 0, 0))
    assert estimates.usage(4_000, 400) == Usage(1_000, 0, 100)
    for _ in range(300):
        estimates.learn(1_000, 1_000, Usage(10**12, 0, 1))
    assert estimates.usage(1_000, 1_600) == Usage(8_000, 0, 100)
