"""The names of what is measured: thresholds, pages and comparisons speak of the same things."""

LATENCIES = {
    "added": "from the provider's token to the client, on one machine",
    "accepted": "from a command to its `accepted`",
    "first_words": "from an answer to the interviewer's next words, the model's delay included",
    "join": "from opening a socket to `live`",
    "back": "from a lost connection to `live` again, the pause before it included",
    "arrival": "from the intended arrival to `live`, with the interview and its ticket",
    "create": "POST /api/interviews",
    "ticket": "POST …/tickets",
    "rest": "all requests of the REST mix, from when each was due",
    "calm": "like `added`, in rounds in which nobody stalls",
    "lag": "how late the generator itself was",
}
PERCENTILES = {"p50_ms": 50.0, "p90_ms": 90.0, "p95_ms": 95.0, "p99_ms": 99.0, "max_ms": 100.0}
COUNTS = {
    "errors": "all errors together",
    "errors_share": "errors for each thing that was done",
    "gaps": "events that were missing",
    "repeats": "events that came twice on one connection",
    "corrupt": "turns whose text is not what its digest says, or not what was seen",
    "lost": "answers that were accepted, and turns that were stored, and are not in the transcript",
    "doubled": "answers that are in the transcript twice",
    "unchecked": "interviews that could not be held against their transcript in time",
    "interviews": "interviews begun",
    "turns": "turns seen to their end",
    "answers": "answers accepted",
    "transcripts": "transcripts held against what was seen",
    "stored": "interviews held against it in PostgreSQL itself, where it is this run's own",
    "bank_turns": "turns that the question bank spoke in place of the model",
    "resets": "turns that were begun anew, with other words",
    "reconnects": "connections taken up again",
    "snapshots": "of these, such as were not recovered",
    "tokens": "tokens received",
    "requests": "requests of the REST mix",
}
RATES = {
    "tokens_per_second": "tokens received",
    "requests_per_second": "requests of the REST mix that were answered",
    "interviews_per_hour": "interviews begun",
    "connected": "open sockets, at the least in the measured time",
    "streaming": "turns being received, on average",
}
SERVER = {
    "server_cpu": "cores that the instances used, on average",
    "server_memory_mb": "memory of the instances, at the most",
    "redis_keys": "all keys in Redis, at the most, where it is this run's own",
    "memory_growth": "memory in the last third of the time, to that in the second",
    "files_growth": "open files, likewise",
    "tasks_growth": "tasks of the event loops, likewise",
    "keys_growth": "keys that stay in Redis until they are removed, likewise",
    "clients_growth": "connections to that Redis, likewise",
    "cache_p95_ms": "an answer of the cache, by the upper edge of its bucket",
    "database_p95_ms": "a call of PostgreSQL, likewise",
    "flush_p95_ms": "a group commit to Redis, likewise",
    "database_reads": "calls that read of PostgreSQL, from a strike on; resuming needs none",
    "stall_ratio": "median of p99 with stalled readers to p99 without, round by round",
    "server_cpu_us_per_token": "the instances' CPU for each token received",
    "generator_cpu_us_per_token": "that of the processes of this harness that receive them",
    "yardstick_us": "CPU time of a fixed piece of work, at the median: how slow the cores are",
}


def known(figure: str) -> bool:
    """Whether there is a figure of that name."""
    name, _, part = figure.partition(".")
    if part:
        return name in LATENCIES and part in PERCENTILES
    return figure in COUNTS or figure in RATES or figure in SERVER
