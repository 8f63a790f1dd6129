"""The outbox of the store in memory: what waits to be written to PostgreSQL."""

from collections.abc import Sequence

from protocol.ids import EventId
from storage import live
from storage.twin.calls import Calls
from storage.twin.records import Interview, Partition


class Outbox(Calls):
    """The part of `storage.live.LiveStore` that fills and empties the outbox."""

    async def unstored(self, interview_id: str) -> live.Unstored | live.Gone:
        """See `LiveStore.unstored`."""

        def act() -> live.Unstored | live.Gone:
            held = self._held(interview_id)
            if not isinstance(held, Interview):
                return held
            commands = tuple((name, held.commands[name]) for name in held.pending)
            return live.Unstored(held.describe(turns=True, entries=False), commands)

        return await self._call("unstored", act)

    async def mark_stored(
        self,
        interview_id: str,
        head: EventId,
        commands: Sequence[str] = (),
        *,
        believed: EventId | None = None,
    ) -> bool:
        """See `LiveStore.mark_stored`."""

        def act() -> bool:
            held = self._server.interviews.get(interview_id)
            if held is None:
                return True
            if not held.was_logged(head):
                return False
            for command in commands:
                held.pending.pop(command, None)
            if head.seq > held.stored.seq:
                held.stored = head
                self._server.publish(interview_id, f"s{head}")
            elif believed == held.stored and head != believed:
                held.stored = head
                held.pending |= dict.fromkeys(held.commands)
                self._server.partition(interview_id).queue(self._server.clock(), interview_id)
            return True

        return await self._write("stored", interview_id, act)

    async def enqueue_ledger(self, interview_id: str, row: bytes) -> None:
        """See `LiveStore.enqueue_ledger`."""
        number = live.partition_of(interview_id)

        def act(p: Partition) -> None:
            p.queue(self._server.clock(), interview_id, row)

        await self._change("ledger", number, act, adds=True)

    async def take(
        self, partition: int, consumer: str, count: int, idle_ms: int
    ) -> list[live.OutboxEntry]:
        """See `LiveStore.take`."""
        now = self._server.clock
        return await self._change(
            "take", partition, lambda p: p.take(consumer, count, idle_ms, now())
        )

    async def settle(self, partition: int, entries: Sequence[str]) -> None:
        """See `LiveStore.settle`."""

        def act(p: Partition) -> None:
            for name in entries:
                p.settle(name)

        if entries:
            await self._change("settle", partition, act)

    async def bury(self, partition: int, entry: live.OutboxEntry, code: str) -> bool:
        """See `LiveStore.bury`."""
        return await self._change(
            "bury",
            partition,
            lambda p: p.bury(entry.id, code, allowed=live.MAX_TRIES, kept=live.DEAD_LETTERS),
        )
