import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.postgres.migrate import migrate
from tests.e2e.instances import Instance


@pytest.fixture
def start(redis_url: str, database_url: str, tmp_path: Path) -> Generator[Callable[..., Instance]]:
    """Starts instances on this test's Redis and database; keyword arguments are settings."""
    # In a thread: the browser's driver keeps a loop of its own running in this one.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(migrate(database_url))).result()
    instances: list[Instance] = []

    def begin(**settings: str) -> Instance:
        environment = {"REDIS_URL": redis_url, "DATABASE_URL": database_url, **settings}
        instance = Instance(environment, tmp_path)
        instances.append(instance)
        instance.start()
        return instance

    yield begin
    for instance in instances:
        instance.kill()
