from typing import Any

import msgspec
import pytest

from ai.chunks import ChatReader, Reader, ResponsesReader, Usage
from ai.failures import CallFailedError, Remedy


def _read(reader: Reader, *events: dict[str, Any] | bytes) -> str:
    encoded = (item if isinstance(item, bytes) else msgspec.json.encode(item) for item in events)
    return "".join(map(reader.read, encoded))


def _fails(reader: Reader, event: dict[str, Any] | bytes) -> CallFailedError:
    with pytest.raises(CallFailedError) as caught:
        _read(reader, event)
    return caught.value


def _chunk(**delta: Any) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def test_chat_text_end_and_usage() -> None:
    reader = ChatReader()
    text = _read(
        reader, _chunk(role="assistant", content=""), _chunk(content="Hel"), _chunk(content="lo")
    )
    assert text == "Hello"
    assert (reader.ended, reader.usage, reader.done) == ("", None, False)
    _read(
        reader,
        {"choices": [{"delta": {}, "finish_reason": "length"}]},
        {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}},
        b"[DONE]",
    )
    assert (reader.ended, reader.usage, reader.done) == ("length", Usage(9, 0, 4), True)


def test_chat_chunks_without_anything_of_interest() -> None:
    reader = ChatReader()
    odd = [{}, {"choices": None}, {"choices": [{"delta": None}]}, {"usage": None, "obfuscation": 1}]
    assert _read(reader, *odd, _chunk(content=None, reasoning_content="hm")) == ""


def test_cached_tokens_are_told() -> None:
    reader = ChatReader()
    details = {"prompt_tokens_details": {"cached_tokens": 5}}
    _read(reader, {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4} | details})
    assert reader.usage == Usage(9, 5, 4)


def test_half_a_surrogate_pair_is_read() -> None:
    data = b'{"choices": [{"delta": {"content": "a\\ud83d"}}]}'
    assert ChatReader().read(data) == "a\ud83d"
    event = b'{"type": "response.output_text.delta", "delta": "\\ude00b", "sequence_number": 4}'
    assert ResponsesReader().read(event) == "\ude00b"


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b'{"choices": [{"delta": {"content": "\\ud83d',
        b'{"choices": [{"delta": {"content": 5}}]}',
        b'{"choices": [{"delta": {"content": ["\\ud83d"]}}]}',
        b'{"choices": "\xff"}',
        b"upstream error",
        b'{"x": "\\ud83d", "y": ' + b"[" * 100_000,
        b'{"x": ' + b"[" * 100_000,
    ],
)
def test_a_malformed_chunk_is_a_failure_that_a_retry_may_mend(data: bytes) -> None:
    failure = _fails(ChatReader(), data)
    assert (failure.code, failure.remedy) == ("malformed", Remedy.RETRY)


@pytest.mark.parametrize(
    "event", [_chunk(refusal="I cannot"), {"choices": [{"finish_reason": "content_filter"}]}]
)
def test_a_refusal_in_chat(event: dict[str, Any]) -> None:
    failure = _fails(ChatReader(), event)
    assert (failure.code, failure.remedy) == ("refused", Remedy.BANK)


@pytest.mark.parametrize(
    ("error", "code", "remedy"),
    [
        ({"code": "server_error"}, "provider_error", Remedy.RETRY),
        ({"code": 502, "message": "x"}, "provider_error", Remedy.RETRY),
        ({"type": "insufficient_quota"}, "quota_exhausted", Remedy.SHUN),
        ({"code": "rate_limit_exceeded"}, "rate_limited", Remedy.RETRY),
        ({"code": "invalid_prompt"}, "bad_request", Remedy.BANK),
    ],
)
def test_errors_told_inside_a_stream(error: dict[str, Any], code: str, remedy: Remedy) -> None:
    event = {"type": "response.failed", "sequence_number": 3, "response": {"error": error}}
    for failure in (
        _fails(ChatReader(), {"error": error}),
        _fails(ResponsesReader(), event),
        _fails(ResponsesReader(), {"type": "error", **error} if "code" in error else event),
    ):
        assert (failure.code, failure.remedy) == (code, remedy)
        assert failure.gone


def _event(kind: str, number: int, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "sequence_number": number, **fields}


@pytest.mark.parametrize("count", [-1, 10**9])
@pytest.mark.parametrize("place", range(3))
def test_a_count_of_tokens_that_cannot_be_counts_as_untold(count: int, place: int) -> None:
    chat, responses, counts = ChatReader(), ResponsesReader(), [9, 4, 5]
    counts[place] = count
    asked, said, cached = counts
    details = {"cached_tokens": cached}
    told = {"prompt_tokens": asked, "completion_tokens": said, "prompt_tokens_details": details}
    _read(chat, {"choices": [], "usage": told})
    told = {"input_tokens": asked, "output_tokens": said, "input_tokens_details": details}
    _read(responses, _event("completed", 0, response={"id": "r", "usage": told}))
    assert chat.usage is responses.usage is None


@pytest.mark.parametrize("code", [{}, ["insufficient_quota"], 402, None])
def test_an_error_code_of_another_kind_is_an_error_all_the_same(code: Any) -> None:
    assert _fails(ChatReader(), {"error": {"code": code}}).code == "provider_error"


def test_responses_text_end_and_usage() -> None:
    reader = ResponsesReader(strict=True)
    text = _read(
        reader,
        _event("created", 0, response={"id": "resp_1", "usage": None}),
        _event("output_item.added", 1, item={"type": "message"}),
        _event("output_text.delta", 2, delta="Hel"),
        _event("reasoning_summary_text.delta", 3, delta="thinking"),
        _event("output_text.delta", 4, delta="lo"),
        _event("output_text.done", 5, text="Hello"),
    )
    assert (text, reader.response_id, reader.sequence) == ("Hello", "resp_1", 5)
    assert reader.ended == ""
    usage = {"input_tokens": 7, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 3}}
    _read(reader, _event("completed", 6, response={"id": "resp_1", "usage": usage}), b"[DONE]")
    assert (reader.ended, reader.usage, reader.done) == ("stop", Usage(7, 3, 2), True)


def test_an_incomplete_response_ends_too() -> None:
    reader = ResponsesReader()
    details = {"incomplete_details": {"reason": "max_output_tokens"}}
    _read(reader, _event("incomplete", 1, response=details))
    assert (reader.ended, reader.done) == ("length", True)


@pytest.mark.parametrize(
    "event",
    [
        _event("refusal.delta", 1, delta="I"),
        _event("refusal.done", 1, refusal="I"),
        _event("incomplete", 1, response={"incomplete_details": {"reason": "content_filter"}}),
    ],
)
def test_a_refusal_in_responses(event: dict[str, Any]) -> None:
    assert _fails(ResponsesReader(), event).code == "refused"


def test_what_was_read_before_is_skipped_when_taken_up() -> None:
    reader = ResponsesReader(response_id="resp_1", after=3, strict=True)
    repeated = [_event("output_text.delta", number, delta=str(number)) for number in range(6)]
    assert _read(reader, *repeated) == "45"


def test_a_hole_in_a_stored_stream_is_a_failure() -> None:
    reader = ResponsesReader(response_id="resp_1", after=3, strict=True)
    assert _fails(reader, _event("output_text.delta", 5, delta="x")).code == "stream_gap"


def test_unnumbered_responses_are_read_where_nothing_is_stored() -> None:
    events = [{"type": "response.output_text.delta", "delta": "a"}] * 2
    assert _read(ResponsesReader(), *events) == "aa"


def test_a_delta_that_is_no_text_is_malformed() -> None:
    assert _fails(ResponsesReader(), _event("output_text.delta", 1, delta={})).code == "malformed"
