"""What waits at no cost: it does what `asyncio`'s own parts of these names do."""

import asyncio
import sys
from collections import deque
from typing import Any

import pytest

from server.waiting import Flag, Inbox
from tests.support.virtual_time import run_virtual


@pytest.mark.parametrize("kind", [asyncio.Event, Flag])
def test_all_who_wait_go_on_also_where_it_is_cleared_before_they_run(kind: Any) -> None:
    async def story() -> list[bool]:
        flag = kind()
        waiting = [asyncio.create_task(flag.wait()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[1].cancel()
        flag.set()
        flag.set()
        flag.clear()
        await asyncio.sleep(1)
        late = asyncio.create_task(flag.wait())
        await asyncio.sleep(1)
        found = [*(task.done() and not task.cancelled() for task in waiting), late.done()]
        flag.set()
        await late
        await flag.wait()
        return [*found, flag.is_set()]

    assert run_virtual(story()) == [True, False, True, False, True]


@pytest.mark.parametrize("kind", [asyncio.Queue, Inbox])
def test_what_is_put_is_got_in_order_and_a_cancelled_getter_takes_nothing(kind: Any) -> None:
    async def story() -> list[Any]:
        inbox = kind()
        gone = asyncio.create_task(inbox.get())
        await asyncio.sleep(0)
        inbox.put_nowait(1)
        gone.cancel()
        await asyncio.wait([gone])
        inbox.put_nowait(2)
        found = [inbox.empty(), await inbox.get(), await inbox.get(), inbox.empty()]
        later = asyncio.create_task(inbox.get())
        await asyncio.sleep(1)
        inbox.put_nowait(3)
        return [*found, await later]

    assert run_virtual(story()) == [False, 1, 2, True, 3]


def test_what_is_taken_is_taken_at_once() -> None:
    inbox = Inbox[int]()
    assert inbox.taken() == []
    inbox.put_nowait(1)
    inbox.put_nowait(2)
    assert (inbox.taken(), inbox.empty()) == ([1, 2], True)


def test_at_rest_they_hold_nothing() -> None:
    def holds(thing: Flag | Inbox[int]) -> int:
        parts: list[object] = [getattr(thing, name) for name in thing.__slots__]
        return sys.getsizeof(thing) + sum(sys.getsizeof(each) for each in parts)

    assert holds(Flag()) + holds(Inbox[int]()) < sys.getsizeof(deque[int]())
