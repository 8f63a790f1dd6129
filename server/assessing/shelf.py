"""The assessor's shelf for calls that may wait, in PostgreSQL."""

from collections.abc import Sequence

import msgspec

from ai.assessor.lines import entry_id
from ai.assessor.waiting import Found, Parked
from server.clock import Clock
from storage.postgres.batches import Batches, ParkedRow


class PostgresShelf:
    """See `ai.assessor.waiting.Shelf`."""

    def __init__(self, batches: Batches, clock: Clock) -> None:
        self._batches = batches
        self._clock = clock

    async def find(self, interview_id: str, question_id: str) -> Sequence[Found]:
        """See `Shelf.find`."""
        return [_found(row) for row in await self._batches.find(interview_id, question_id)]

    async def park(self, calls: Sequence[Parked]) -> None:
        """See `Shelf.park`."""
        rows = [
            {**msgspec.structs.asdict(call), "request_id": self._clock.nonce()} for call in calls
        ]
        await self._batches.park(calls[0].interview_id, rows)

    async def faulty(self, found: Found, interview_id: str, code: str) -> None:
        """See `Shelf.faulty`."""
        await self._batches.note_faulty(interview_id, entry_id(found.request_id), code)


def _found(row: ParkedRow) -> Found:
    return Found(
        request_id=row.request_id,
        sample=row.sample,
        api=row.api,
        model=row.model,
        canary=row.canary,
        prompt_sha256=row.prompt_sha256,
        reply=None if row.reply is None else row.reply.encode(),
        lapsed=row.code,
    )
