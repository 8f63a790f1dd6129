"""When Python looks for cycles that nobody holds: everything stands still meanwhile.

Nearly all that an interview leaves behind is freed as it is let go of; cycles come from libraries,
few and small. To look through all objects of an instance with 2,500 interviews takes a fifth of a
second, in which no word goes out. Python does that whenever a quarter has been added, and goes
through the newer ones, ten thousand and more at a time, in between. Here it looks at few and often,
at each twice, and at all of them when no turn runs, or every quarter of an hour.

Source: Python documentation, `gc`: generations, `gc.freeze`.
"""

import asyncio
import gc
from collections.abc import Callable

YOUNG = 1_000
"""So many more objects than at the last look lead to the next one, at those that are new."""
TWICE = 2
"""Behind more than so many looks, one takes in what they left."""
NEVER = 2**30
LOOK_S = 5.0
CALM_S = 300.0
"""All are looked through that long after the last time, in a moment in which no turn runs .."""
MOST_S = 900.0
""".. or at the latest. That bounds what gathers, and is rare enough for a fifth of a second."""


def settle() -> None:
    """Keep what is loaded by now out of every look; to be called once, before the work begins."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, TWICE, NEVER)


async def run(turns: Callable[[], int]) -> None:
    """Look through everything now and then; ``turns`` tells how many run. Owned by the instance."""
    now = asyncio.get_running_loop().time
    last = now()
    while True:
        await asyncio.sleep(LOOK_S)
        since = now() - last
        if since >= MOST_S or (since >= CALM_S and not turns()):
            gc.collect()
            last = now()
