"""Where an interview's rows are: named by its id alone, in the partition of its month."""

from typing import Any, TypeVar

from storage.errors import BadDataError
from storage.postgres.faults import PartitionMissingError
from storage.postgres.pool import Connection, Database, Work
from storage.postgres.queries import query
from storage.postgres.times import created_at_of

T = TypeVar("T")


def place_of(interview_id: str) -> dict[str, Any]:
    """Return the id and the time of creation in it, which name the rows and their partition.

    Raises:
        BadDataError: the id is no UUIDv7, hence that of no interview.
    """
    try:
        return {"interview_id": interview_id, "created_at": created_at_of(interview_id)}
    except ValueError:
        raise BadDataError("an interview's id is a UUIDv7") from None


async def partitioned(database: Database, work: Work[T], *interviews: str, whole: bool = True) -> T:
    """Write, as `Database.write` does; where a month has no partition, make it and write again."""
    try:
        return await database.write(work, whole=whole)
    except PartitionMissingError:
        for month in {created_at_of(name).replace(day=1) for name in interviews}:
            values = {"from_month": month, "months": 1}
            await database.write(_partitions(values))
        return await database.write(work, whole=whole)


def _partitions(values: dict[str, Any]) -> Work[None]:
    async def make(connection: Connection) -> None:
        await connection.execute(query("ensure_partitions"), values)

    return make
