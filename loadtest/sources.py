"""Where the interviewer's words come from in a run of the harness."""

import contextlib
from collections.abc import AsyncGenerator, Mapping
from typing import Literal

from loadtest.fakeopenai import FakeOpenAI, Options

Source = Literal["bank", "chat", "responses"]
SOURCES: tuple[Source, ...] = ("bank", "chat", "responses")

_API = {
    "chat": {"VIVA_API": "chat"},
    "responses": {"VIVA_API": "responses", "VIVA_BACKGROUND": "1"},
}


@contextlib.asynccontextmanager
async def speaking(
    source: Source, options: Options | None = None
) -> AsyncGenerator[tuple[Mapping[str, str], FakeOpenAI | None]]:
    """Give the settings of instances that speak so, and the fake provider where there is one.

    ``responses`` are stored ones: any instance can go on with an attempt.
    """
    options = options or Options()
    if source == "bank":
        yield {"VIVA_BANK_PACE": str(options.tokens_per_second)}, None
        return
    async with FakeOpenAI(options).running() as fake:
        key = {"OPENAI_API_KEY": "a key of the fake", "OPENAI_BASE_URL": fake.url}
        # Each turn is the model's own: shared wordings would spare it what is to be measured.
        yield {**_API[source], **key, "VIVA_QUESTION_CACHE": "0"}, fake
