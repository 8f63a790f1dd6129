"""The sweep of the store in memory: what is due, and what may go."""

from typing import Literal

from protocol.ids import EventId
from storage import live
from storage.twin.calls import Calls
from storage.twin.records import Interview, Partition, overdue


class Sweep(Calls):
    """The part of `storage.live.LiveStore` that finds what is due, and frees what may go."""

    async def due(self, limit: int, *, leases_only: bool = False) -> live.Due:
        """See `LiveStore.due`."""

        def act() -> live.Due:
            now, partitions = self._server.clock(), self._server.partitions
            leases = tuple(name for p in partitions for name in overdue(p.leases, now, limit))
            if leases_only:
                return live.Due(leases, (), ())
            return live.Due(
                leases,
                tuple(name for p in partitions for name in overdue(p.timers, now, limit)),
                tuple(number for number, p in enumerate(partitions) if p.outbox),
                min((p.oldest for p in partitions if p.outbox), default=None),
            )

        return await self._call("due", act)

    async def postpone(self, interview_id: str, tick: int, version: int | None = None) -> None:
        """See `LiveStore.postpone`."""

        def act() -> None:
            timers = self._server.partition(interview_id).timers
            held = self._server.interviews.get(interview_id)
            if held is None:
                timers.pop(interview_id, None)
            elif version in (None, held.version):
                timers[interview_id] = tick

        await self._write("postpone", interview_id, act)

    async def park(
        self, interview_id: str, version: int, idle_ms: int, again_ms: int
    ) -> Literal["ok", "active", "unstored", "missing"]:
        """See `LiveStore.park`."""

        def act() -> Literal["ok", "active", "unstored", "missing"]:
            held = self._server.interviews.get(interview_id)
            partition = self._server.partition(interview_id)
            if held is None:
                partition.timers.pop(interview_id, None)
                return "missing"
            now = self._server.clock()
            if held.version != version or now - held.touched < idle_ms or held.running:
                partition.timers[interview_id] = now + again_ms
                return "active"
            waits = held.queued in partition.outbox
            if held.stored != held.head or held.pending or waits:
                looks = _queue_resting(held, partition, interview_id, now)
                pause = again_ms * 2 ** min(looks, live.PARK_DOUBLINGS)
                partition.timers[interview_id] = now + pause
                return "unstored"
            self._free(interview_id)
            return "ok"

        return await self._write("park", interview_id, act)

    async def evict(self, interview_id: str, version: int, head: EventId) -> bool:
        """See `LiveStore.evict`."""

        def act() -> bool:
            held = self._server.interviews.get(interview_id)
            if held is None or held.version != version or not held.was_logged(head):
                return False
            self._free(interview_id)
            self._server.publish(interview_id, "l")
            return True

        return await self._write("evict", interview_id, act)

    async def erase(self, interview_id: str) -> None:
        """See `LiveStore.erase`."""

        def act() -> None:
            self._free(interview_id)
            until = self._server.clock() + live.TOMBSTONE_S * 1000
            self._server.partition(interview_id).erased[interview_id] = until
            self._server.publish(interview_id, "x")

        await self._write("erase", interview_id, act)


def _queue_resting(held: Interview, partition: Partition, interview_id: str, now: int) -> int:
    head, looks, entry = held.parking
    looks = looks if head == held.head else 0
    if entry not in partition.outbox:
        entry = partition.queue(now, interview_id)
    held.parking = (held.head, looks + 1, entry)
    return looks
