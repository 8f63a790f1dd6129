"""`storage.jobs.Jobs` over Redis Streams and Functions."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from storage.jobs import CRASHES, DEAD_JOBS, PRIORITIES, Backlog, DeadJob, Job, Priority, PutBack
from storage.redis.store import RedisStore

_PREFIX = "viva:{jobs}:"
_STREAMS = tuple(_PREFIX + priority for priority in PRIORITIES)
_KNOWN, _LATER, _DEAD = f"{_PREFIX}known", f"{_PREFIX}later", f"{_PREFIX}dead"
_KEYS = (_KNOWN, _LATER, _DEAD, *_STREAMS)


class _Known(Struct, frozen=True):
    """What jobs.lua remembers of a job, as far as it is told."""

    code: str = ""


_known = msgspec.json.Decoder(_Known)


class RedisJobs:
    """The queue of one deployment, in the Redis of its sessions."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store

    async def enqueue(self, payloads: Mapping[str, bytes], priority: Priority = "normal") -> int:
        """See `Jobs.enqueue`."""
        number = PRIORITIES.index(priority) + 1
        named = (argument for job in payloads.items() for argument in job)
        return int(await self._call("job_enqueue", number, *named))

    async def take(self, consumer: str, count: int, idle_ms: int) -> list[Job]:
        """See `Jobs.take`."""
        taken = await self._call("job_take", consumer, count, idle_ms, CRASHES, DEAD_JOBS)
        return [_job(raw) for raw in taken]

    async def extend(self, consumer: str, job: Job) -> bool:
        """See `Jobs.extend`."""
        return bool(await self._call("job_extend", job.name, job.delivery, consumer))

    async def finish(self, job: Job) -> bool:
        """See `Jobs.finish`."""
        return bool(await self._call("job_finish", job.name, job.delivery))

    async def postpone(self, job: Job, until: int, code: str, *, fault: bool = False) -> bool:
        """See `Jobs.postpone`."""
        arguments = (job.name, job.delivery, until, code, int(fault))
        return bool(await self._call("job_postpone", *arguments))

    async def ordered(self, name: str) -> bool:
        """See `Jobs.ordered`."""
        (known,) = await self._store.plain(("HEXISTS", _KNOWN, name))
        return bool(known)

    async def put_back(self, name: str) -> PutBack | None:
        """See `Jobs.put_back`."""
        until, known = await self._store.plain(("ZSCORE", _LATER, name), ("HGET", _KNOWN, name))
        if until is None or known is None:
            return None
        return PutBack(until=int(float(until)), code=_known.decode(known).code)

    async def bury(self, job: Job, code: str) -> bool:
        """See `Jobs.bury`."""
        return bool(await self._call("job_bury", job.name, job.delivery, code, DEAD_JOBS))

    async def backlog(self) -> Backlog:
        """See `Jobs.backlog`."""
        later, dead, *streams = await self._store.plain(
            ("ZCARD", _LATER),
            ("XLEN", _DEAD),
            *(("XLEN", stream) for stream in _STREAMS),
            *(("XRANGE", stream, "-", "+", "COUNT", 1) for stream in _STREAMS),
        )
        waiting, firsts = streams[: len(_STREAMS)], streams[len(_STREAMS) :]
        return Backlog(
            waiting=dict(zip(PRIORITIES, waiting, strict=True)),
            later=later,
            dead=dead,
            oldest=min((_queued_at(name) for first in firsts for name, _ in first), default=None),
        )

    async def dead(self, limit: int) -> Sequence[DeadJob]:
        """See `Jobs.dead`."""
        (letters,) = await self._store.plain(("XREVRANGE", _DEAD, "+", "-", "COUNT", limit))
        return [_dead(raw) for raw in letters]

    async def revive(self, limit: int) -> int:
        """See `Jobs.revive`."""
        return int(await self._call("job_revive", limit))

    async def _call(self, name: str, *arguments: Any) -> Any:
        return await self._store.function(name, _KEYS, *arguments)


def _job(raw: Sequence[Any]) -> Job:
    name, payload, priority, delivery, tries, at, faults = raw
    return Job(
        name=name.decode(),
        payload=payload,
        priority=PRIORITIES[int(priority) - 1],
        delivery=delivery.decode(),
        tries=tries,
        faults=faults,
        queued_at=int(at),
    )


def _queued_at(entry: bytes) -> int:
    return int(entry.partition(b"-")[0])


def _dead(raw: Sequence[Any]) -> DeadJob:
    fields = dict(zip(raw[1][::2], raw[1][1::2], strict=True))
    return DeadJob(
        entry=raw[0].decode(),
        name=fields[b"n"].decode(),
        payload=fields[b"p"],
        code=fields[b"c"].decode(),
    )
