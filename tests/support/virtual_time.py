"""An event loop whose clock jumps to the next timer: hours of waiting in milliseconds of test."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Jumping(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("deadlock: nothing is left that could wake a task")
            self.now += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Never sleeps. What it runs must not wait for anything outside of the process."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def stand_still(seconds: float) -> None:
    """Set the loop's clock on, which jumps by itself to the next timer: what SIGCONT looks like."""
    loop: Any = asyncio.get_running_loop()
    loop._jumping.now += seconds


def run_beside(
    service: Callable[[], Coroutine[Any, Any, None]],
    story: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    """Run ``story`` while ``service`` works for ever, which it still has to do in the end."""

    async def main() -> None:
        running, told = asyncio.create_task(service()), asyncio.create_task(story())
        try:
            await asyncio.wait((running, told), return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()  # why it died says more than what the story misses
                raise AssertionError("the service ended")
            told.result()
        finally:
            told.cancel()
            running.cancel()
            await asyncio.gather(running, told, return_exceptions=True)

    run_virtual(main())
