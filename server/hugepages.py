"""Huge pages for the objects of an instance.

Thousands of interviews lie about in some 200 MB, of which each word touches a little everywhere. Of
pages of 4 KB the processor remembers the addresses of a few thousand, and a virtual machine looks
others up twice over. Python's allocator asks for 1 MB at a time and for no huge page;
where the system gives them only to those who ask (`madvise`, as most do), there are none. Here
memory that is in use is gathered into pages of 2 MB, one after the other.

Source: madvise(2), `MADV_COLLAPSE` (Linux 6.1), which works whatever the system is set to.
"""

import asyncio
import ctypes
import errno
import os
from collections.abc import Generator
from pathlib import Path

import structlog

SIZE = 2 << 20
EACH_S = 0.1
"""From one page to the next: each is copied, which takes two or three milliseconds."""
LOOK_S = 10.0
"""From when there is no more to do to the next look."""
AGAIN_S = 120.0
"""So often all are gathered again: memory that was given back breaks a page up."""

_MAPS = Path("/proc/self/maps")
_MADV_COLLAPSE = 25
_NEVER = frozenset((errno.EINVAL, errno.ENOSYS, errno.EPERM))
"""What a kernel says of each page that cannot, or may not, do it."""

_log = structlog.get_logger()


async def run() -> None:
    """Gather for ever, or until the system turns out not to; owned by the instance's task group."""
    now = asyncio.get_running_loop().time
    done, until, able = set[int](), now() + AGAIN_S, False
    while True:
        await asyncio.sleep(LOOK_S)
        if now() >= until:
            done.clear()
            until = now() + AGAIN_S
        errors: set[int] = set()
        for page in _left(done):
            done.add(page)
            errors.add(_gather(page))
            await asyncio.sleep(EACH_S)
        able = able or 0 in errors  # later, one odd page may be all that is new
        if errors and errors <= _NEVER and not able:
            _log.info("no huge pages", reason=os.strerror(min(errors)))
            return


def _left(done: set[int]) -> list[int]:
    try:
        maps = _MAPS.read_text()
    except OSError:
        return []  # another system than Linux
    return [page for page in pages(maps) if page not in done]


def _gather(page: int) -> int:
    """Gather one page; return the error's number, 0 where there was none."""
    libc = ctypes.CDLL(None, use_errno=True)
    failed = libc.madvise(ctypes.c_void_p(page), ctypes.c_size_t(SIZE), _MADV_COLLAPSE)
    return ctypes.get_errno() if failed else 0


def pages(maps: str) -> Generator[int]:
    """Give the addresses of whole huge pages in the process's own memory.

    ``maps`` is laid out as proc_pid_maps(5) tells: address, rights, offset, device, inode, name.
    """
    for line in maps.splitlines():
        fields = line.split(maxsplit=5)
        named = len(fields) == 6 and fields[5] != "[heap]"
        if fields[1] != "rw-p" or named:
            continue
        begin, end = (int(address, 16) for address in fields[0].split("-"))
        yield from range(-(-begin // SIZE) * SIZE, end - SIZE + 1, SIZE)
