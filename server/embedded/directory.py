"""The kept data directory: its lock, its secret, the ports used last time.

The lock is a `flock`, which the kernel drops with its holder however that ends. So whoever holds
the lock may treat a server found running in the directory as left over from a crash.
"""

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import IO, Any, cast

from server.embedded.errors import EmbeddedError

_PRIVATE = 0o700


def make_private(directory: Path, *, ours: bool = False) -> None:
    """Create the directory, readable by its owner only, with its parents; it may exist already.

    One that is there stays as open as it is, see `is_open`: the user may have named their home, or
    /tmp. One that is ``ours`` alone is closed.

    Raises:
        EmbeddedError: It cannot be created or written.
    """
    try:
        directory.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        if ours:
            directory.chmod(_PRIVATE)
        writable = os.access(directory, os.W_OK | os.X_OK)
    except OSError as error:
        raise EmbeddedError(_not_writable(directory, error.strerror)) from None
    if not writable:
        raise EmbeddedError(_not_writable(directory, "permission denied"))


def is_open(directory: Path) -> bool:
    """Whether others than its owner may look into the directory."""
    return directory.stat().st_mode & 0o077 != 0


def open_log(path: Path) -> IO[bytes]:
    """Open a log to write on, private to its owner: servers log statements, and so people's words.

    It stays so whatever the umask is, and one that an older version left open is closed.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with contextlib.suppress(PermissionError):  # somebody else's, but open for us to write on
        os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "ab")


def _not_writable(directory: Path, why: str | None) -> str:
    return f"{directory} cannot be written ({why}); choose another directory with --data-dir"


def write_durably(path: Path, content: str) -> None:
    """Replace a file, private to its owner: after a power cut it holds the old or the new text."""
    new = path.with_name(f".{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make renames inside the directory survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(directory: Path) -> Generator[Path]:
    """Hold the directory alone; gives its absolute path.

    Raises:
        EmbeddedError: Another viva holds it (the sentence names its pid), or it cannot be written.
    """
    directory = directory.absolute()
    make_private(directory)
    try:
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise EmbeddedError(_not_writable(directory, error.strerror)) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode().strip() or "unknown"
            raise EmbeddedError(
                f"viva is already running on {directory} (pid {holder}),"
                " stop it or use another --data-dir"
            ) from None
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            raise EmbeddedError(_not_writable(directory, error.strerror)) from None
        yield directory
    finally:
        os.close(descriptor)


def secret_of(directory: Path) -> str:
    """The password of the directory's servers; see `kept_secret`."""
    return kept_secret(directory / "services.secret", 24)


def kept_secret(path: Path, size: int) -> str:
    """A secret of so many bytes, made on first use and kept.

    Raises:
        EmbeddedError: It cannot be read or written, or others may know it: whoever may write in its
            directory could have put it there.
    """
    try:
        if not path.exists():
            write_durably(path, secrets.token_urlsafe(size) + "\n")
        with path.open(encoding="utf-8") as file:
            found = os.fstat(file.fileno())
            if found.st_uid != os.geteuid():
                raise EmbeddedError(f"{path} is somebody else's: use another --data-dir")
            if found.st_mode & 0o077:
                raise EmbeddedError(f"{path} is open to others: if it is yours, chmod 600 {path}")
            return file.read().strip()
    except OSError as error:
        raise EmbeddedError(f"{path} cannot be used ({error.strerror})") from None


def ports_of(directory: Path) -> dict[str, int]:
    """The ports by server name of the last run; empty if unknown or unreadable."""
    try:
        content: Any = json.loads((directory / "ports.json").read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    entries = cast("Mapping[str, object]", content).items()
    return {name: port for name, port in entries if isinstance(port, int)}


def keep_ports(directory: Path, ports: Mapping[str, int]) -> None:
    """Remember the ports for the next run."""
    if ports_of(directory) != ports:
        write_durably(directory / "ports.json", json.dumps(ports) + "\n")
