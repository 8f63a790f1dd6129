"""Both servers of one data directory, from start to stop."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Collection, Generator
from dataclasses import dataclass
from pathlib import Path

from server.embedded.base import Server
from server.embedded.directory import is_open, keep_ports, locked, ports_of, secret_of
from server.embedded.errors import EmbeddedError
from server.embedded.postgres import PostgresServer
from server.embedded.valkey import RedisServer

WATCH_S = 0.5
REWRITE_S = 86_400.0
"""Between two rewrites of Valkey's log. It holds the words of erased interviews until then: a small
deployment would not write as much in years as makes Valkey do it by itself."""
REWRITE_AGAIN_S = 60.0
"""After one that did not begin."""


@dataclass(frozen=True, slots=True)
class Services:
    """The running servers. Each may be killed, stopped and started again by itself."""

    valkey: RedisServer
    postgres: PostgresServer

    @property
    def redis_url(self) -> str:
        """What `REDIS_URL` is to be, for whoever is on this machine."""
        return self.valkey.url

    @property
    def socket_url(self) -> str:
        """The same by Valkey's socket file, where it has one: what instances started here get."""
        return self.valkey.socket_url

    @property
    def database_url(self) -> str:
        """What `DATABASE_URL` is to be."""
        return self.postgres.url

    async def tended(self) -> str:
        """Look after the servers until one ends that nobody stopped; the sentence says which."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            for server in (self.valkey, self.postgres):
                if server.failure is not None:
                    return server.failure
            if self.valkey.running and loop.time() >= due:
                begins = await self.valkey.rewrite_log()
                due = loop.time() + (REWRITE_S if begins else REWRITE_AGAIN_S)
            await asyncio.sleep(WATCH_S)


@contextlib.asynccontextmanager
async def embedded(
    data_dir: Path,
    *,
    progress: Callable[[str], None] = lambda _: None,
    durable: bool = True,
    redis_port: int | None = None,
    postgres_port: int | None = None,
    avoided: Collection[int] = (),
) -> AsyncGenerator[Services]:
    """Run Valkey and PostgreSQL on the data in `data_dir`, made on first use; stop both at the end.

    The ports stay the same from run to run while they are free; a port that is given must be free.
    None of those ``avoided`` is chosen.
    `progress` receives sentences for a person. Stopping takes at most about 20 s. The servers end
    with this process, also when it is killed (on Linux; elsewhere the next start ends them).

    Raises:
        EmbeddedError: Already running, port taken, directory not writable, no start.
    """
    with locked(data_dir) as home:
        if is_open(home):
            progress(
                f"others may look into {home}: what viva keeps there is private file by file, their"
                f" names are not; chmod 700 {home} closes it"
            )
        with _disk_trouble(home):
            services = _services(home, durable=durable, ports=(redis_port, postgres_port))
        servers: tuple[Server, ...] = (services.valkey, services.postgres)
        for server in servers:
            server.avoided = avoided
        try:
            with _disk_trouble(home):
                await _start(servers, progress)
                ports = {"valkey": services.valkey.port, "postgres": services.postgres.port}
                keep_ports(home, ports)
            yield services
        finally:
            await _stop(servers, progress)


def _services(data_dir: Path, *, durable: bool, ports: tuple[int | None, int | None]) -> Services:
    secret, kept = secret_of(data_dir), ports_of(data_dir)
    valkey = RedisServer(
        data_dir / "valkey",
        port=ports[0],
        preferred_port=kept.get("valkey"),
        password=secret,
        durable=durable,
    )
    postgres = PostgresServer(
        data_dir / "postgres",
        port=ports[1],
        preferred_port=kept.get("postgres"),
        password=secret,
        durable=durable,
    )
    return Services(valkey, postgres)


async def _start(servers: tuple[Server, ...], progress: Callable[[str], None]) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            for server in servers:
                progress(f"starting {server.title} …")
                group.create_task(server.start())
    except BaseExceptionGroup as group:  # `except*` would raise a group again
        expected, others = group.split((EmbeddedError, OSError))
        if expected is None or others is not None:
            raise
        raise _first(expected) from None


def _first(group: BaseExceptionGroup[EmbeddedError | OSError]) -> EmbeddedError | OSError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


async def _stop(servers: tuple[Server, ...], progress: Callable[[str], None]) -> None:
    running = [server for server in servers if server.running]
    if running:
        progress(f"stopping {' and '.join(server.title for server in running)} …")
    outcomes = await asyncio.gather(*(server.stop() for server in servers), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


@contextlib.contextmanager
def _disk_trouble(data_dir: Path) -> Generator[None]:
    """A full disk or a file without rights is told in a sentence, not in a traceback."""
    try:
        yield
    except OSError as error:
        place = error.filename or data_dir
        raise EmbeddedError(f"{place} cannot be used ({error.strerror})") from None
