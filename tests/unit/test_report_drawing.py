"""Reports are drawn one at a time, and nobody's crowd out the others'."""

import asyncio
import threading
from typing import Any

import pytest

from server.reporting import drawing
from server.reporting.drawing import INSIDE, PER_USER, BusyError, Drawing

pytestmark = pytest.mark.anyio


class Press:
    """Draws nothing until it is let; notes how many are drawn at the same time."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.at_once: list[int] = []
        self._drawing = 0

    def draw(self) -> str:
        self._drawing += 1
        self.at_once.append(self._drawing)
        assert self.go.wait(10)
        self._drawing -= 1
        return "a report"


async def refused(press: Press, draws: Drawing, user: str) -> bool:
    try:
        await asyncio.wait_for(draws.draw(user, press.draw), 0.05)
    except BusyError:
        return True
    except TimeoutError:
        return False
    raise AssertionError("it was drawn")


async def test_one_is_drawn_at_a_time_and_each_is_drawn() -> None:
    press, draws = Press(), Drawing()
    asked = [asyncio.create_task(draws.draw(f"user {n}", press.draw)) for n in range(5)]
    await asyncio.sleep(0.05)
    assert press.at_once == [1]
    press.go.set()
    assert await asyncio.gather(*asked) == ["a report"] * 5
    assert press.at_once == [1] * 5


async def test_a_user_has_two_places_and_all_have_so_many() -> None:
    press, draws = Press(), Drawing()
    asked = [asyncio.create_task(draws.draw("ann", press.draw)) for _ in range(PER_USER)]
    await asyncio.sleep(0)
    assert await refused(press, draws, "ann")
    others = range(INSIDE - PER_USER)
    asked += [asyncio.create_task(draws.draw(f"user {n}", press.draw)) for n in others]
    await asyncio.sleep(0)
    assert await refused(press, draws, "zoe")
    press.go.set()
    await asyncio.gather(*asked)
    assert await draws.draw("ann", press.draw) == "a report"


async def test_who_waits_for_long_is_asked_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "WAIT_S", 0.05)
    press, draws = Press(), Drawing()
    first = asyncio.create_task(draws.draw("ann", press.draw))
    await asyncio.sleep(0.01)
    with pytest.raises(BusyError):
        await draws.draw("zoe", press.draw)
    press.go.set()
    await first


async def test_who_leaves_makes_no_room_before_the_thread_is_done() -> None:
    press, draws = Press(), Drawing()
    first: asyncio.Task[Any] = asyncio.create_task(draws.draw("ann", press.draw))
    await asyncio.sleep(0.05)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    second = asyncio.create_task(draws.draw("zoe", press.draw))
    await asyncio.sleep(0.05)
    assert press.at_once == [1]
    press.go.set()
    assert await second == "a report"
    assert press.at_once == [1, 1]


async def test_one_that_fails_makes_room() -> None:
    draws = Drawing()

    def broken() -> str:
        raise ValueError("no such font")

    for _ in range(3):
        with pytest.raises(ValueError, match="font"):
            await draws.draw("ann", broken)
    assert await draws.draw("ann", lambda: 1) == 1
