"""Has the text taken out of a PDF by a process of its own, which may fail in any way it likes."""

import asyncio
import contextlib
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Literal

import msgspec
import structlog
from msgspec import Struct

from protocol.scalars import Count
from server.documents.faults import UnreadableError

CHILD = Path(__file__).with_name("child.py")
WALL_S = 30.0
"""More than the seconds of CPU that the process has: the machine may be busy."""
MOST_BYTES = 1024 * 1024
"""What the process may say; a plan's worth of text is a small part of it."""
_SLICE_BYTES = 64 * 1024
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
    # Isolated (-I) and with an empty environment: whatever a PDF may do to its reader, there are no
    # keys and no secrets to be found.
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        str(child),
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        env={},
        cwd="/",
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(wall_s):
            said = await _told(process, content)
            code = await process.wait()
    except TimeoutError:
        _log.info("document given up", reason="time", size=len(content))
        raise UnreadableError("costly") from None
    finally:
        await _ended(process)
    if code != 0:  # killed by a limit, or by the kernel
        _log.info("document given up", reason="exit", code=code, size=len(content))
        raise UnreadableError("costly")
    return _taken(said)


async def _told(process: Process, content: bytes) -> bytes:
    """Give the process its document and return all that it says, up to a bound."""
    assert process.stdin is not None  # noqa: S101  # both are pipes
    assert process.stdout is not None  # noqa: S101
    said = bytearray()
    async with asyncio.TaskGroup() as group:
        group.create_task(_feed(process.stdin, content))
        while len(said) <= MOST_BYTES and (piece := await process.stdout.read(_SLICE_BYTES)):
            said += piece
        if len(said) > MOST_BYTES:
            process.kill()
    return bytes(said)


async def _feed(pipe: asyncio.StreamWriter, content: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it died: its code tells
        pipe.write(content)
        await pipe.drain()
        pipe.close()


async def _ended(process: Process) -> None:
    """Leave neither a process nor a pipe behind."""
    if process.returncode is None:
        process.kill()
    await process.communicate()  # it is dead: what its pipe still holds is little


def _taken(said: bytes) -> Taken:
    try:
        told = msgspec.json.decode(said, type=_Told)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise UnreadableError("damaged") from None
    if told.fault is not None:
        raise UnreadableError(told.fault)
    return Taken(told.text, told.pages, told.clipped)
