import asyncio
import signal
from collections.abc import Generator
from typing import Any

import pytest

from server.embedded import Services, embedded
from tests.support.databases import flush_redis, fresh_database

# Who starts the tests in the background may have them ignore Ctrl-C, and so would what they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


LONG = frozenset(
    f"test_{name}"
    for name in (
        "model_faults", "outages", "kills", "worker_kills", "resume", "early_signals", "absence",
        "slow_readers", "question_cache",
    )
)  # fmt: skip
"""Modules that wait for minutes: begun first, beside what takes the processors."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem not in LONG)


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return ("asyncio", {"use_uvloop": False})


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Generator[Services]:
    """One Valkey and one PostgreSQL for the run; a test that breaks servers starts its own."""
    running = embedded(tmp_path_factory.mktemp("services"), durable=False)
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        services = runner.run(running.__aenter__())
        try:
            yield services
        finally:
            runner.run(running.__aexit__(None, None, None))


@pytest.fixture
def redis_url(services: Services) -> str:
    """The session's Valkey, emptied of keys and functions."""
    flush_redis(services.redis_url)
    return services.redis_url


@pytest.fixture
def database_url(services: Services) -> Generator[str]:
    """A new, empty database for this test alone."""
    with fresh_database(services.database_url) as url:
        yield url


@pytest.fixture(scope="module")
def module_database_url(services: Services) -> Generator[str]:
    """A new, empty database shared by the tests of one module."""
    with fresh_database(services.database_url) as url:
        yield url
