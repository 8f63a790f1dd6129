"""A task that was told to end ends, though what it waited for came at the same moment."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from storage.cancelling import cancellable

pytestmark = pytest.mark.anyio


class FailureError(Exception):
    pass


async def ended(step: Callable[[asyncio.Event], Awaitable[object]]) -> asyncio.Task[None]:
    """Cancel a loop of steps just as its step has what it waits for; the loop, when it is over."""
    come = asyncio.Event()

    async def loop() -> None:
        while True:
            with cancellable():
                await step(come)

    task = asyncio.create_task(loop())
    await asyncio.sleep(0.01)
    come.set()
    task.cancel()
    await asyncio.wait((task,), timeout=1)
    return task


async def test_wait_for_may_lose_it() -> None:
    task = await ended(lambda come: asyncio.wait_for(come.wait(), 60))
    assert task.cancelled()


async def test_a_group_that_fails_may_lose_it() -> None:
    async def step(come: asyncio.Event) -> None:
        async def fail() -> None:
            await come.wait()
            raise FailureError

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                await asyncio.sleep(0)  # so that it wakes first, and fails
                await come.wait()
                await asyncio.sleep(60)
        except* FailureError:
            pass

    assert (await ended(step)).cancelled()


async def test_a_failure_gives_way_to_it() -> None:
    async def step(come: asyncio.Event) -> None:
        try:
            await come.wait()
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise FailureError from None

    assert (await ended(step)).cancelled()


async def test_without_one_nothing_changes() -> None:
    with pytest.raises(FailureError), cancellable():
        raise FailureError
    with cancellable():
        pass


async def test_a_timeout_within_and_one_around_stay_what_they_are() -> None:
    with pytest.raises(TimeoutError), cancellable():
        async with asyncio.timeout(0.001):
            await asyncio.sleep(60)
    async with asyncio.timeout(0.001) as limit:
        with contextlib.suppress(asyncio.CancelledError), cancellable():
            await asyncio.sleep(60)
    assert limit.expired()


async def test_one_from_before_is_not_raised_again() -> None:
    async def cleans_up() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            with cancellable():
                await asyncio.sleep(0)
        return "cleaned up"

    task = asyncio.create_task(cleans_up())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "cleaned up"
