"""Cancellations that Python 3.11 loses are raised again: a task that was told to end, ends.

`asyncio.wait_for` gives its result in place of one that comes just as its work is done (CPython
issue 86296, mended in 3.12); redis-py sends and psycopg_pool hands out connections that way. An
`asyncio.TaskGroup` whose task fails at that moment raises only the failure. A loop would go on for
ever: nobody cancels twice.
"""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def cancellable() -> Generator[None]:
    """Raise a cancellation that came during the body, however the body ended.

    An `asyncio.TaskGroup` in there must have no task that can fail behind the group's own body:
    3.11 then cancels the caller, and does not take that back.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        yield
    finally:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError
