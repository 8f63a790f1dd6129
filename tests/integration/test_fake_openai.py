"""The fake provider, asked by OpenAI's own client and by viva's interviewer."""

import contextlib
import hashlib
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import openai
import pytest
from openai import AsyncOpenAI

from loadtest.fakeopenai import FakeOpenAI, Options
from loadtest.fakeopenai.faults import Fault, Kind

pytestmark = pytest.mark.anyio
FAST = Options(tokens=12, tokens_per_second=400.0, first_token_s=0.0)


@contextlib.asynccontextmanager
async def asked() -> AsyncGenerator[tuple[FakeOpenAI, AsyncOpenAI]]:
    async with FakeOpenAI(FAST).running() as fake:
        client = AsyncOpenAI(api_key="k", base_url=fake.url, max_retries=0)
        try:
            yield fake, client
        finally:
            await client.close()


async def chat(client: AsyncOpenAI) -> tuple[str, str | None, int]:
    """A streamed completion: its text, why it ended, and the tokens in its usage."""
    stream = await client.chat.completions.create(
        model="m",
        messages=[{"role": "user", "content": "Ask me."}],
        stream=True,
        stream_options={"include_usage": True},
    )
    text, finish, used = "", None, 0
    async for chunk in stream:
        used = chunk.usage.completion_tokens if chunk.usage else used
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
    return text, finish, used


async def test_a_chat_completion_and_its_place_on_the_bill() -> None:
    async with asked() as (fake, client):
        text, finish, used = await chat(client)
        (call,) = fake.bill.calls
        assert (text, finish, used) == (call.text, "stop", call.tokens)
        assert (call.outcome, len(text) > 20) == ("completed", True)


async def test_a_reader_that_leaves_is_on_the_bill_as_aborted() -> None:
    async with asked() as (fake, client):
        stream = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Ask me."}], stream=True
        )
        async for _ in stream:
            break
        await stream.close()
        await chat(client)
        assert [call.outcome for call in fake.bill.calls] == ["aborted", "completed"]


async def test_without_a_key_nothing_is_told() -> None:
    async with FakeOpenAI(FAST).running() as fake, aiohttp.ClientSession() as session:
        reply = await session.post(f"{fake.url}/chat/completions", json={"messages": []})
        assert (reply.status, (await reply.json())["error"]["code"]) == (401, "invalid_api_key")


async def test_a_stored_response_is_taken_up_behind_every_event() -> None:
    async with asked() as (fake, client):
        events: list[Any] = []
        stream = await client.responses.create(
            model="m", input="Ask me.", stream=True, background=True, store=True
        )
        async for event in stream:
            events.append(event)
            if len(events) == 6:
                break
        await stream.close()
        (call,) = fake.bill.calls
        whole = await client.responses.retrieve(call.id, stream=True)
        numbers = [event.sequence_number async for event in whole]
        assert numbers == list(range(len(numbers)))
        assert call.outcome == "completed"
        for after in numbers[:-1]:
            rest = await client.responses.retrieve(call.id, stream=True, starting_after=after)
            assert [event.sequence_number async for event in rest] == numbers[after + 1 :]
        await client.responses.delete(call.id)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(call.id)


async def test_a_stored_response_can_be_stopped() -> None:
    async with asked() as (fake, client):
        stream = await client.responses.create(
            model="m", input="Ask me.", stream=True, background=True, store=True
        )
        await stream.close()
        (call,) = fake.bill.calls
        stopped = await client.responses.cancel(call.id)
        assert stopped.status == "cancelled"
        assert call.outcome == "aborted"


@pytest.mark.parametrize("kind", ["cut", "no_end", "malformed", "refused", "empty", "nul"])
async def test_streams_break_as_they_are_told(kind: Kind) -> None:
    async with asked() as (fake, client):
        fake.faults.set([Fault(kind=kind, tokens=3, count=1)])
        try:
            text, finish, _ = await chat(client)
        except (openai.APIError, ValueError) as error:
            assert kind in ("cut", "malformed"), error  # noqa: PT017 - some streams end without one
        else:
            assert kind not in ("cut", "malformed")
            assert finish == {"no_end": None, "refused": "content_filter"}.get(kind, "stop")
            assert ("\x00" in text) == (kind == "nul")
        text, finish, _ = await chat(client)
        assert finish == "stop"  # the fault is used up


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(kind="status", status=429, retry_after="1"), openai.RateLimitError),
        (Fault(kind="status", status=500), openai.InternalServerError),
        (Fault(kind="quota"), openai.RateLimitError),
    ],
)
async def test_calls_are_refused_as_they_are_told(fault: Fault, error: type[Exception]) -> None:
    async with asked() as (fake, client):
        fake.faults.set([fault])
        with pytest.raises(error):
            await chat(client)
        assert (len(fake.bill.calls), fake.bill.refused) == (0, 1)


async def test_the_same_seed_says_the_same() -> None:
    said: list[str] = []
    for _ in range(2):
        async with asked() as (_, client):
            texts = [(await chat(client))[0] for _ in range(3)]
            assert len(set(texts)) == 3
            said.append(hashlib.sha256("".join(texts).encode()).hexdigest())
    assert said[0] == said[1]


async def test_answers_that_do_not_stream_are_whole_and_on_the_bill() -> None:
    async with asked() as (fake, client):
        said = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Ask me."}]
        )
        responded = await client.responses.create(model="m", input="Ask me.")
        first, second = fake.bill.calls
        assert said.choices[0].message.content == first.text
        assert said.usage is not None
        assert said.usage.completion_tokens == first.tokens > 0
        assert responded.output_text == second.text
        assert responded.usage is not None
        assert responded.usage.output_tokens == second.tokens > 0
        assert (first.outcome, second.outcome) == ("completed", "completed")
