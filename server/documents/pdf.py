"""Has the text taken out of a PDF by a process of its own, which may fail in any way it likes."""

from pathlib import Path
from typing import Literal

import msgspec
import structlog
from msgspec import Struct

from protocol.scalars import Count
from server.apart import GivenUpError, told_by
from server.documents.faults import UnreadableError

CHILD = Path(__file__).with_name("child.py")
WALL_S = 30.0
"""More than the seconds of CPU that the process has: the machine may be busy."""
MOST_BYTES = 1024 * 1024
"""What the process may say; a plan's worth of text is a small part of it."""
_HEAD_BYTES = 1024
"""Readers look so far for the header (ISO 32000-1, annex H, implementation note 13)."""

_log = structlog.get_logger()


class Taken(Struct, frozen=True):
    """What stands in a PDF; ``clipped``: there is more of it."""

    text: str
    pages: Count
    clipped: bool


class _Told(Struct, frozen=True, forbid_unknown_fields=True):
    """All that the process may say."""

    text: str = ""
    pages: Count = 0
    clipped: bool = False
    fault: Literal["damaged", "encrypted", "costly"] | None = None


async def text_of_pdf(content: bytes, *, wall_s: float = WALL_S, child: Path = CHILD) -> Taken:
    """Return the text as the PDF has it.

    Raises:
        UnreadableError: it is no PDF, or damaged, or encrypted, or takes too much to read.
    """
    if b"%PDF-" not in content[:_HEAD_BYTES]:
        raise UnreadableError("damaged")
    try:
        said = await told_by(child, content, most=MOST_BYTES, wall_s=wall_s)
    except GivenUpError as error:
        _log.info("document given up", reason=error.reason, code=error.code, size=len(content))
        raise UnreadableError("costly") from None
    return _taken(said)


def _taken(said: bytes) -> Taken:
    try:
        told = msgspec.json.decode(said, type=_Told)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise UnreadableError("damaged") from None
    if told.fault is not None:
        raise UnreadableError(told.fault)
    return Taken(told.text, told.pages, told.clipped)
