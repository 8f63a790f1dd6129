"""Programs that run in a process of their own, which may fail in any way it likes."""

import asyncio
import contextlib
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Literal

_SLICE_BYTES = 64 * 1024


class GivenUpError(Exception):
    """There is no answer: it took too long (``time``), or the process failed (``exit``).

    ``code`` is what it ended with; below zero a signal ended it: a limit of its own, the kernel
    where memory ran out, or who started it, as it said too much.
    """

    def __init__(self, reason: Literal["time", "exit"], code: int | None = None) -> None:
        super().__init__(reason, code)
        self.reason: Literal["time", "exit"] = reason
        self.code = code


async def told_by(program: Path, given: bytes, *, most: int, wall_s: float) -> bytes:
    """Return what ``program`` says of what it is ``given``: ``most`` bytes, within ``wall_s``.

    Whoever is cancelled meanwhile leaves no process behind.

    Raises:
        GivenUpError: the program has no answer.
    """
    # Isolated (-I) and with an empty environment: whatever a program may be made to do by what it
    # is given, there are no keys and no secrets to be found.
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        str(program),
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        env={},
        cwd="/",
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(wall_s):
            said = await _told(process, given, most)
            code = await process.wait()
    except TimeoutError:
        raise GivenUpError("time") from None
    finally:
        await _ended(process)
    if code != 0:
        raise GivenUpError("exit", code)
    return said


async def _told(process: Process, given: bytes, most: int) -> bytes:
    """Give the process its input and return all that it says, up to a bound."""
    assert process.stdin is not None  # noqa: S101  # both are pipes
    assert process.stdout is not None  # noqa: S101
    said = bytearray()
    async with asyncio.TaskGroup() as group:
        group.create_task(_feed(process.stdin, given))
        while len(said) <= most and (piece := await process.stdout.read(_SLICE_BYTES)):
            said += piece
        if len(said) > most:
            process.kill()
    return bytes(said)


async def _feed(pipe: asyncio.StreamWriter, given: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it died: its code tells
        pipe.write(given)
        await pipe.drain()
        pipe.close()


async def _ended(process: Process) -> None:
    """Leave neither a process nor a pipe behind."""
    if process.returncode is None:
        process.kill()
    await process.communicate()  # it is dead: what its pipe still holds is little
