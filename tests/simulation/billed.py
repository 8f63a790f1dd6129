"""A provider in virtual time that keeps a bill of its own, and fails a share of its calls.

It counts tokens its own way, pieces of words, of which nobody else knows. What it generated it
bills, whether or not anybody was there to take it; what it refused with an error it does not.
"""

import asyncio
import random
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import openai
from msgspec import Struct

from ai.assessor.source import Completion
from ai.chunks import ChatReader, Reader, Usage
from ai.handles import ResponsePosition
from ai.http.body import Chunks, pumped
from ai.prices import Price
from ai.provider import Body, Prompt
from loadtest.fakeopenai import rater, worder
from tests.support.speeches import DONE, FINISH, delta, event
from tests.unit.test_failures import refusal

_TOKEN = re.compile(r"\d{1,3}|[^\W\d_]{1,5}|[^\w\s]|_|\n+")
PIECE = 24
"""Bytes of a piece of the stream."""
TOKENS_PER_SECOND = 80.0
FIRST_TOKEN_S = 0.5


class Load(Struct):
    """How many calls run at the provider, of all models, and how many did at most."""

    running: int = 0
    most: int = 0

    def begin(self) -> None:
        self.running += 1
        self.most = max(self.most, self.running)

    def end(self) -> None:
        self.running -= 1


class Bill(Struct):
    """What the provider charges for one model, in millionths of a US dollar."""

    price: Price
    load: "Load"
    cost: int = 0
    told: int = 0
    """What of it is for calls whose usage was taken."""

    def charge(self, input_tokens: int, output_tokens: int, *, told: bool) -> None:
        cost = self.price.cost(Usage(input_tokens, 0, output_tokens))
        self.cost += cost
        self.told += cost if told else 0


def tokens_in(*texts: str) -> int:
    """How many tokens the provider counts."""
    return sum(len(_TOKEN.findall(text)) for text in texts)


class Faults:
    """Draws how a call goes: so many in a hundred are cut, answered by 500 or by 429."""

    def __init__(self, draw: random.Random, percent: float) -> None:
        self._draw = draw
        self._percent = percent

    def draw(self) -> str:
        place = self._draw.random() * 100
        if place >= self._percent:
            return ""
        return ("cut", "500", "429")[int(3 * place / self._percent)]

    def share(self) -> float:
        return self._draw.random()


class BilledModel:
    """See `ai.provider.Completions`: streams of Chat Completions."""

    stored = False

    def __init__(self, bill: Bill, faults: Faults, draw: random.Random) -> None:
        self._bill = bill
        self._faults = faults
        self._draw = draw

    def create(self, prompt: Prompt) -> tuple[Body, Reader]:
        return self._answer(prompt), ChatReader()

    def take_up(self, position: ResponsePosition) -> tuple[Body, Reader]:
        raise AssertionError(f"nothing is stored: {position}")

    async def forget(self, response_id: str) -> bool:
        raise AssertionError(response_id)

    async def aclose(self) -> None:
        pass

    @asynccontextmanager
    async def _answer(self, prompt: Prompt) -> AsyncGenerator[Chunks]:
        fault = self._faults.draw()
        if fault in ("500", "429"):
            await asyncio.sleep(0.1)
            raise refusal(int(fault), "server_error")
        self._bill.load.begin()
        try:
            async with pumped(self._stream(prompt, cut=fault == "cut")) as chunks:
                yield chunks
        finally:
            self._bill.load.end()

    async def _stream(self, prompt: Prompt, *, cut: bool) -> AsyncIterator[bytes]:
        length = self._draw.randrange(180, 420)
        text = ("I see, and I would like to hear more of how that went, step by step. " * 8)[
            :length
        ]
        pieces = [text[place : place + PIECE] for place in range(0, length, PIECE)]
        asked = tokens_in(prompt.instructions, prompt.input)
        said, told = 0, False
        try:
            await asyncio.sleep(FIRST_TOKEN_S)
            end = int(self._faults.share() * len(pieces)) if cut else len(pieces)
            for piece in pieces[:end]:
                await asyncio.sleep(PIECE / 4 / TOKENS_PER_SECOND)
                said += len(piece)
                yield delta(piece)
            if cut:
                raise httpx2.ReadError("cut")
            yield FINISH
            usage = {"prompt_tokens": asked, "completion_tokens": tokens_in(text[:said])}
            yield event({"choices": [], "usage": usage})
            told = True
            yield DONE
        finally:
            self._bill.charge(asked, tokens_in(text[:said]), told=told)


class BilledSource:
    """See `ai.assessor.source.Source`: ratings, or lines, whole."""

    def __init__(self, bill: Bill, faults: Faults, kind: str) -> None:
        self._bill = bill
        self._faults = faults
        self._kind = kind

    async def complete(self, prompt: Prompt, *, sampled: bool) -> Completion:
        del sampled
        fault = self._faults.draw()
        if fault in ("500", "429"):
            raise refusal(int(fault), "server_error")
        self._bill.load.begin()
        try:
            await asyncio.sleep(3.0)
        finally:
            self._bill.load.end()
        request = {"instructions": prompt.instructions, "input": prompt.input}
        text = worder.word(request) if self._kind == "lines" else rater.rate(request, None)
        asked, said = tokens_in(prompt.instructions, prompt.input), tokens_in(text)
        self._bill.charge(asked, said, told=fault != "cut")
        if fault == "cut":
            sent = httpx2.Request("POST", "https://provider.example/v1/chat/completions")
            raise openai.APIConnectionError(request=sent)
        return Completion(text=text, usage=Usage(asked, 0, said))

    async def aclose(self) -> None:
        pass
