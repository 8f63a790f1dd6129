import random

import pytest

from loadtest.load.latencies import (
    LONGEST_US,
    Latencies,
    histogram,
    merged,
    percentile_us,
    percentiles,
)
from loadtest.load.tally import Tally
from loadtest.stamps import ages_us, now_us, stamp


def test_parts_merged_are_the_whole() -> None:
    draw = random.Random(3)
    values = [draw.expovariate(1 / 0.02) for _ in range(6_000)]
    whole, parts = Latencies(), [Latencies() for _ in range(3)]
    for place, value in enumerate(values):
        whole.record("x", value)
        parts[place % 3].record("x", value)
    together = merged([part.take() for part in parts])["x"]
    assert percentiles(together) == percentiles(merged([whole.take()])["x"])
    assert together.get_total_count() == 6_000


def test_percentiles_are_those_of_the_values() -> None:
    latencies = Latencies()
    values = [number / 1000 for number in range(1, 1001)]  # 1 ms to 1 s
    for value in values:
        latencies.record("x", value)
    found = percentiles(merged([latencies.take()])["x"])
    assert found["p50_ms"] == pytest.approx(500, rel=0.005)
    assert found["p99_ms"] == pytest.approx(990, rel=0.005)
    assert found["max_ms"] == pytest.approx(1000, rel=0.005)
    assert found["count"] == 1000


def test_a_percentile_without_a_histogram_is_the_same() -> None:
    draw, latencies = random.Random(5), Latencies()
    for _ in range(3_000):
        latencies.record("x", draw.expovariate(1 / 0.02))
    parts = [latencies.take(), {}]
    held = merged(parts)["x"]
    for share in (50, 99, 100):
        found = percentile_us(parts, "x", share)
        assert found == pytest.approx(held.get_value_at_percentile(share), rel=0.002)
    assert percentile_us(parts, "y", 99) is None


def test_what_was_taken_is_gone_and_names_stay_apart() -> None:
    latencies = Latencies()
    many = latencies.many("added")
    many += [1000, 2000]
    latencies.record("join", 0.5)
    assert set(latencies.take()) == {"added", "join"}
    assert latencies.take() == {}
    many.append(3000)
    assert merged([latencies.take()])["added"].get_total_count() == 1


def test_the_shortest_and_the_longest_have_their_place() -> None:
    latencies = Latencies()
    latencies.record("x", 0.0)
    latencies.record("x", 1e6)
    held = merged([latencies.take()])["x"]
    assert held.get_total_count() == 2
    assert held.get_max_value() == pytest.approx(LONGEST_US, rel=0.001)
    assert histogram().get_total_count() == 0


def test_a_stamp_tells_its_age() -> None:
    first = stamp()
    now = now_us()
    second = stamp()
    ages = ages_us(first + second, now + 5_000)
    assert len(ages) == 2
    assert 5_000 <= ages[0] < 5_000 + 1_000_000
    assert ages[1] <= ages[0]


def test_stamps_come_round_and_words_are_none() -> None:
    assert ages_us(" ~ffffffff", 0x100000009) == [10]
    assert ages_us("about ~50 % and ~nonsense", 9) == []
    assert ages_us("no stamp at all", 9) == []


def test_a_tick_has_what_was_counted_since_the_last() -> None:
    tally = Tally()
    tally.wrong("gaps", "one is missing")
    tally.error("http 503")
    tally.counts["tokens"] += 3
    first = tally.tick(0, 0.1)
    assert (first.counts, first.errors) == ({"gaps": 1, "tokens": 3}, {"gaps": 1, "http 503": 1})
    last = tally.tick(1, 0.1, over=True)
    assert (last.counts, last.errors) == ({}, {})
    assert last.samples["gaps"] == ["one is missing"]
