"""Key names. All keys of one interview and of its partition share a hash tag, hence a slot."""

from functools import lru_cache

from storage.live import PARTITIONS, partition_of


def interview_key(interview_id: str) -> str:
    """Return the first of an interview's keys, which is its channel, too."""
    return f"{_prefix(partition_of(interview_id))}{interview_id}"


@lru_cache(maxsize=16_384)
def interview_keys(interview_id: str) -> tuple[str, ...]:
    """Return the keys in the order the Lua source names them; the first is also the channel."""
    prefix, own = _prefix(partition_of(interview_id)), interview_key(interview_id)
    return (
        own,
        f"{own}:log",
        f"{own}:turns",
        f"{own}:commands",
        f"{own}:pending",
        f"{prefix}leases",
        f"{prefix}timers",
        f"{prefix}outbox",
        f"{own}:erased",
        presence_key(partition_of(interview_id)),
    )


def lease_keys(interview_id: str) -> tuple[str, str, str]:
    """Return the keys of the interview, of its log and of its partition's leases."""
    named = interview_keys(interview_id)
    return named[0], named[1], named[5]


def ticket_key(interview_id: str, ticket: str) -> str:
    """Return the key that marks a ticket as used."""
    return f"{_prefix(partition_of(interview_id))}ticket:{ticket}"


def outbox_key(partition: int) -> str:
    """Return the partition's outbox stream."""
    return f"{_prefix(partition)}outbox"


def presence_key(partition: int) -> str:
    """Return the partition's set of live interviews, by when somebody was seen there last."""
    return f"{_prefix(partition)}presence"


def tries_key(partition: int) -> str:
    """Return the hash that counts failures of bad data by outbox entry."""
    return f"{_prefix(partition)}tries"


def dead_key(partition: int) -> str:
    """Return the partition's dead-letter stream."""
    return f"{_prefix(partition)}dead"


def due_keys(*, leases_only: bool = False) -> list[str]:
    """Return what the sweeper looks at: all partitions' leases, then timers, then outboxes."""
    names = ("leases",) if leases_only else ("leases", "timers", "outbox")
    return [f"{_prefix(partition)}{name}" for name in names for partition in range(PARTITIONS)]


def interview_of(channel: str) -> str:
    """Return the interview whose notifications ``channel`` carries."""
    return channel.rsplit(":", 1)[1]


def _prefix(partition: int) -> str:
    return f"viva:{{p{partition:03d}}}:"
