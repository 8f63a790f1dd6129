"""Which memory is gathered into huge pages, and when that is given up."""

import asyncio
import ctypes
import errno
import mmap
import os
from pathlib import Path
from typing import BinaryIO

import pytest

from server import hugepages
from tests.support.virtual_time import run_virtual

MAPS = """\
55d0c0000000-55d0c0400000 r-xp 00000000 fe:00 1234                       /usr/bin/python3.11
55d0c1100000-55d0c1600000 rw-p 00000000 00:00 0                          [heap]
7f0000000000-7f0000400000 rw-p 00000000 00:00 0
7f0000500000-7f0000900000 rw-p 00000000 00:00 0
7f0001000000-7f0001100000 rw-p 00000000 00:00 0
7f0002000000-7f0002400000 rw-s 00000000 00:01 77                         /dev/shm/x
7f0003000000-7f0003400000 ---p 00000000 00:00 0
7f0004000000-7f0004200000 rw-p 00000000 00:00 0                          [anon: glibc: malloc]
7f0005000000-7f0005400000 rw-p 00000000 fe:00 99                         /odd/name\u2028of two lines
7ffd00000000-7ffd00400000 rw-p 00000000 00:00 0                          [stack]
"""


def test_whole_pages_of_the_heap_and_of_what_has_no_name() -> None:
    assert [hex(page) for page in hugepages.pages(MAPS)] == [
        "0x55d0c1200000",
        "0x55d0c1400000",
        "0x7f0000000000",
        "0x7f0000200000",
        "0x7f0000600000",
        "0x7f0004000000",
    ]


@pytest.fixture(autouse=True)
def _all_of_it_in_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of ``MAPS`` is really there."""
    (tmp_path / "maps").write_text(MAPS, encoding="utf-8")
    (tmp_path / "pagemap").write_bytes(b"")
    monkeypatch.setattr(hugepages, "_MAPS", tmp_path / "maps")
    monkeypatch.setattr(hugepages, "_PAGEMAP", tmp_path / "pagemap")

    def dense(entries: BinaryIO, page: int) -> bool:
        assert entries.readable()
        return page > 0

    monkeypatch.setattr(hugepages, "dense", dense)


def _gathered(
    monkeypatch: pytest.MonkeyPatch, error: int, seconds: float, errors: dict[int, int]
) -> tuple[list[int], bool]:
    """Return what was gathered in so long a time, and whether it goes on."""
    gathered: list[int] = []

    async def gather(page: int) -> int:
        gathered.append(page)
        return errors.get(page, error)

    monkeypatch.setattr(hugepages, "_gather", gather)

    async def story() -> bool:
        running = asyncio.create_task(hugepages.run())
        await asyncio.sleep(seconds)
        goes_on = not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return goes_on

    outcome: list[bool] = []

    async def main() -> None:
        outcome.append(await story())

    run_virtual(main())
    return gathered, outcome[0]


def test_each_is_gathered_once_and_again_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    once = list(hugepages.pages(MAPS))
    gathered, goes_on = _gathered(monkeypatch, 0, hugepages.AGAIN_S - 1, {})
    assert (gathered, goes_on) == (once, True)
    gathered, goes_on = _gathered(monkeypatch, 0, 2 * hugepages.AGAIN_S, {})
    assert (gathered, goes_on) == (2 * once, True)


def test_it_begins_at_once_before_interviews_come(monkeypatch: pytest.MonkeyPatch) -> None:
    gathered, _ = _gathered(monkeypatch, 0, len(list(hugepages.pages(MAPS))) * hugepages.EACH_S, {})
    assert gathered == list(hugepages.pages(MAPS))


def test_what_cannot_be_had_now_is_left_and_what_never_can_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for error, goes_on in ((errno.ENOMEM, True), (errno.EINVAL, False)):
        gathered = _gathered(monkeypatch, error, 30, {})
        assert (len(gathered[0]), gathered[1]) == (6, goes_on)


def test_one_odd_page_is_no_reason_to_give_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    once = list(hugepages.pages(MAPS))
    odd = {once[0]: errno.EINVAL}
    assert _gathered(monkeypatch, 0, 30, odd) == (once, True)


@pytest.mark.parametrize("first", [0, errno.ENOMEM])
def test_later_odd_pages_alone_are_no_reason_either(
    monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    once, errors = list(hugepages.pages(MAPS)), dict[int, int]()

    async def gone_odd(page: int) -> int:
        return errors.setdefault(page, first)

    monkeypatch.setattr(hugepages, "_gather", gone_odd)
    goes_on: list[bool] = []

    async def story() -> None:
        running = asyncio.create_task(hugepages.run())
        await asyncio.sleep(2 * hugepages.LOOK_S)
        assert sorted(errors) == sorted(once)
        errors.update(dict.fromkeys(once, errno.EINVAL))
        await asyncio.sleep(2 * hugepages.AGAIN_S)
        goes_on.append(not running.done())
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    run_virtual(story())
    assert goes_on == [True]


def test_of_what_has_no_list_of_its_memory_nothing_is_gathered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "maps").unlink()
    assert _gathered(monkeypatch, 0, 30, {}) == ([], True)


def _huge_kb(page: int) -> int:
    """Return how much of the memory that ``page`` is in is in huge pages: proc_pid_smaps(5)."""
    within = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in (place := line.split()[0]):
            begin, end = (int(address, 16) for address in place.split("-"))
            within = begin <= page < end
        elif within and line.startswith("AnonHugePages:"):
            return int(line.split()[1])
    return 0


def test_what_is_hardly_used_is_not_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with mmap.mmap(-1, 4 * hugepages.SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
        held.madvise(mmap.MADV_NOHUGEPAGE)
        begin = ctypes.addressof(ctypes.c_char.from_buffer(held))
        page = -(-begin // hugepages.SIZE) * hugepages.SIZE
        first, small = page - begin, os.sysconf("SC_PAGE_SIZE")
        with Path("/proc/self/pagemap").open("rb") as entries:
            found = [hugepages.dense(entries, page)]
            for share in (4, 2):
                for place in range(first, first + hugepages.SIZE, share * small):
                    held[place] = 1
                found.append(hugepages.dense(entries, page))
    assert found == [False, False, True]


def test_pages_of_the_real_heap_become_huge_or_are_refused_for_a_reason() -> None:
    held = [bytearray(4096) for _ in range(4096)]
    some = list(hugepages.pages(Path("/proc/self/maps").read_text()))
    assert some, "16 MB more are in use"
    errors = {page: hugepages._collapse(page) for page in some}  # pyright: ignore[reportPrivateUsage]
    for page in (page for page, error in errors.items() if not error):
        assert _huge_kb(page) * 1024 >= hugepages.SIZE
    never = {errno.EINVAL, errno.ENOSYS, errno.EPERM}
    assert set(errors.values()) <= {0, errno.ENOMEM, errno.EAGAIN, errno.EBUSY} | never
    version = tuple(int(part) for part in os.uname().release.split(".")[:2])
    if version >= (6, 1) and Path("/sys/kernel/mm/transparent_hugepage").exists():
        assert not set(errors.values()) <= never, "this kernel can"
    assert len(held) == 4096
