"""Prometheus metrics. Label children are made once: `labels()` costs 1.6 µs a call."""

import asyncio
from typing import Protocol, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from protocol.ledger import LedgerEntry, Scope
from protocol.scalars import Role

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 4, 10, 30)
"""Edges in seconds; 0.01, 0.05 and 0.2 are the targets for cache, database and API."""


class SocketMeter(Protocol):
    """What is measured of sockets."""

    def connected(self, role: Role, change: int) -> None:
        """Count a socket in (1) or out (-1)."""

    def closed(self, code: int) -> None:
        """Count a close by its code; 0 where the peer went first."""

    def decided(self, command: str, verdict: str) -> None:
        """Count a command as ``accepted``, ``duplicate`` or by its rejection's code."""


class Meters:
    """All metrics of one instance."""

    def __init__(self, registry: CollectorRegistry) -> None:
        disable_created_metrics()  # a gauge of birth times beside every counter, which nobody reads
        self.registry = registry
        ProcessCollector(registry=registry)  # CPU, memory and open files, read when asked for
        tasks = Gauge("viva_tasks", "Tasks of the event loop", registry=registry)
        tasks.set_function(_tasks)
        self._up = Gauge(
            "viva_dependency_up",
            "1 where it answered whoever asked last: /health/ready or, of Redis, a sweep",
            ["dependency"],
            registry=registry,
        )
        self._sockets = Gauge("viva_sockets", "Open sockets", ["role"], registry=registry)
        self._closes = Counter(
            "viva_socket_closes", "Sockets closed, by code", ["code"], registry=registry
        )
        self._commands = Counter(
            "viva_commands", "Durable commands decided", ["command", "verdict"], registry=registry
        )
        self._redis_memory = Gauge(
            "viva_redis_memory_ratio",
            "What Redis takes of its maxmemory; 0 where it has none, or does not tell",
            registry=registry,
        )
        self._turns = Counter(
            "viva_turn_attempts", "Turn attempts ended here", ["outcome"], registry=registry
        )
        self._running = Gauge("viva_turns_running", "Turns generated here now", registry=registry)
        self._first = Histogram(
            "viva_first_words_seconds",
            "From the lease to the first words of a turn",
            buckets=SECONDS,
            registry=registry,
        )
        self._flush = Histogram(
            "viva_flush_seconds", "One group commit", buckets=SECONDS, registry=registry
        )
        self._deltas = Counter("viva_deltas", "Deltas appended to the log", registry=registry)
        self._outboxes = Gauge(
            "viva_outbox_partitions", "Partitions whose outbox holds something", registry=registry
        )
        self._outbox_oldest = Gauge(
            "viva_outbox_oldest_seconds",
            "How long the oldest outbox entry has waited to be written",
            registry=registry,
        )
        self._written = Counter(
            "viva_outbox_entries", "Outbox entries by their end", ["end"], registry=registry
        )
        for end in ("written", "failed", "dead", "gone"):
            self._written.labels(end)  # from 0 on: no increase is seen of what begins at 1
        self._jobs = Counter(
            "viva_jobs", "Ratings and reports by their end", ["kind", "end"], registry=registry
        )
        self._waiting = Gauge(
            "viva_jobs_waiting", "Ratings and reports that wait", registry=registry
        )
        self._jobs_oldest = Gauge(
            "viva_jobs_oldest_seconds",
            "How long the first rating or report has waited, or been worked at, since it was due",
            registry=registry,
        )
        self._dead = Gauge("viva_jobs_dead", "Ratings and reports given up", registry=registry)
        self._batches = Counter(
            "viva_rating_batches",
            "Batches of ratings, sent and by their end",
            ["end"],
            registry=registry,
        )
        self._parked = Gauge(
            "viva_ratings_parked",
            "Ratings that wait for a batch, or are in one",
            ["where"],
            registry=registry,
        )
        self._calls = Counter(
            "viva_model_calls", "Model calls", ["model", "outcome"], registry=registry
        )
        self._tokens = Counter(
            "viva_model_tokens", "Tokens of model calls", ["model", "direction"], registry=registry
        )
        self._cost = Counter(
            "viva_model_cost_usd", "Cost of model calls", ["model"], registry=registry
        )
        self._unpaid = Counter(
            "viva_budget_refusals",
            "Model calls not made for want of money",
            ["scope"],
            registry=registry,
        )
        for scope in get_args(Scope):
            self._unpaid.labels(scope)
        self._cached = Counter(
            "viva_cache",
            "Questions to the caches, by answer",
            ["cache", "answer"],
            registry=registry,
        )
        self._gate = Counter(
            "viva_model_gate", "Calls at the gate before the model", ["how"], registry=registry
        )
        self._gate_s = Histogram(
            "viva_model_gate_seconds",
            "How long a call waited at the gate",
            buckets=SECONDS,
            registry=registry,
        )
        self._circuit = Gauge(
            "viva_model_circuit_open",
            "1 where a model is left alone for a while",
            ["task", "model"],
            registry=registry,
        )
        self._circuit_openings = Counter(
            "viva_model_circuit_openings",
            "How often a model's calls here led to its being left alone",
            ["task", "model", "code"],
            registry=registry,
        )
        self._cache_entries = Gauge(
            "viva_cache_entries", "Entries of all caches together", registry=registry
        )
        self._cache_bytes = Gauge(
            "viva_cache_bytes", "Bytes that all caches take, of VIVA_CACHE_BYTES", registry=registry
        )
        self._cache_s = Histogram(
            "viva_cache_seconds", "An answer of the cache", buckets=SECONDS, registry=registry
        )
        database = Histogram(
            "viva_database_seconds",
            "A call of PostgreSQL, the wait for a connection included",
            ["kind"],
            buckets=SECONDS,
            registry=registry,
        )
        self._database = {kind: database.labels(kind) for kind in ("write", "read", "lagging")}
        self._replica = Gauge(
            "viva_replica_lag_seconds",
            "How far the replica of PostgreSQL is behind; +Inf: nobody can tell",
            registry=registry,
        )
        self._requests = Counter(
            "viva_http_requests",
            "Requests answered, by the pattern of their path; 0: without an answer",
            ["method", "route", "status"],
            registry=registry,
        )
        self._http_s = Histogram(
            "viva_http_seconds",
            "A request, to the last byte of its answer",
            ["method", "route"],
            buckets=SECONDS,
            registry=registry,
        )

    def dependency_is(self, name: str, *, up: bool) -> None:
        """See `SweepMeter.dependency_is` and `HealthMeter.dependency_is`."""
        self._up.labels(name).set(up)

    def redis_holds(self, share: float) -> None:
        """Set what Redis takes of the memory it may take."""
        self._redis_memory.set(share)

    def queried(self, kind: str, seconds: float) -> None:
        """See `storage.postgres.pool.Timed`."""
        self._database[kind].observe(seconds)

    def replica_lags(self, seconds: float) -> None:
        """Set how far the replica is behind; see `storage.postgres.pool.Database.look`."""
        self._replica.set(seconds)

    def requested(self, method: str, route: str, status: int, seconds: float) -> None:
        """See `RequestMeter.requested`."""
        self._requests.labels(method, route, str(status)).inc()
        self._http_s.labels(method, route).observe(seconds)

    def connected(self, role: Role, change: int) -> None:
        """See `SocketMeter.connected`."""
        self._sockets.labels(role).inc(change)

    def closed(self, code: int) -> None:
        """See `SocketMeter.closed`."""
        self._closes.labels(str(code)).inc()

    def decided(self, command: str, verdict: str) -> None:
        """See `SocketMeter.decided`."""
        self._commands.labels(command, verdict).inc()

    def turn_ended(self, outcome: str) -> None:
        """See `TurnMeter.turn_ended`."""
        self._turns.labels(outcome).inc()

    def turns_running(self, turns: int) -> None:
        """See `TurnMeter.turns_running`."""
        self._running.set(turns)

    def first_words(self, seconds: float) -> None:
        """See `TurnMeter.first_words`."""
        self._first.observe(seconds)

    def flushed(self, deltas: int, seconds: float) -> None:
        """Observe one group commit of ``deltas`` appends."""
        self._flush.observe(seconds)
        self._deltas.inc(deltas)

    def backlog(self, partitions: int, waited_s: float) -> None:
        """See `SweepMeter.backlog`."""
        self._outboxes.set(partitions)
        self._outbox_oldest.set(waited_s)

    def outbox_ended(self, end: str, entries: int = 1) -> None:
        """Count outbox entries that were ``written``, ``failed``, ``dead`` or ``gone``."""
        self._written.labels(end).inc(entries)

    def job_ended(self, kind: str, end: str) -> None:
        """See `JobMeter.job_ended`."""
        self._jobs.labels(kind, end).inc()

    def jobs_waiting(self, waiting: int, dead: int, waited_s: float) -> None:
        """See `JobMeter.jobs_waiting`."""
        self._waiting.set(waiting)
        self._dead.set(dead)
        self._jobs_oldest.set(waited_s)

    def batch_ended(self, end: str) -> None:
        """See `BatchMeter.batch_ended`."""
        self._batches.labels(end).inc()

    def parked(self, waiting: int, sent: int) -> None:
        """See `BatchMeter.parked`."""
        self._parked.labels("waiting").set(waiting)
        self._parked.labels("sent").set(sent)

    def budget_refused(self, scope: str) -> None:
        """See `BudgetMeter.budget_refused`."""
        self._unpaid.labels(scope).inc()

    def cache_asked(self, cache: str, answer: str) -> None:
        """See `CacheMeter.cache_asked`."""
        self._cached.labels(cache, answer).inc()

    def cache_seconds(self, seconds: float) -> None:
        """See `CacheMeter.cache_seconds`."""
        self._cache_s.observe(seconds)

    def cache_holds(self, entries: int, size: int) -> None:
        """See `CacheMeter.cache_holds`."""
        self._cache_entries.set(entries)
        self._cache_bytes.set(size)

    def gate_passed(self, how: str, seconds: float) -> None:
        """See `GateMeter.gate_passed`."""
        self._gate.labels(how).inc()
        self._gate_s.observe(seconds)

    def circuit_is(self, task: str, model: str, *, open_: bool) -> None:
        """See `CircuitMeter.circuit_is`."""
        self._circuit.labels(task, model).set(open_)

    def circuit_opened(self, task: str, model: str, code: str) -> None:
        """See `CircuitMeter.circuit_opened`."""
        self._circuit_openings.labels(task, model, code).inc()

    def called(self, entry: LedgerEntry) -> None:
        """Count a model call by its ledger row."""
        self._calls.labels(entry.model, entry.outcome).inc()
        self._tokens.labels(entry.model, "in").inc(entry.input_tokens)
        self._tokens.labels(entry.model, "out").inc(entry.output_tokens)
        self._cost.labels(entry.model).inc(entry.cost_micro_usd / 1_000_000)


def _tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # asked outside of the loop
        return 0
