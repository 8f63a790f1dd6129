"""Times between the protocol, which counts Unix milliseconds, and PostgreSQL."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(unix_ms: int) -> datetime:
    """Return the time of a count of Unix milliseconds, exactly.

    Raises:
        OverflowError: it lies beyond the year 9999.
    """
    return _EPOCH + timedelta(milliseconds=unix_ms)


def created_at_of(interview_id: str) -> datetime:
    """Return when an interview was created: the first 48 bits of its UUIDv7 (RFC 9562, §5.7).

    It names the interview's partition, so only the one canonical spelling of an id is taken.

    Raises:
        ValueError: the text is no UUIDv7 in lower-case hex with hyphens.
    """
    parsed = UUID(interview_id)
    if parsed.version != 7 or str(parsed) != interview_id:  # the version is in its name
        raise ValueError("an interview's id is a UUIDv7")
    try:
        return moment(parsed.int >> 80)
    except OverflowError:
        raise ValueError("an interview's id lies beyond the year 9999") from None
