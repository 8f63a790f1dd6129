"""The two stream formats of OpenAI's API, read event by event into one shape.

Only the fields that matter are decoded; unknown ones are skipped, so that other providers'
additions do no harm. Sources: OpenAI API reference, "Chat Completions: streaming" and "Responses:
streaming".
"""

import json
from typing import Never, Protocol, TypeVar

import msgspec
from msgspec import Struct

from ai.failures import CallFailedError, Remedy, of_error_code
from ai.handles import nameable

_T = TypeVar("_T")


MOST_TOKENS = 10_000_000
"""More than any model takes or gives in one call: a count beyond is the provider's error."""


class Usage(Struct, frozen=True):
    """The provider's count of tokens."""

    input_tokens: int
    cached_tokens: int
    output_tokens: int


def _usage(asked: int, details: "_Details | None", said: int) -> Usage | None:
    """Return what was told; None where it cannot be: budgets, gate and estimates go by it."""
    cached = (details and details.cached_tokens) or 0
    if not all(0 <= count <= MOST_TOKENS for count in (asked, cached, said)):
        return None
    return Usage(asked, min(cached, asked), said)


class Reader(Protocol):
    """Reads one stream's events in order and remembers what they told besides text."""

    ended: str
    """Why the model stopped (``stop``, ``length``), empty until it has said so."""
    done: bool
    """Whether nothing more will come that matters."""
    usage: Usage | None
    response_id: str
    sequence: int

    def read(self, data: bytes) -> str:
        """Return the text of one event, empty where it has none.

        Raises:
            CallFailedError: the event is malformed, or tells an error or a refusal.
        """
        ...


class _Details(Struct, frozen=True):
    cached_tokens: int | None = None


class ErrorBody(Struct, frozen=True):
    """What went wrong, inside a stream or a body."""

    code: object = None
    type: object = None

    def failure(self) -> CallFailedError:
        """Return what it means."""
        return of_error_code(self.code or self.type)


class ChatUsage(Struct, frozen=True):
    """Usage as Chat Completions tell it."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _Details | None = None

    def counted(self) -> Usage | None:
        """Return it in the common form, None where it cannot be."""
        return _usage(self.prompt_tokens, self.prompt_tokens_details, self.completion_tokens)


class _ChatDelta(Struct, frozen=True):
    content: str | None = None
    refusal: str | None = None


class _Choice(Struct, frozen=True):
    delta: _ChatDelta | None = None
    finish_reason: str | None = None


class _ChatChunk(Struct, frozen=True):
    choices: list[_Choice] | None = None
    usage: ChatUsage | None = None
    error: ErrorBody | None = None


class ChatReader:
    """Reads a Chat Completions stream: text, a finish reason, usage, ``[DONE]``."""

    __slots__ = ("done", "ended", "usage")
    response_id = ""
    sequence = 0

    def __init__(self) -> None:
        self.ended = ""
        self.done = False
        self.usage: Usage | None = None

    def read(self, data: bytes) -> str:
        """See `Reader.read`."""
        if data == b"[DONE]":
            self.done = True
            return ""
        chunk = _decode(_CHAT, data)
        if chunk.error is not None:
            raise chunk.error.failure()
        if chunk.usage is not None:
            self.usage = chunk.usage.counted()
        if not chunk.choices:
            return ""
        choice = chunk.choices[0]
        if choice.finish_reason == "content_filter" or (choice.delta and choice.delta.refusal):
            raise CallFailedError("refused", Remedy.BANK)
        self.ended = choice.finish_reason or self.ended
        return (choice.delta and choice.delta.content) or ""


class ResponsesUsage(Struct, frozen=True):
    """Usage as Responses tell it."""

    input_tokens: int = 0
    output_tokens: int = 0
    input_tokens_details: _Details | None = None

    def counted(self) -> Usage | None:
        """Return it in the common form, None where it cannot be."""
        return _usage(self.input_tokens, self.input_tokens_details, self.output_tokens)


class _Incomplete(Struct, frozen=True):
    reason: str | None = None


class _Response(Struct, frozen=True):
    id: str = ""
    usage: ResponsesUsage | None = None
    error: ErrorBody | None = None
    incomplete_details: _Incomplete | None = None


class _Event(Struct, frozen=True):
    type: str
    sequence_number: int | None = None
    delta: object = None
    response: _Response | None = None
    code: object = None
    error: ErrorBody | None = None


class ResponsesReader:
    """Reads a Responses stream.

    ``after`` is the sequence number behind which a stored response is taken up; what a provider
    repeats from before it is skipped. Where ``strict``, a hole in the numbers is a failure: text
    would be missing.
    """

    __slots__ = ("_strict", "done", "ended", "response_id", "sequence", "usage")

    def __init__(self, *, response_id: str = "", after: int = -1, strict: bool = False) -> None:
        self.ended = ""
        self.done = False
        self.usage: Usage | None = None
        self.response_id = response_id
        self.sequence = after
        self._strict = strict

    def read(self, data: bytes) -> str:
        """See `Reader.read`."""
        if data == b"[DONE]":
            return ""  # some gateways send it after Responses, too; the terminal events count
        event = _decode(_EVENT, data)
        number = event.sequence_number
        if number is not None:
            if self._strict and number <= self.sequence:
                return ""
            if self._strict and number > self.sequence + 1 and self.sequence >= 0:
                raise CallFailedError("stream_gap")
            self.sequence = number
        if event.type == "response.output_text.delta":
            return event.delta if isinstance(event.delta, str) else _malformed()
        self._note(event)
        return ""

    def _note(self, event: _Event) -> None:
        response = event.response
        if response is not None:
            # A response that no handle can name counts as not stored: nobody can take it up.
            if nameable(response.id):
                self.response_id = response.id
            if response.usage is not None:
                self.usage = response.usage.counted()
        match event.type:
            case "response.completed":
                self.ended, self.done = "stop", True
            case "response.incomplete":
                reason = response and response.incomplete_details
                if reason and reason.reason == "content_filter":
                    raise CallFailedError("refused", Remedy.BANK)
                self.ended, self.done = "length", True
            case "response.refusal.delta" | "response.refusal.done":
                raise CallFailedError("refused", Remedy.BANK)
            case "response.failed" | "response.cancelled":
                raise ((response and response.error) or ErrorBody()).failure()
            case "error":
                raise (event.error or ErrorBody(code=event.code)).failure()
            case _:
                pass


_CHAT = msgspec.json.Decoder(_ChatChunk)
_EVENT: msgspec.json.Decoder[_Event] = msgspec.json.Decoder(_Event)


def _decode(decoder: msgspec.json.Decoder[_T], data: bytes) -> _T:
    try:
        return decoder.decode(data)
    except (ValueError, RecursionError):  # msgspec's errors and UnicodeDecodeError
        if b"\\u" not in data:
            _malformed()
    # Half a surrogate pair, which providers do send; msgspec refuses it, the standard library does
    # not. The other half may come with the next chunk.
    try:
        return msgspec.convert(json.loads(data), decoder.type)
    except (ValueError, RecursionError):
        _malformed()


def decode_whole(decoder: msgspec.json.Decoder[_T], data: bytes) -> _T:
    """Return what ``data`` says, with a question mark for each half of a surrogate pair.

    Raises:
        CallFailedError: it is malformed.
    """
    try:
        try:
            return decoder.decode(data)
        except ValueError:
            plain = json.dumps(json.loads(data), ensure_ascii=False)
            return decoder.decode(plain.encode(errors="replace"))
    except (ValueError, RecursionError):
        _malformed()


def _malformed() -> Never:
    raise CallFailedError("malformed") from None
