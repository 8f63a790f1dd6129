"""Which memory is gathered into huge pages, and when that is given up."""

import asyncio
import errno
from pathlib import Path

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
7ffd00000000-7ffd00400000 rw-p 00000000 00:00 0                          [stack]
"""


def test_whole_pages_of_the_heap_and_of_what_has_no_name() -> None:
    assert [hex(page) for page in hugepages.pages(MAPS)] == [
        "0x55d0c1200000",
        "0x55d0c1400000",
        "0x7f0000000000",
        "0x7f0000200000",
        "0x7f0000600000",
    ]


def _gathered(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    error: int,
    seconds: float,
    errors: dict[int, int],
) -> tuple[list[int], bool]:
    """Return what was gathered in so long a time, and whether it goes on."""
    gathered: list[int] = []

    def gather(page: int) -> int:
        gathered.append(page)
        return errors.get(page, error)

    maps = tmp_path / "maps"
    maps.write_text(MAPS)
    monkeypatch.setattr(hugepages, "_MAPS", maps)
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
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    once = list(hugepages.pages(MAPS))
    gathered, goes_on = _gathered(monkeypatch, tmp_path, 0, hugepages.AGAIN_S - 1, {})
    assert (gathered, goes_on) == (once, True)
    gathered, goes_on = _gathered(monkeypatch, tmp_path, 0, 2 * hugepages.AGAIN_S, {})
    assert (gathered, goes_on) == (2 * once, True)


def test_what_cannot_be_had_now_is_left_and_what_never_can_is_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for error, goes_on in ((errno.ENOMEM, True), (errno.EINVAL, False)):
        gathered = _gathered(monkeypatch, tmp_path, error, 30, {})
        assert (len(gathered[0]), gathered[1]) == (5, goes_on)


def test_one_odd_page_is_no_reason_to_give_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    once = list(hugepages.pages(MAPS))
    odd = {once[0]: errno.EINVAL}
    assert _gathered(monkeypatch, tmp_path, 0, 30, odd) == (once, True)


def test_later_odd_pages_alone_are_no_reason_either(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    once, errors = list(hugepages.pages(MAPS)), dict[int, int]()

    def gone_odd(page: int) -> int:
        return errors.setdefault(page, 0)

    monkeypatch.setattr(hugepages, "_MAPS", tmp_path / "maps")
    (tmp_path / "maps").write_text(MAPS)
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


def test_a_page_of_the_real_heap_becomes_huge_or_is_refused_for_a_reason() -> None:
    held = [bytearray(4096) for _ in range(4096)]
    some = list(hugepages.pages(Path("/proc/self/maps").read_text()))
    assert some, "16 MB more are in use"
    error = hugepages._gather(some[0])  # pyright: ignore[reportPrivateUsage]
    if error:
        assert error in {
            errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.ENOMEM, errno.EAGAIN, errno.EBUSY,
        }  # fmt: skip
    else:
        assert _huge_kb(some[0]) * 1024 >= hugepages.SIZE
    assert len(held) == 4096
