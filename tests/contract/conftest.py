import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack
from pathlib import Path

import pytest

from server.embedded import RedisServer
from tests.contract.backends import COMPARED, Backend, RedisBackend, TwinBackend
from tests.support.databases import flush_redis
from tests.support.redis_binaries import redis_binaries


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if COMPARED:
        answers = f"{len(COMPARED)} kinds of answers"
        terminalreporter.write_line(f"random traces: {COMPARED.total()} calls compared, {answers}")


_SERVERS = sorted(redis_binaries())


class Servers:
    """The real servers, each started when it is first asked for."""

    def __init__(self, directory: Path, runner: asyncio.Runner) -> None:
        self._directory = directory
        self._runner = runner
        self._running: dict[str, RedisServer] = {}

    def url(self, name: str) -> str:
        server = self._running.get(name)
        if server is None:
            binary = redis_binaries()[name]
            server = RedisServer(self._directory / name, binary=binary, durable=False)
            self._runner.run(server.start())
            self._running[name] = server
        return server.url

    def stop(self) -> None:
        for server in self._running.values():
            self._runner.run(server.stop())


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Generator[Servers]:
    with ExitStack() as stack:
        runner = stack.enter_context(asyncio.Runner(loop_factory=asyncio.new_event_loop))
        servers = Servers(tmp_path_factory.mktemp("contract"), runner)
        stack.callback(servers.stop)
        yield servers


@pytest.fixture(params=["twin", *_SERVERS])
def backend_url(request: pytest.FixtureRequest, servers: Servers) -> str:
    """An address, empty for the twin."""
    return "" if request.param == "twin" else servers.url(request.param)


@pytest.fixture
async def backend(backend_url: str) -> AsyncGenerator[Backend]:
    """Every backend of the live store."""
    if not backend_url:
        yield TwinBackend()
        return
    async for real in _real(backend_url):
        yield real


@pytest.fixture(params=_SERVERS)
def server_url(request: pytest.FixtureRequest, servers: Servers) -> str:
    return servers.url(request.param)


@pytest.fixture
async def real(server_url: str) -> AsyncGenerator[RedisBackend]:
    """Every real server."""
    async for backend in _real(server_url):
        yield backend


@pytest.fixture
def valkey_url(servers: Servers) -> str:
    return servers.url("valkey")


@pytest.fixture
async def valkey(valkey_url: str) -> AsyncGenerator[RedisBackend]:
    """The server that viva embeds."""
    async for backend in _real(valkey_url):
        yield backend


async def _real(url: str) -> AsyncGenerator[RedisBackend]:
    flush_redis(url)
    backend = RedisBackend(url)
    try:
        yield backend
    finally:
        await backend.aclose()
