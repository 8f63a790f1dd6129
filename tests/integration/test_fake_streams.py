"""The fake provider's streams that cost little: their pace, their stamps, their bill."""

import asyncio
import time

import pytest
from openai import AsyncOpenAI

from loadtest.fakeopenai import FakeOpenAI, Options
from loadtest.fakeopenai.wheel import Wheel
from loadtest.stamps import ages_us, now_us

pytestmark = pytest.mark.anyio

STAMPS = Options(tokens=20, tokens_per_second=200.0, first_token_s=0.05, script="stamps")


async def test_a_stream_of_stamps_tells_when_each_token_was_sent() -> None:
    async with FakeOpenAI(STAMPS).running() as fake:
        client = AsyncOpenAI(api_key="k", base_url=fake.url, max_retries=0)
        ages: list[int] = []
        text = ""
        async for chunk in await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Ask me."}], stream=True
        ):
            said = chunk.choices[0].delta.content or ""
            text += said
            ages += ages_us(said, now_us())
        await client.close()
        (call,) = fake.bill.calls
        assert (call.outcome, call.text, call.tokens) == ("completed", text, len(ages))
        assert len(ages) >= 10
        assert sorted(ages)[len(ages) // 2] < 1_000_000, "each is fresh when it arrives"
        together = ages_us(text, now_us())
        assert together == sorted(together, reverse=True), "sent one after the other"
        assert together[0] - together[-1] > 0.4 * 1e6 * len(ages) / STAMPS.tokens_per_second


async def test_a_reader_that_leaves_stops_its_stream() -> None:
    endless = Options(tokens=100_000, tokens_per_second=500.0, first_token_s=0.0)
    async with FakeOpenAI(endless).running() as fake:
        client = AsyncOpenAI(api_key="k", base_url=fake.url, max_retries=0)
        stream = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Ask me."}], stream=True
        )
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                break
        await stream.close()
        await client.close()
        (call,) = fake.bill.calls
        async with asyncio.timeout(10):
            while call.outcome == "running":  # noqa: ASYNC110 - the server notices by itself
                await asyncio.sleep(0.02)
        spoken = call.tokens
        await asyncio.sleep(0.1)
        assert (call.outcome, call.tokens) == ("aborted", spoken)


async def test_the_wheel_calls_in_order_and_never_early() -> None:
    wheel, called = Wheel(tick_s=0.002), list[tuple[str, float]]()
    now = asyncio.get_running_loop().time()

    def due(name: str, again: list[float]) -> float | None:
        called.append((name, time.monotonic()))
        return again.pop() if again else None

    wheel.at(now + 0.03, lambda: due("late", []))
    repeated = [now + 0.02]
    wheel.at(now - 1.0, lambda: due("past", repeated))
    async with asyncio.timeout(5):
        while len(called) < 3:  # noqa: ASYNC110 - a timer is what is tested
            await asyncio.sleep(0.005)
    assert [name for name, _ in called] == ["past", "past", "late"]
    assert called[1][1] >= now + 0.02
    assert called[2][1] >= now + 0.03
    wheel.at(now + 0.1, lambda: due("never", []))
    wheel.stop()
    await asyncio.sleep(0.15)
    assert len(called) == 3
