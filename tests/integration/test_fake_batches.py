"""The fake provider's Batch API, used by OpenAI's own client."""

import contextlib
import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from loadtest.fakeopenai import FakeOpenAI, Options
from loadtest.fakeopenai.batches import Fate
from loadtest.fakeopenai.faults import Fault

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def asked() -> AsyncGenerator[tuple[FakeOpenAI, AsyncOpenAI]]:
    async with FakeOpenAI(Options(first_token_s=0.0)).running() as fake:
        client = AsyncOpenAI(api_key="k", base_url=fake.url, max_retries=0)
        try:
            yield fake, client
        finally:
            await client.close()


def line(name: str, said: str = "Ask me.") -> dict[str, Any]:
    body = {"model": "m", "messages": [{"role": "user", "content": said}]}
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}


async def begin(client: AsyncOpenAI, lines: Sequence[dict[str, Any]]) -> str:
    data = b"".join(json.dumps(each).encode() + b"\n" for each in lines)
    file = await client.files.create(file=("in.jsonl", data), purpose="batch")
    batch = await client.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"ours": "1"},
    )
    return batch.id


async def told(client: AsyncOpenAI, file_id: str | None) -> list[dict[str, Any]]:
    assert file_id is not None
    content = await client.files.content(file_id)
    return [json.loads(each) for each in content.content.splitlines()]


async def test_lines_come_back_by_their_names_and_are_on_the_bill() -> None:
    async with asked() as (fake, client):
        fake.faults.set([Fault(kind="status", status=500, prompt="Fail.")])
        name = await begin(client, [line("a"), line("b", "Fail."), line("c")])
        batch = await client.batches.retrieve(name)
        assert (batch.status, batch.metadata) == ("completed", {"ours": "1"})
        answers = await told(client, batch.output_file_id)
        assert [each["custom_id"] for each in answers] == ["a", "c"]
        assert answers[0]["response"]["body"]["choices"][0]["message"]["content"]
        (failed,) = await told(client, batch.error_file_id)
        assert (failed["custom_id"], failed["response"]["status_code"]) == ("b", 500)
        assert [call.batch for call in fake.bill.calls] == [name, name]


async def test_a_batch_takes_its_time_and_may_expire() -> None:
    async with asked() as (fake, client):
        fake.batches.fate = Fate(seconds=60.0)
        name = await begin(client, [line("a"), line("b")])
        assert (await client.batches.retrieve(name)).status == "in_progress"
        fake.batches.fate = Fate(status="expired", share=0.5)
        batch = await client.batches.retrieve(name)
        assert batch.status == "expired"
        assert len(await told(client, batch.output_file_id)) == 1
        (late,) = await told(client, batch.error_file_id)
        assert (late["custom_id"], late["error"]["code"]) == ("b", "batch_expired")


async def test_batches_and_files_are_listed_newest_first_and_deleted() -> None:
    async with asked() as (fake, client):
        names = [await begin(client, [line("a")]) for _ in range(3)]
        page = await client.batches.list(limit=2)
        assert [each.id for each in page.data] == names[:0:-1]
        assert [each.id for each in (await page.get_next_page()).data] == names[:1]
        files = (await client.files.list(purpose="batch")).data
        assert [file.filename for file in files] == ["in.jsonl"] * 3
        await client.files.delete(files[0].id)
        assert len(fake.batches.files) == 2


async def test_a_provider_without_batches_and_a_reply_that_gets_lost() -> None:
    async with asked() as (fake, client):
        fake.batches.fate = Fate(lost=1)
        with pytest.raises(openai.APIConnectionError):
            await begin(client, [line("a")])
        assert len(fake.batches.batches) == 1
        fake.batches.fate = Fate(absent=True)
        with pytest.raises(openai.NotFoundError):
            await begin(client, [line("a")])
