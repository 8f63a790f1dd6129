"""The provider at the other end: opens streams, takes stored ones up again, erases them.

Chat Completions work with any provider that speaks that format; the rest is OpenAI's Responses API.
"""

import asyncio
import contextlib
import urllib.request
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import httpx2
import openai
import structlog
from msgspec import Struct
from msgspec.structs import replace
from openai import AsyncOpenAI, DefaultAioHttpClient

from ai.chunks import ChatReader, Reader, ResponsesReader
from ai.failures import BROKEN
from ai.handles import ResponsePosition
from ai.http.body import Body as Pushed
from ai.http.body import Chunks, pumped
from ai.http.transport import PushTransport
from ai.settings import AiSettings

FORGET_TIMEOUT_S = 5.0
KEEP_ALIVE_S = 30.0
"""How long a connection that nobody uses is kept."""


Body = AbstractAsyncContextManager[Chunks]
"""A call's body: entering it sends the request, leaving it closes or gives back the connection."""

_log = structlog.get_logger()


class Prompt(Struct, frozen=True):
    """What the model is told: the rules and the frame, then the interview so far and the task.

    ``output_tokens`` bounds the reply; None: as the settings say.
    """

    instructions: str
    input: str
    output_tokens: int | None = None

    @property
    def size(self) -> int:
        """The bytes of both as UTF-8."""
        return len(self.instructions.encode()) + len(self.input.encode())


class Completions(Protocol):
    """Where a model's turns come from; `Provider` is the real one."""

    @property
    def stored(self) -> bool:
        """Whether responses outlive their connection and can be taken up elsewhere."""
        ...

    def create(self, prompt: Prompt) -> tuple[Body, Reader]:
        """Return a new completion's stream, requested when it is entered, and its reader."""
        ...

    def take_up(self, position: ResponsePosition) -> tuple[Body, Reader]:
        """Return the stream of a stored response from behind ``position``, and its reader."""
        ...

    async def forget(self, response_id: str) -> bool:
        """Stop a stored response and erase it; whether the provider surely has it no more."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...


def open_client(settings: AiSettings) -> AsyncOpenAI:
    """Return a client that neither retries nor bounds reading: its callers do."""
    timeout = httpx2.Timeout(
        None, connect=settings.connect_timeout_s, pool=settings.connect_timeout_s
    )  # what is read is bounded by the call that reads it
    return AsyncOpenAI(
        api_key=settings.api_key,
        base_url=settings.base_url,
        max_retries=0,
        timeout=timeout,
        http_client=_http_client(settings, timeout),
    )


def _http_client(settings: AiSettings, timeout: httpx2.Timeout) -> httpx2.AsyncClient:
    if _proxied(settings.base_url):
        limits = httpx2.Limits(
            max_connections=settings.max_connections,
            max_keepalive_connections=settings.max_connections,
            keepalive_expiry=KEEP_ALIVE_S,
        )
        return DefaultAioHttpClient(timeout=timeout, limits=limits, follow_redirects=False)
    return httpx2.AsyncClient(
        transport=PushTransport(connections=settings.max_connections, keep_alive_s=KEEP_ALIVE_S),
        headers={"accept-encoding": "identity"},
        timeout=timeout,
        follow_redirects=False,
    )


def _proxied(url: str) -> bool:
    """Whether the environment names a proxy for ``url``, as `urllib.request` understands it."""
    parts = urlsplit(url)
    proxies = urllib.request.getproxies()
    named = parts.scheme in proxies or "all" in proxies
    return named and not urllib.request.proxy_bypass(parts.hostname or "")


class Provider:
    """One account at one provider. Connects with the first call; close it with `aclose`."""

    def __init__(self, settings: AiSettings, client: AsyncOpenAI | None = None) -> None:
        self._settings = settings
        self._client = client or open_client(settings)

    def sibling(self, model: str) -> "Provider":
        """Return the same account with another model, over the same connections."""
        return Provider(replace(self._settings, model=model), self._client)

    @property
    def stored(self) -> bool:
        """See `Completions.stored`."""
        return self._settings.api == "responses" and self._settings.background

    def create(self, prompt: Prompt) -> tuple[Body, Reader]:
        """See `Completions.create`."""
        if self._settings.api == "chat":
            return _pushed(lambda: self._chat(prompt)), ChatReader()
        return _pushed(lambda: self._responses(prompt)), ResponsesReader(strict=self.stored)

    def take_up(self, position: ResponsePosition) -> tuple[Body, Reader]:
        """See `Completions.take_up`."""
        reader = ResponsesReader(
            response_id=position.response_id, after=position.sequence, strict=True
        )
        return _pushed(lambda: self._rest(position)), reader

    async def forget(self, response_id: str) -> bool:
        """See `Completions.forget`."""
        try:
            async with asyncio.timeout(FORGET_TIMEOUT_S):
                await self._stop(response_id)
                await self._client.responses.delete(response_id)
        except openai.NotFoundError:
            return True
        except (*BROKEN, TimeoutError) as error:
            _log.warning("stored response not erased", error=type(error).__name__)
            return False
        return True

    async def aclose(self) -> None:
        """See `Completions.aclose`."""
        await self._client.close()

    async def _stop(self, response_id: str) -> None:
        responses = self._client.responses.with_streaming_response
        # A response that has ended cannot be stopped; whether it is gone, its deletion tells.
        with contextlib.suppress(*BROKEN):
            async with responses.cancel(response_id):
                pass  # its body, the whole response, is of no interest

    async def _rest(self, position: ResponsePosition) -> httpx2.Response:
        return await self._streamed(
            self._client.get,
            f"/responses/{quote(position.response_id, safe='')}",
            options={
                "params": {
                    "stream": True,
                    "starting_after": position.sequence,
                    "include_obfuscation": False,
                }
            },
        )

    async def _chat(self, prompt: Prompt) -> httpx2.Response:
        settings = self._settings
        body: dict[str, Any] = {
            "model": settings.model,
            "messages": [
                {"role": "system", "content": prompt.instructions},
                {"role": "user", "content": prompt.input},
            ],
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_completion_tokens": prompt.output_tokens or settings.max_output_tokens,
        }
        if settings.temperature is not None:
            body["temperature"] = settings.temperature
        if settings.reasoning_effort:
            body["reasoning_effort"] = settings.reasoning_effort
        return await self._streamed(self._client.post, "/chat/completions", body=body)

    async def _responses(self, prompt: Prompt) -> httpx2.Response:
        settings = self._settings
        body: dict[str, Any] = {
            "model": settings.model,
            "instructions": prompt.instructions,
            "input": prompt.input,
            "stream": True,
            "stream_options": {"include_obfuscation": False},
            "store": self.stored,  # stored by default, so it has to be said
            "max_output_tokens": prompt.output_tokens or settings.max_output_tokens,
        }
        if self.stored:
            body["background"] = True
        if settings.temperature is not None:
            body["temperature"] = settings.temperature
        if settings.reasoning_effort:
            body["reasoning"] = {"effort": settings.reasoning_effort}
        return await self._streamed(self._client.post, "/responses", body=body)

    async def _streamed(
        self, method: Callable[..., Awaitable[httpx2.Response]], path: str, **options: Any
    ) -> httpx2.Response:
        """Make a request by the client's general methods; its answer comes as it is.

        Those that know an endpoint take a millisecond longer: they compare all of the body with its
        types.
        """
        return await method(path, cast_to=httpx2.Response, stream=True, **options)


@asynccontextmanager
async def _pushed(opening: Callable[[], Awaitable[httpx2.Response]]) -> AsyncGenerator[Chunks]:
    """Go past the client's layers that decode and count, where there is nothing to decode.

    They cost more for each chunk than reading it does. The request is made when the body is
    entered.
    """
    response = await opening()
    body: Pushed | None = response.extensions.get("body")
    if body is None or response.headers.get("content-encoding", "identity") != "identity":
        try:
            async with pumped(response.aiter_bytes()) as chunks:
                yield chunks
        finally:
            await response.aclose()
        return
    del opening, response  # the prompt is in them, and they would last as long as the stream does
    try:
        yield body
    finally:
        await body.aclose()
