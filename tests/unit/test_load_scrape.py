"""What is made of the instances' metrics."""

from loadtest.load.scrape import Reading, add

TEXT = """\
# HELP viva_database_seconds A call
viva_database_seconds_bucket{kind="read",le="0.01"} %d.0
viva_database_seconds_bucket{kind="read",le="0.05"} %d.0
viva_database_seconds_bucket{kind="read",le="+Inf"} %d.0
viva_database_seconds_count{kind="read"} %d.0
viva_database_seconds_count{kind="write"} 900.0
viva_database_seconds_count{kind="lagging"} 5.0
process_cpu_seconds_total 2.5
"""


def _read(*texts: str) -> Reading:
    reading = Reading(edges={})
    for text in texts:
        add(reading, text)
    return reading


def test_a_percentile_is_that_of_what_came_between_two_readings() -> None:
    before = _read(TEXT % (100, 100, 100, 100))
    after = _read(TEXT % (190, 199, 200, 200))
    assert after.p95_since(before, "viva_database_seconds") == 0.05
    assert after.p95_since(after, "viva_database_seconds") is None
    assert after.p95_since(before, "viva_cache_seconds") is None


def test_reads_of_all_instances_count_and_writes_do_not() -> None:
    both = _read(TEXT % (1, 1, 1, 1), TEXT % (2, 2, 2, 2))
    assert both.reads == 1 + 2 + 5 + 5
    assert both.cpu_s == 5.0
