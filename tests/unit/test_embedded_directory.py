import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from server.embedded import ports
from server.embedded.directory import (
    is_open,
    keep_ports,
    kept_secret,
    locked,
    make_private,
    open_log,
    ports_of,
    secret_of,
)
from server.embedded.errors import EmbeddedError
from server.embedded.ports import free_port, is_free
from server.embedded.process import processes_in


def test_the_directory_and_its_secret_are_private(tmp_path: Path) -> None:
    home = tmp_path / "a" / "b"
    make_private(home)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert len(secret_of(home)) >= 32
    (file,) = home.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_directory_of_viva_is_closed_and_one_of_others_is_told_of(tmp_path: Path) -> None:
    for name in ("given", "ours"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o755)
    make_private(tmp_path / "given")
    assert is_open(tmp_path / "given")
    make_private(tmp_path / "ours", ours=True)
    assert not is_open(tmp_path / "ours")
    make_private(tmp_path / "new")
    assert not is_open(tmp_path / "new")


def test_a_log_is_private_and_written_on(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    old = os.umask(0)
    try:
        for line in (b"one\n", b"two\n"):
            with open_log(path) as log:
                log.write(line)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)  # one of an older version
    open_log(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() == b"one\ntwo\n"


def test_the_secret_is_made_once(tmp_path: Path) -> None:
    assert secret_of(tmp_path) == secret_of(tmp_path)


def test_a_secret_that_others_may_know_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may write in the directory, which may be /tmp, can put one there."""
    path = tmp_path / "a.secret"
    made = kept_secret(path, 24)
    for mode in (0o640, 0o602, 0o604):
        path.chmod(mode)
        with pytest.raises(EmbeddedError, match=f"^{path} is open to others: .* chmod 600"):
            kept_secret(path, 24)
    path.chmod(0o400)
    assert kept_secret(path, 24) == made
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(EmbeddedError, match=f"^{path} is somebody else's"):
        kept_secret(path, 24)


def test_a_secret_is_looked_at_when_it_was_just_made(tmp_path: Path) -> None:
    """It is written to a file first that may have been there, open for others."""
    path = tmp_path / "a.secret"
    (tmp_path / ".a.secret.new").touch()
    (tmp_path / ".a.secret.new").chmod(0o666)
    with pytest.raises(EmbeddedError, match=f"^{path} "):
        kept_secret(path, 24)


def test_the_lock_names_its_holder_and_ends_with_it(tmp_path: Path) -> None:
    with locked(tmp_path) as home:
        assert home == tmp_path
        with (
            pytest.raises(EmbeddedError, match=rf"already running on .* \(pid {os.getpid()}\)"),
            locked(tmp_path),
        ):
            pytest.fail("locked twice")
    with locked(tmp_path):
        pass


def test_a_full_disk_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(EmbeddedError, match="No space left"), locked(tmp_path):
        pytest.fail("locked")
    monkeypatch.undo()
    with locked(tmp_path):
        pass  # it was let go of


def test_a_relative_directory_becomes_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with locked(Path("data")) as home:
        assert home == tmp_path / "data"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"valkey": "x"}', "\0\0\0"])
def test_unreadable_ports_are_forgotten(tmp_path: Path, content: str) -> None:
    tmp_path.joinpath("ports.json").write_text(content)
    assert ports_of(tmp_path) == {}


def test_ports_are_kept(tmp_path: Path) -> None:
    assert ports_of(tmp_path) == {}
    keep_ports(tmp_path, {"valkey": 1, "postgres": 2})
    assert ports_of(tmp_path) == {"valkey": 1, "postgres": 2}


def test_a_free_port_cannot_be_taken_by_an_outgoing_connection() -> None:
    port = free_port()
    assert is_free(port)
    lowest = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0]
    assert port < int(lowest)


def test_a_port_that_is_to_be_avoided_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    first = free_port()
    monkeypatch.setattr(ports, "_LOWEST", first)
    monkeypatch.setattr(ports, "_HIGHEST", first + 1)
    monkeypatch.setattr(ports, "_TRIES", 1)
    assert free_port() == first
    with pytest.raises(EmbeddedError, match="no free port"):
        free_port([first])


def test_processes_are_found_by_directory_and_name(tmp_path: Path) -> None:
    name = Path("/proc/self/comm").read_text().strip()
    other = tmp_path / "other"
    other.mkdir()
    code = "print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()  # until then it may still bear our name
        comm = Path(f"/proc/{child.pid}/comm").read_text().strip()
        try:
            assert processes_in(tmp_path, comm) == [child.pid]
            assert processes_in(other, comm) == []
            assert processes_in(tmp_path, f"not-{name}") == []
            assert processes_in(tmp_path / "missing", comm) == []
        finally:
            child.kill()
    assert processes_in(tmp_path, comm) == []
