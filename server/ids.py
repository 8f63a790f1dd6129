"""Interview ids."""

import secrets
import uuid


def uuid7(ms: int, random_bytes: bytes | None = None) -> str:
    """Return a UUIDv7 of the Unix time ``ms`` (RFC 9562, §5.7), with 10 bytes of chance."""
    chance = int.from_bytes(random_bytes or secrets.token_bytes(10))
    value = (ms & (2**48 - 1)) << 80 | 0x7 << 76 | (chance >> 62 & 0xFFF) << 64
    return str(uuid.UUID(int=value | 0b10 << 62 | chance & (2**62 - 1)))


def may_be_interview(text: str) -> bool:
    """Whether this can be an interview's id: a UUIDv7 in its one canonical spelling.

    What cannot is not looked up: its keys would be kept, however long it is.
    """
    try:
        parsed = uuid.UUID(text)
    except ValueError:
        return False
    return parsed.version == 7 and str(parsed) == text
