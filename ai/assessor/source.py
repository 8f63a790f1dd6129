"""Where whole completions come from: one request, one body, of either of OpenAI's APIs.

Provider-side storage is refused in so many words: both APIs may store by default.
"""

from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol

import msgspec
from msgspec import Struct
from openai import AsyncAPIResponse

from ai.assessor.replies import SCHEMA
from ai.chunks import ChatUsage, ErrorBody, ResponsesUsage, Usage, decode_whole
from ai.failures import CallFailedError, Remedy
from ai.provider import Prompt, open_client
from ai.settings import AiSettings

WholeApi = Literal["chat", "responses"]


class Form(Struct, frozen=True):
    """The JSON schema that a reply keeps, and its name."""

    name: str
    schema: dict[str, Any]


BODY_BYTES = 1_000_000
"""More than this is no rating."""
RATING = Form("rating", SCHEMA)


class Completion(Struct, frozen=True, kw_only=True):
    """What came back of a call that the provider accepted."""

    text: str = ""
    cut: bool = False
    """Whether the text ends at the limit of tokens."""
    usage: Usage | None = None
    failure: CallFailedError | None = None


class Source(Protocol):
    """Gives completions in one form; `OpenAISource` is the real one."""

    async def complete(self, prompt: Prompt, *, sampled: bool) -> Completion:
        """Make one call. ``sampled``: others are made of the same prompt and shall differ.

        Raises:
            one of `ai.failures.BROKEN`: the call was refused or broke.
            CallFailedError: what came is no body of this API.
        """
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...


class OpenAISource:
    """One account at one provider. Connects with the first call."""

    def __init__(self, settings: AiSettings, form: Form = RATING) -> None:
        self._settings = settings
        self._form = form
        self._client = open_client(settings)

    async def complete(self, prompt: Prompt, *, sampled: bool) -> Completion:
        """See `Source.complete`."""
        ask = self._chat if self._settings.api == "chat" else self._respond
        return read_body(await ask(prompt, sampled=sampled), self._settings.api)

    async def aclose(self) -> None:
        """See `Source.aclose`."""
        await self._client.close()

    async def _chat(self, prompt: Prompt, *, sampled: bool) -> bytes:
        body = self._body(prompt, sampled=sampled)
        create: Any = self._client.chat.completions.with_streaming_response.create
        return await _whole(create(**body))

    async def _respond(self, prompt: Prompt, *, sampled: bool) -> bytes:
        body = self._body(prompt, sampled=sampled)
        create: Any = self._client.responses.with_streaming_response.create
        return await _whole(create(**body))

    def _body(self, prompt: Prompt, *, sampled: bool) -> dict[str, Any]:
        settings = self._settings
        return request_body(
            settings, self._form, prompt, settings.api, settings.assessor_model, sampled=sampled
        )


def request_body(
    settings: AiSettings,
    form: Form,
    prompt: Prompt,
    api: WholeApi,
    model: str,
    *,
    sampled: bool,
) -> dict[str, Any]:
    """Return what is sent, live or as a line of a batch."""
    schema = {"name": form.name, "strict": True, "schema": form.schema}
    most = prompt.output_tokens or settings.assessor_output_tokens
    # 0 where a temperature may be given; samples that shall differ keep the configured one.
    given = settings.temperature
    warmth = {} if given is None else {"temperature": given if sampled else 0.0}
    if api == "chat":
        return {
            "model": model,
            "messages": [
                {"role": "system", "content": prompt.instructions},
                {"role": "user", "content": prompt.input},
            ],
            "response_format": {"type": "json_schema", "json_schema": schema},
            "store": False,
            "max_completion_tokens": most,
            **warmth,
        }
    return {
        "model": model,
        "instructions": prompt.instructions,
        "input": prompt.input,
        "text": {"format": {"type": "json_schema", **schema}},
        "store": False,
        "max_output_tokens": most,
        **warmth,
    }


class _Message(Struct, frozen=True):
    content: str | None = None
    refusal: str | None = None


class _Choice(Struct, frozen=True):
    message: _Message | None = None
    finish_reason: str | None = None


class _ChatBody(Struct, frozen=True):
    choices: list[_Choice] | None = None
    usage: ChatUsage | None = None
    error: ErrorBody | None = None


class _Part(Struct, frozen=True):
    type: str = ""
    text: str | None = None


class _Item(Struct, frozen=True):
    type: str = ""
    content: list[_Part] | None = None


class _Incomplete(Struct, frozen=True):
    reason: str | None = None


class _ResponsesBody(Struct, frozen=True):
    status: str | None = None
    output: list[_Item] | None = None
    usage: ResponsesUsage | None = None
    error: ErrorBody | None = None
    incomplete_details: _Incomplete | None = None


_chat = msgspec.json.Decoder(_ChatBody)
_responses = msgspec.json.Decoder(_ResponsesBody)


def _refused() -> CallFailedError:
    return CallFailedError("refused", Remedy.BANK)


def read_body(body: bytes, api: WholeApi) -> Completion:
    """Return what a body of ``api`` says.

    Raises:
        CallFailedError: it is none.
    """
    return read_chat(body) if api == "chat" else read_responses(body)


def read_chat(body: bytes) -> Completion:
    """Return what a Chat Completions body says.

    Raises:
        CallFailedError: it is none.
    """
    read = decode_whole(_chat, body)
    usage = read.usage and read.usage.counted()
    if read.error is not None:
        return Completion(usage=usage, failure=read.error.failure())
    if not read.choices or read.choices[0].message is None:
        return Completion(usage=usage, failure=CallFailedError("malformed"))
    choice, message = read.choices[0], read.choices[0].message
    if choice.finish_reason == "content_filter" or message.refusal:
        return Completion(usage=usage, failure=_refused())
    return Completion(text=message.content or "", cut=choice.finish_reason == "length", usage=usage)


def read_responses(body: bytes) -> Completion:
    """Return what a Responses body says.

    Raises:
        CallFailedError: it is none.
    """
    read = decode_whole(_responses, body)
    usage = read.usage and read.usage.counted()
    if read.error is not None or read.status in ("failed", "cancelled"):
        return Completion(usage=usage, failure=(read.error or ErrorBody()).failure())
    if read.output is None:
        return Completion(usage=usage, failure=CallFailedError("malformed"))
    parts = [part for item in read.output if item.type == "message" for part in item.content or ()]
    why = read.incomplete_details.reason if read.incomplete_details else None
    if why == "content_filter" or any(part.type == "refusal" for part in parts):
        return Completion(usage=usage, failure=_refused())
    text = "".join(part.text or "" for part in parts if part.type == "output_text")
    return Completion(text=text, cut=read.status == "incomplete", usage=usage)


async def _whole(opening: AbstractAsyncContextManager[AsyncAPIResponse[Any]]) -> bytes:
    body = bytearray()
    async with opening as response:
        async for chunk in response.iter_bytes():
            body += chunk
            if len(body) > BODY_BYTES:
                raise CallFailedError("malformed")
    return bytes(body)
