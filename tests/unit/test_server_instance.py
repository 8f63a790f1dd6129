"""What ends an instance of itself, and what does not."""

import asyncio

import pytest

from server.assessing.batcher import Batcher
from server.assessing.worker import Worker
from server.instance import Instance
from server.settings import read_settings
from storage.postgres.archive import Archive

pytestmark = pytest.mark.anyio


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch) -> Instance:
    """One without backends."""

    async def opened(_: Archive) -> None:
        """Connect to nothing."""

    monkeypatch.setattr(Archive, "open", opened)
    settings = {
        "REDIS_URL": "redis://127.0.0.1:9",
        "DATABASE_URL": "postgresql://127.0.0.1:9/viva",
        "VIVA_JWT_SECRET": "s" * 32,
    }
    return Instance(read_settings(settings))


async def test_the_first_part_that_fails_ends_it_whatever_the_others_take_to_end(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed, lingering, let_go = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def fails(_: Worker) -> None:
        raise OSError("no room")

    async def lingers(_: Batcher) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            lingering.set()
            await let_go.wait()

    monkeypatch.setattr(Worker, "run", fails)
    monkeypatch.setattr(Batcher, "run", lingers)
    instance.on_failure = failed.set
    async with instance.working():
        try:
            async with asyncio.timeout(10):
                await failed.wait()
                await lingering.wait()
        finally:
            let_go.set()


async def test_a_part_that_has_nothing_more_to_do_ends_nothing(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = asyncio.Event()

    async def returns(_: Batcher) -> None:
        """Do nothing."""

    monkeypatch.setattr(Batcher, "run", returns)
    instance.on_failure = failed.set
    async with instance.working():
        await asyncio.sleep(0.1)
    assert not failed.is_set()
