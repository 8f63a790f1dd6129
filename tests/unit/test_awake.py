import struct
from pathlib import Path

import pytest

from loadtest.awake import awake


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "cpu_dma_latency"
    path.touch()
    return path


@pytest.fixture
def idle(tmp_path: Path) -> Path:
    path = tmp_path / "name"
    path.write_text("POLL\n")
    return path


def test_cores_are_kept_awake_and_only_for_so_long(device: Path, idle: Path) -> None:
    with awake(device=device, idle=idle) as kept:
        assert kept
        assert struct.unpack("=i", device.read_bytes()) == (0,)
        assert held(device)
    assert not held(device)


def test_a_run_that_fails_lets_them_sleep_again(device: Path, idle: Path) -> None:
    with pytest.raises(RuntimeError), awake(device=device, idle=idle):
        fail_if(held(device))
    assert not held(device)


def test_where_it_is_not_wanted_nothing_is_asked(device: Path, idle: Path) -> None:
    with awake(wanted=False, device=device, idle=idle) as kept:
        assert not kept
    assert device.read_bytes() == b""


@pytest.mark.parametrize("name", ["WFI", ""])
def test_nothing_is_said_to_be_kept_where_idle_cores_halt_all_the_same(
    device: Path, idle: Path, name: str
) -> None:
    if name:
        idle.write_text(name)
    else:
        idle.unlink()  # no driver has a choice
    with awake(device=device, idle=idle) as kept:
        assert not kept


def test_who_may_not_measures_all_the_same(tmp_path: Path, idle: Path) -> None:
    for refused in (tmp_path / "none", tmp_path):  # not there; no file
        with awake(device=refused, idle=idle) as kept:
            assert not kept


def fail_if(yes: bool) -> None:  # noqa: FBT001 - what it is about stands at the call
    if yes:
        raise RuntimeError


def held(device: Path) -> bool:
    links = Path("/proc/self/fd").iterdir()
    return any(link.readlink() == device for link in links if link.is_symlink())
