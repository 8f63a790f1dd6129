import struct
from pathlib import Path

from loadtest.awake import awake


def test_cores_are_asked_to_stay_awake_and_only_for_so_long(tmp_path: Path) -> None:
    device = tmp_path / "cpu_dma_latency"
    device.touch()
    with awake(device=device) as kept:
        assert kept
        assert struct.unpack("=i", device.read_bytes()) == (0,)
        assert held(device)
    assert not held(device)


def test_where_it_is_not_wanted_nothing_is_asked(tmp_path: Path) -> None:
    device = tmp_path / "cpu_dma_latency"
    device.touch()
    with awake(wanted=False, device=device) as kept:
        assert not kept
    assert device.read_bytes() == b""


def test_a_machine_that_cannot_is_measured_all_the_same(tmp_path: Path) -> None:
    with awake(device=tmp_path / "none") as kept:
        assert not kept


def held(device: Path) -> bool:
    return any(link.readlink() == device for link in Path("/proc/self/fd").iterdir() if seen(link))


def seen(link: Path) -> bool:
    """Whether it is a link still: the one that listed them is closed."""
    return link.is_symlink()
