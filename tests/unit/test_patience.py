"""The one timer under a stream's waits: it must judge as `asyncio.timeout_at` would."""

import asyncio
from contextlib import closing

import pytest

from ai.patience import Patience
from tests.support.virtual_time import run_virtual


async def _after(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "done"


def test_what_is_late_is_cut_off_when_it_is_due() -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        with closing(Patience()) as patience:
            for _ in range(3):
                began = loop.time()
                with pytest.raises(TimeoutError):
                    await patience.wait(_after(60.0), began + 2.0)
                assert loop.time() - began == pytest.approx(2.0)

    run_virtual(story())


def test_waits_that_are_done_in_time_move_the_due_time_on() -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        with closing(Patience()) as patience:
            for _ in range(20):
                assert await patience.wait(_after(0.9), loop.time() + 1.0) == "done"
            await asyncio.sleep(10.0)  # nobody waits: the timer rings for nothing
            assert await patience.wait(_after(0.9), loop.time() + 1.0) == "done"

    run_virtual(story())


def test_a_due_time_may_come_nearer() -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        with closing(Patience()) as patience:
            assert await patience.wait(_after(0.1), loop.time() + 100.0) == "done"
            began = loop.time()
            with pytest.raises(TimeoutError):
                await patience.wait(_after(60.0), began + 0.5)
            assert loop.time() - began == pytest.approx(0.5)

    run_virtual(story())


def test_a_cancellation_from_elsewhere_is_no_time_out() -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()

        async def waiting() -> None:
            with closing(Patience()) as patience:
                await patience.wait(_after(60.0), loop.time() + 1.0)

        for moment in (0.5, 1.0):  # before it is due, and just then
            task = asyncio.ensure_future(waiting())
            loop.call_at(loop.time() + moment, task.cancel)
            with pytest.raises((asyncio.CancelledError, TimeoutError)) as caught:
                await task
            assert moment == 1.0 or caught.type is asyncio.CancelledError

    run_virtual(story())


def test_an_error_of_the_work_is_passed_on() -> None:
    async def fails() -> None:
        await asyncio.sleep(0.1)
        raise OSError("cut")

    async def story() -> None:
        with closing(Patience()) as patience, pytest.raises(OSError, match="cut"):
            await patience.wait(fails(), asyncio.get_running_loop().time() + 1.0)

    run_virtual(story())
