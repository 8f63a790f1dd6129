"""Where time and chance come from, so that simulations can bring their own.

Waiting is done with `asyncio`, whose loop a simulation replaces by one of virtual time; the
monotonic clock is therefore the loop's.
"""

import asyncio
import random
import secrets
import time
from typing import Protocol


class Clock(Protocol):
    """Time and chance for one instance."""

    def now(self) -> int:
        """Return the Unix time in milliseconds."""
        ...

    def monotonic(self) -> float:
        """Return the running loop's time in seconds."""
        ...

    def random(self) -> float:
        """Return a number in [0, 1)."""
        ...

    def nonce(self) -> str:
        """Return a new identifier that nobody else will ever use."""
        ...


class SystemClock:
    """The machine's own."""

    def now(self) -> int:
        """See `Clock.now`."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return time.monotonic()  # which is what the loops of asyncio and uvloop tell, and cheaper

    def random(self) -> float:
        """See `Clock.random`."""
        return random.random()

    def nonce(self) -> str:
        """See `Clock.nonce`."""
        return secrets.token_hex(8)


def seconds_since(clock: Clock, at: int | None) -> float:
    """Return how long ago ``at`` was, in Unix ms of any clock; 0 for None and for what is ahead."""
    return 0.0 if at is None else max(0, clock.now() - at) / 1000


async def backoff(clock: Clock, attempt: int, *, base_s: float = 0.05, cap_s: float = 1.0) -> None:
    """Wait with full jitter before the ``attempt``-th retry (0, 1, 2 …).

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    await asyncio.sleep(clock.random() * min(cap_s, base_s * 2 ** min(attempt, 16)))


async def due_part(clock: Clock, began: float, part: int, *, parts: int, over_s: float) -> int:
    """Wait until ``part`` (0, 1, 2 …) of a work is due that is spread over ``over_s`` seconds.

    Return the number of the first part that is not due yet: all those before it are.
    """
    await asyncio.sleep(max(0.0, began + over_s * part / parts - clock.monotonic()))
    ahead = 1 + int((clock.monotonic() - began) / over_s * parts)
    return min(parts, max(part + 1, ahead))
