"""Streams without a fault, at the least cost: frames encoded beforehand, one write a token.

A harness that measures a server must not be what is measured: 300 such streams at 30 tokens a
second take a fifth of a core, nearly all of it for the writes themselves; awaiting each token takes
four times as much.
"""

import asyncio
import functools
import json
import random

from loadtest.fakeopenai import chat
from loadtest.fakeopenai.bill import Call
from loadtest.fakeopenai.script import said
from loadtest.fakeopenai.speech import Pace
from loadtest.fakeopenai.wheel import Wheel

_HOLE = "\N{REPLACEMENT CHARACTER}"


@functools.lru_cache(maxsize=4096)
def _quoted(token: str) -> bytes:
    return json.dumps(token).encode()[1:-1]


class Stream:
    """The tokens of one reply on their way, in chunks of HTTP/1.1 (RFC 9112, §7.1)."""

    def __init__(
        self,
        call: Call,
        tokens: list[str],
        pace: Pace,
        draw: random.Random,
        *,
        transport: asyncio.WriteTransport,
        wheel: Wheel,
    ) -> None:
        self._call = call
        self._tokens = iter(tokens)
        self._draw = draw.random
        self._mean_s = 1 / pace.tokens_per_second
        self._write = transport.write
        self._wheel = wheel
        frame = chat.chunk(call, {"content": _HOLE})
        self._head, _, self._tail = frame.partition(_quoted(_HOLE))
        self._around = len(self._head) + len(self._tail)
        self._spoken: list[str] = []
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + pace.first_token_s
        self._over: asyncio.Future[None] = self._loop.create_future()

    async def run(self) -> None:
        """Speak to the end; cancel it where the reader has left."""
        self._wheel.at(self._due, self._speak)
        try:
            await self._over
        finally:
            self._over.cancel()
            self._call.text = "".join(self._spoken)

    def _speak(self) -> float | None:
        if self._over.done():
            return None
        token = next(self._tokens, None)
        if token is None:
            self._over.set_result(None)
            return None
        text = said(token)
        quoted = _quoted(text) if text is token else text.encode()
        self._call.tokens += 1
        self._spoken.append(text)
        length = self._around + len(quoted)
        self._write(b"%x\r\n%b%b%b\r\n" % (length, self._head, quoted, self._tail))
        self._due += (0.5 + self._draw()) * self._mean_s
        return self._due
