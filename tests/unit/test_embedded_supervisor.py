"""What is done for the embedded servers while they run."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from server.embedded import supervisor
from server.embedded.supervisor import REWRITE_AGAIN_S, REWRITE_S, Services
from tests.support.virtual_time import run_virtual

HALF_A_DAY_S = REWRITE_S / 2
LOOK_S = 20.0


@pytest.fixture(autouse=True)
def looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look a little more rarely: a day has 172,800 of the usual ones."""
    monkeypatch.setattr(supervisor, "WATCH_S", LOOK_S)


class FakeValkey:
    def __init__(self) -> None:
        self.failure: str | None = None
        self.running = self.begins = True
        self.asked = 0

    async def rewrite_log(self) -> bool:
        self.asked += 1
        return self.begins


def tended(valkey: FakeValkey, postgres: SimpleNamespace | None = None) -> asyncio.Task[str]:
    servers: tuple[Any, Any] = valkey, postgres or SimpleNamespace(failure=None)
    return asyncio.create_task(Services(*servers).tended())


def test_the_log_of_writes_is_rewritten_at_once_and_each_day() -> None:
    async def story() -> None:
        valkey = FakeValkey()
        task = tended(valkey)
        await asyncio.sleep(1)
        for day in range(1, 4):
            assert valkey.asked == day
            await asyncio.sleep(HALF_A_DAY_S)
            assert valkey.asked == day
            await asyncio.sleep(HALF_A_DAY_S)
        task.cancel()

    run_virtual(story())


def test_one_that_does_not_begin_is_asked_for_again_but_not_all_the_time() -> None:
    async def story() -> None:
        valkey = FakeValkey()
        valkey.begins = False
        task = tended(valkey)
        await asyncio.sleep(4.5 * REWRITE_AGAIN_S)
        assert valkey.asked == 5
        valkey.begins = True
        await asyncio.sleep(HALF_A_DAY_S)
        assert valkey.asked == 6
        task.cancel()

    run_virtual(story())


def test_one_that_is_stopped_is_asked_when_it_runs_again() -> None:
    async def story() -> None:
        valkey = FakeValkey()
        valkey.running = False
        task = tended(valkey)
        await asyncio.sleep(HALF_A_DAY_S)
        assert valkey.asked == 0
        valkey.running = True
        await asyncio.sleep(LOOK_S)
        assert valkey.asked == 1
        task.cancel()

    run_virtual(story())


@pytest.mark.parametrize("which", ["valkey", "postgres"])
def test_a_server_that_ends_is_told_of(which: str) -> None:
    async def story() -> None:
        valkey, postgres = FakeValkey(), SimpleNamespace(failure=None)
        task = tended(valkey, postgres)
        await asyncio.sleep(1)
        (valkey if which == "valkey" else postgres).failure = "it ended"
        async with asyncio.timeout(2 * LOOK_S):
            assert await task == "it ended"

    run_virtual(story())
