"""One reply being generated: token by token, at a pace, with its fault."""

import asyncio
import random
from collections.abc import AsyncIterator

from msgspec import Struct

from loadtest.fakeopenai.faults import Fault
from loadtest.fakeopenai.script import said


class Broken(Exception):  # noqa: N818 - how a stream ends, as its fault has it
    """The stream ends here; ``how`` is the fault's kind."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


class Pace(Struct, frozen=True):
    """How fast the model is."""

    tokens_per_second: float
    first_token_s: float


async def speak(
    tokens: list[str], pace: Pace, fault: Fault | None, draw: random.Random
) -> AsyncIterator[str]:
    """Give the tokens in their time.

    Raises:
        Broken: the fault's moment has come.
    """
    kind = fault.kind if fault else ""
    await asyncio.sleep(fault.seconds if fault and kind == "slow" else pace.first_token_s)
    if kind == "empty":
        return
    for place, token in enumerate(tokens):
        if fault and place == fault.tokens:
            match kind:
                case "stall":
                    await asyncio.sleep(fault.seconds)
                case "cut" | "no_end" | "malformed" | "refused" | "failed":
                    raise Broken(kind)
                case "surrogate":
                    yield "\ud83e"
                    yield "\udd81"
                case "nul":
                    yield "\x00"
                case _:
                    pass
        yield said(token)
        if pace.tokens_per_second:
            await asyncio.sleep(draw.uniform(0.5, 1.5) / pace.tokens_per_second)
