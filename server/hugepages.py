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
import functools
import os
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

import structlog

SIZE = 2 << 20
EACH_S = 0.1
"""From one page to the next: each is copied, which takes two or three milliseconds."""
LOOK_S = 10.0
"""From when there is no more to do to the next look."""
AGAIN_S = 120.0
"""So often all are gathered again: memory that was given back breaks a page up."""
DENSE = 0.5
"""What has less of a huge page in use is left alone: gathering takes the rest of it, too."""

_MAPS = Path("/proc/self/maps")
_PAGEMAP = Path("/proc/self/pagemap")
_MADV_COLLAPSE = 25
_OWN = ("[heap]", "[anon:")
"""Names of memory that belongs to no file. Most of it has none."""
_NEVER = frozenset((errno.EINVAL, errno.ENOSYS, errno.EPERM))
"""What a kernel says of each page that cannot, or may not, do it."""

_log = structlog.get_logger()


async def run() -> None:
    """Gather for ever, or until the system turns out not to; owned by the instance's task group.

    It begins at once: what was loaded at the start is gathered before interviews come.
    """
    now = asyncio.get_running_loop().time
    done, until, able = set[int](), now() + AGAIN_S, False
    while True:
        if now() >= until:
            done.clear()
            until = now() + AGAIN_S
        errors: set[int] = set()
        for page in _left(done):
            done.add(page)
            errors.add(await _gather(page))
            await asyncio.sleep(EACH_S)
        able = able or not errors <= _NEVER  # later, one odd page may be all that is new
        if errors and not able:
            _log.info("no huge pages", reason=os.strerror(min(errors)))
            return
        await asyncio.sleep(LOOK_S)


def _left(done: set[int]) -> list[int]:
    try:
        maps = _MAPS.read_text(encoding="utf-8", errors="replace")
        with _PAGEMAP.open("rb") as entries:
            return [page for page in pages(maps) if page not in done and dense(entries, page)]
    except OSError:
        return []  # another system than Linux, or one that does not show it


async def _gather(page: int) -> int:
    """Gather one page; return the error's number, 0 where there was none.

    In a thread: where memory is scarce, the kernel may look for a page for long.
    """
    return await asyncio.to_thread(_collapse, page)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _collapse(page: int) -> int:
    failed = _libc().madvise(ctypes.c_void_p(page), ctypes.c_size_t(SIZE), _MADV_COLLAPSE)
    return ctypes.get_errno() if failed else 0


def dense(entries: BinaryIO, page: int) -> bool:
    """Tell whether enough of a huge page is in use.

    ``entries`` has 8 bytes for each small page, as proc_pid_pagemap(5) tells; the highest bit says
    that it is in memory.
    """
    small = os.sysconf("SC_PAGE_SIZE")
    entries.seek(page // small * 8)
    highest = entries.read(SIZE // small * 8)[7::8]
    return sum(byte >> 7 for byte in highest) >= DENSE * SIZE / small


def pages(maps: str) -> Generator[int]:
    """Give the addresses of whole huge pages in the process's own memory.

    ``maps`` is laid out as proc_pid_maps(5) tells: address, rights, offset, device, inode, name.
    """
    for line in maps.split("\n"):
        fields = line.split(maxsplit=5)
        if len(fields) < 5 or fields[1] != "rw-p":
            continue
        if len(fields) == 6 and not fields[5].startswith(_OWN):
            continue
        begin, end = (int(address, 16) for address in fields[0].split("-"))
        yield from range(-(-begin // SIZE) * SIZE, end - SIZE + 1, SIZE)
