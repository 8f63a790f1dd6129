"""What sending batches and taking them in share."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

from protocol.ledger import LedgerEntry
from storage.budgets import Payer
from storage.postgres.batches import Backlog, Batch, Request, Waits


class BatchStore(Protocol):
    """Where parked calls and batches are; see `storage.postgres.batches.Batches`."""

    async def seal(
        self, batch_id: str, most: int, choose: Callable[[Sequence[Waits]], Sequence[str]]
    ) -> bool:
        """Make a batch of some of those that wait."""
        ...

    async def claim(self, holder: str, lease_s: float) -> Batch | None:
        """Take a batch that is due."""
        ...

    async def keep(self, batch: Batch, lease_s: float) -> bool:
        """Go on holding a batch; False where it is another's by now."""
        ...

    async def requests(self, batch: Batch) -> tuple[Request, ...]:
        """Return the calls of whose end nothing is known, an interview's together."""
        ...

    async def sent(self, batch: Batch, provider_id: str) -> bool:
        """Remember that it was sent; False where it is another's, or was sent by another."""
        ...

    async def put_off(self, batch: Batch, seconds: float) -> None:
        """Let go of a batch; it is due again in a while."""
        ...

    async def unseal(
        self, batch: Batch, requests: Iterable[str], *, code: str | None = None, seconds: float = 0
    ) -> None:
        """Take calls out of a batch that was not sent."""
        ...

    async def take(
        self, batch: Batch, interview_id: str, ends: Sequence[Mapping[str, str | None]]
    ) -> None:
        """Take in what became of an interview's calls."""
        ...

    async def ready(self, batch: Batch) -> tuple[str, ...]:
        """Return the batch's interviews that wait for nothing any more."""
        ...

    async def end(self, batch: Batch, ended: str) -> bool:
        """Note that the batch is over."""
        ...

    async def release(self, code: str, older_s: float = 0) -> tuple[str, ...]:
        """Have calls made live that waited for so long without a batch."""
        ...

    async def abandon(self, code: str) -> tuple[str, ...]:
        """Have the calls of all batches made live."""
        ...

    async def tidy(self) -> None:
        """Delete what has served."""
        ...

    async def backlog(self) -> Backlog:
        """Return how many calls there are."""
        ...


class LedgerStore(Protocol):
    """Where the rows of lines go at once; see `storage.postgres.archive.Archive`."""

    async def write_ledger(self, rows: Sequence[LedgerEntry]) -> None:
        """Put rows in, each once by its id."""
        ...


class BatchMeter(Protocol):
    """What is measured of batches."""

    def called(self, entry: LedgerEntry) -> None:
        """Count a call by its row."""

    def budget_refused(self, scope: str) -> None:
        """Count calls that were not sent for want of money."""

    def batch_ended(self, end: str) -> None:
        """Count a batch that was ``sent``, or by how it ended."""

    def parked(self, waiting: int, sent: int) -> None:
        """Set how many calls wait for a batch, and how many are in one."""


def hold_of(batch: Batch, interview_id: str) -> str:
    """Return the name of the hold for an interview's calls in a batch, whoever asks for it."""
    return f"batch:{batch.batch_id}:{interview_id}"


def payer_of(batch: Batch, interview_id: str, user_id: str) -> Payer:
    """Return whose budgets pay: on the day that the batch was sealed, however late it comes."""
    day = datetime.fromtimestamp(batch.sealed_at / 1000, UTC).date().isoformat()
    return Payer(interview_id=interview_id, user_id=user_id, day=day)
