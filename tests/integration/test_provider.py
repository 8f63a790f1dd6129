"""The interviewer through the real client, against a real server that sends raw bytes."""

import asyncio
import gc
import json
import warnings
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from msgspec.structs import replace

from ai.build import assemble
from ai.handles import ResponsePosition
from ai.interviewer import Interviewer
from ai.provider import Prompt, Provider
from ai.retries import OUTAGE_AFTER
from ai.settings import AiSettings
from ai.speech import AttemptFailedError, TurnRequest
from tests.support.raw_http import Answer, RawServer, Reply, Request, Step, raw_server
from tests.support.speeches import (
    BANK_TEXT,
    DONE,
    FINISH,
    REQUEST,
    USAGE,
    End,
    Fallback,
    FixedClock,
    Rows,
    Words,
    delta,
    event,
    listen,
    spoken,
    text_of,
)

pytestmark = pytest.mark.anyio

QUICK = AiSettings(
    api_key="sk-test",
    first_token_timeout_s=1.6,  # long beside what a busy machine adds
    token_timeout_s=1.2,
    patience_s=2.8,
    bank_words_per_second=0,
)
STORED = replace(QUICK, api="responses", background=True)
HELLO = (delta("Hel"), delta("lo"), FINISH, USAGE, DONE)


def _bank(_request: TurnRequest) -> str:
    return BANK_TEXT


@asynccontextmanager
async def speaking(
    server: RawServer, rows: Rows | None = None, settings: AiSettings = QUICK
) -> AsyncGenerator[Interviewer]:
    """Yield an interviewer that asks ``server``, and close it."""
    settings = replace(settings, base_url=server.url)
    provider = Provider(settings)
    others = [provider.sibling(name) for name in settings.fallback_models]
    speaker = assemble(settings, rows or Rows(), FixedClock(0.05), provider, _bank, others=others)
    try:
        yield speaker
    finally:
        await speaker.aclose()


def _in_turn(*replies: Reply) -> Answer:
    left = list(replies)
    return lambda _request: left.pop(0) if len(left) > 1 else left[0]


def _error(status: int, code: str = "x", **headers: str) -> Reply:
    body = msgspec.json.encode({"error": {"code": code, "type": code, "message": "secret"}})
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply([body], status, {"content-type": "application/json", **given})


async def test_a_chat_request_holds_what_it_should() -> None:
    rows = Rows()
    settings = replace(QUICK, temperature=0.5, reasoning_effort="low", max_output_tokens=99)
    async with (
        raw_server(_in_turn(Reply(HELLO))) as server,
        speaking(server, rows, settings) as speaker,
    ):
        items = await listen(speaker)
    assert items == [Words("Hel"), Words("lo"), End("model")]
    assert rows.ends == [("completed", "")]
    (request,) = server.requests
    assert (request.method, request.target) == ("POST", "/v1/chat/completions")
    assert request.headers["authorization"] == "Bearer sk-test"
    body = request.json()
    messages = body.pop("messages")
    assert isinstance(messages, list)
    assert body == {
        "model": settings.model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_completion_tokens": 99,
        "temperature": 0.5,
        "reasoning_effort": "low",
    }


async def test_a_responses_request_stores_nothing_unless_it_is_switched_on() -> None:
    for settings in (STORED, replace(STORED, background=False)):
        async with (
            raw_server(_in_turn(Reply(_stored("Hi")))) as server,
            speaking(server, None, settings) as speaker,
        ):
            assert text_of(await listen(speaker)) == "Hi"
            body = server.requests[0].json()
        assert server.requests[0].target == "/v1/responses"
        assert body["store"] is settings.background
        assert body.get("background", False) is settings.background
        assert "temperature" not in body


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
async def test_chunks_cut_anywhere_change_nothing(size: int) -> None:
    whole = b"".join(
        (
            delta("a😀"),
            event(rb'{"choices":[{"delta":{"content":"\ud83d"}}]}'),
            event(rb'{"choices":[{"delta":{"content":"\ude00\u0000."}}]}'),
            *HELLO,
        )
    )
    steps = [whole[at : at + size] for at in range(0, len(whole), size)]
    async with raw_server(_in_turn(Reply(steps))) as server, speaking(server) as speaker:
        assert text_of(await listen(speaker)) == "a😀😀.Hello"


@pytest.mark.parametrize(
    ("reply", "code", "calls"),
    [
        (_error(429, "rate_limit_exceeded"), "rate_limited", 3),
        (_error(429, "rate_limit_exceeded", retry_after_ms="50"), "rate_limited", 3),
        (_error(429, "rate_limit_exceeded", retry_after="30"), "rate_limited", 1),
        (_error(429, "insufficient_quota"), "quota_exhausted", 1),
        (_error(500), "provider_error", 3),
        (_error(401), "unauthorized", 1),
        (_error(404, "model_not_found"), "model_unknown", 1),
        (_error(400), "bad_request", 1),
        (Reply([b"moved"], 307, {"location": "/v1/elsewhere"}), "bad_request", 1),
        (Reply([b"<html>no JSON</html>"], 503), "provider_error", 3),
        (Reply([2.0, *HELLO]), "first_token_timeout", 2),
        (Reply([], cut=True), "stream_cut", 3),
        (Reply([]), "no_end", 3),
        (Reply([FINISH, DONE]), "empty", 3),
        (Reply([b"data: {oops\n\n"]), "malformed", 3),
        (Reply([b"data: \xff\n\n"]), "malformed", 3),
    ],
)
async def test_faults_before_the_first_word(reply: Reply, code: str, calls: int) -> None:
    rows = Rows()
    async with raw_server(_in_turn(reply)) as server, speaking(server, rows) as speaker:
        items = await listen(speaker)
    assert items[0] == Fallback(code)
    assert text_of(items) == BANK_TEXT
    assert len(server.requests) == calls
    assert rows.ends == [("failed", code)] * calls + [("completed", "")]


async def test_a_provider_that_is_not_there() -> None:
    rows = Rows()
    async with raw_server(_in_turn(Reply())) as server:
        pass
    async with speaking(server, rows) as speaker:
        items = await listen(speaker)
    assert items[0] == Fallback("unreachable")
    assert rows.ends == [("failed", "unreachable")] * 3 + [("completed", "")]
    assert all(row.exact and not row.input_tokens for row in rows.rows)


async def test_what_a_provider_that_hung_up_was_asked_may_cost_something() -> None:
    rows = Rows()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    settings = replace(QUICK, base_url=url)
    speaker = assemble(settings, rows, FixedClock(0.05), Provider(settings), _bank)
    items = await listen(speaker)
    await speaker.aclose()
    server.close()
    assert items[0] == Fallback("unreachable")
    calls = [row for row in rows.rows if row.api == "chat"]
    assert [(row.code, row.exact, row.output_tokens) for row in calls] == [
        ("unreachable", False, 0)
    ] * 3
    assert all(row.input_tokens > 0 for row in calls)


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_a_call_that_was_not_made_in_the_end_leaves_nothing(
    api: Literal["chat", "responses"],
) -> None:
    provider = Provider(replace(QUICK, api=api))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        provider.create(Prompt("rules", "interview"))
        provider.take_up(ResponsePosition("r", 1, 0, 1))
        gc.collect()
    assert told == []
    await provider.aclose()


@pytest.mark.parametrize(
    ("steps", "cut", "code"),
    [
        ([2.0], False, "token_timeout"),
        ([], True, "stream_cut"),
        ([], False, "no_end"),
        ([DONE], False, "no_end"),
        ([b"data: {oops\n\n"], False, "malformed"),
        ([event({"error": {"code": "server_error"}})], False, "provider_error"),
    ],
)
async def test_faults_behind_the_first_word(steps: Sequence[Step], cut: bool, code: str) -> None:  # noqa: FBT001
    rows, said, failed = Rows(), list[Any](), ""
    async with (
        raw_server(_in_turn(Reply([delta("Tell"), *steps], cut=cut))) as server,
        speaking(server, rows) as speaker,
    ):
        try:
            async for item in spoken(speaker, REQUEST):
                said.append(item)  # what came before the failure counts
        except AttemptFailedError as failure:
            failed = failure.reason
    assert (said, failed) == ([Words("Tell")], code)
    assert rows.ends == [("failed", code)]
    assert len(server.requests) == 1


async def test_a_connection_is_used_again() -> None:
    rows = Rows()
    async with raw_server(_in_turn(Reply(HELLO))) as server, speaking(server, rows) as speaker:
        for _ in range(5):
            await listen(speaker)
        assert server.connections == 1
    assert len(rows.rows) == 5


async def test_closing_the_speech_frees_the_connection_and_books_the_call() -> None:
    rows = Rows()
    async with (
        raw_server(_in_turn(Reply([delta("Tell"), 30.0]))) as server,
        speaking(server, rows) as speaker,
    ):
        speech = spoken(speaker, REQUEST)
        assert await anext(speech) == Words("Tell")
        async with asyncio.timeout(1):
            await speech.aclose()
            await server.gone.acquire()
        assert rows.ends == [("aborted", "")]


async def test_cancelling_before_the_first_token_frees_the_connection() -> None:
    rows, asked = Rows(), asyncio.Event()

    def answer(_request: Request) -> Reply:
        asked.set()
        return Reply([30.0])

    async with (
        raw_server(answer) as server,
        speaking(server, rows, replace(QUICK, first_token_timeout_s=20)) as speaker,
    ):
        listener = asyncio.ensure_future(listen(speaker))
        async with asyncio.timeout(1):
            await asked.wait()
            listener.cancel()
            await asyncio.wait([listener])
            await server.gone.acquire()
        assert rows.ends == [("aborted", "")]


async def test_the_pool_is_bounded_and_its_lack_is_no_stall() -> None:
    settings = replace(
        QUICK,
        max_connections=1,
        connect_timeout_s=0.1,
        token_timeout_s=30.0,
        fallback_models=("another",),
    )
    rows = Rows()
    answer = _in_turn(Reply([delta("Tell"), 30.0]))
    async with raw_server(answer) as server, speaking(server, rows, settings) as speaker:
        first = spoken(speaker, REQUEST)
        await anext(first)
        async with asyncio.timeout(10):
            for _ in range(OUTAGE_AFTER):
                items = await listen(speaker)
                assert items[0] == Fallback("connections_in_use")
            asked = [row for row in rows.rows if row.model != "bank"]
            assert [row.model for row in asked] == [settings.model] * OUTAGE_AFTER
            assert all(row.exact and row.input_tokens == 0 for row in asked)
            await first.aclose()
            again = spoken(speaker, REQUEST)  # it said nothing of the model
            await anext(again)
            await again.aclose()
        assert len(server.requests) == 2


# --- stored responses -----------------------------------------------------------------------------

TEXTS = ("Tell", " me\ud83d", "\ude00", " more", "\x00", " please")
WHOLE = "Tell me😀 more please"


def _stored(*texts: str, after: int = -1) -> list[Step]:
    usage = {"input_tokens": 50, "output_tokens": 6}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {"id": "resp_1"}},
        *({"type": "response.output_text.delta", "delta": text} for text in texts),
        {"type": "response.completed", "response": {"id": "resp_1", "usage": usage}},
    ]
    numbered = [{**item, "sequence_number": number} for number, item in enumerate(events)]
    return [event(json.dumps(item).encode()) for item in numbered[after + 1 :]]


def _store(request: Request) -> Reply:
    """Answer like the Responses API with one stored response."""
    url = urlsplit(request.target)
    if request.method == "POST" and url.path == "/v1/responses":
        return Reply(_stored(*TEXTS))
    if request.method == "GET" and url.path == "/v1/responses/resp_1":
        query = parse_qs(url.query)
        assert query["stream"] == ["true"]
        return Reply(_stored(*TEXTS, after=int(query["starting_after"][0])))
    if url.path in ("/v1/responses/resp_1", "/v1/responses/resp_1/cancel"):
        return Reply([b"{}"], headers={"content-type": "application/json"})
    return _error(404, "not_found")


async def test_another_instance_takes_over_at_every_piece() -> None:
    async with (
        raw_server(_store) as server,
        speaking(server, None, STORED) as first,
        speaking(server, None, STORED) as second,
    ):
        words = [item for item in await listen(first) if isinstance(item, Words)]
        assert text_of(words) == WHOLE
        for place, piece in enumerate(words):
            logged = text_of(words[: place + 1])
            request = replace(REQUEST, handle=piece.handle, logged=logged)
            assert second.resumable(piece.handle)
            items = await listen(second, request)
            assert logged + text_of(items) == WHOLE
            assert items[-1] == End("model")


async def test_a_stored_stream_is_taken_up_again_when_it_breaks() -> None:
    def answer(request: Request) -> Reply:
        return replace(_store(request), cut=True) if request.method == "POST" else _store(request)

    for kept in range(1, len(TEXTS) + 2):
        rows = Rows()

        def broken(request: Request, kept: int = kept) -> Reply:
            reply = answer(request)
            return replace(reply, steps=reply.steps[:kept]) if reply.cut else reply

        async with raw_server(broken) as server, speaking(server, rows, STORED) as speaker:
            items = await listen(speaker)
            assert text_of(items) == WHOLE
        assert rows.ends == [("failed", "stream_cut"), ("completed", "")]


async def test_a_stored_response_outlasts_a_lack_of_connections() -> None:
    def answer(request: Request) -> Reply:
        return Reply([*_stored(*TEXTS)[:2], 30.0]) if request.method == "POST" else _store(request)

    settings = replace(STORED, max_connections=1, connect_timeout_s=0.1, token_timeout_s=30.0)
    rows = Rows()
    async with raw_server(answer) as server, speaking(server, rows, settings) as speaker:
        first = spoken(speaker, REQUEST)
        piece = await anext(first)
        assert isinstance(piece, Words)
        request = replace(REQUEST, handle=piece.handle, logged=text_of([piece]))
        async with asyncio.timeout(10):
            second = asyncio.ensure_future(listen(speaker, request))
            while not rows.rows:  # noqa: ASYNC110  # the sink of rows has no event
                await asyncio.sleep(0.01)
            assert rows.rows[0].code == "connections_in_use"
            await first.aclose()
            assert text_of([piece, *await second]) == WHOLE


async def test_a_response_that_the_provider_has_not_fails_the_attempt() -> None:
    request = replace(REQUEST, handle="resp:resp_2:1:0:4", logged="Tell")
    async with raw_server(_store) as server, speaking(server, None, STORED) as speaker:
        with pytest.raises(AttemptFailedError, match="response_gone"):
            await listen(speaker, request)


async def test_forgetting_stops_and_erases() -> None:
    async with raw_server(_store) as server, speaking(server, None, STORED) as speaker:
        assert await speaker.forget("resp:resp_1:1:0:4")
        assert [(item.method, item.target) for item in server.requests] == [
            ("POST", "/v1/responses/resp_1/cancel"),
            ("DELETE", "/v1/responses/resp_1"),
        ]
        assert await speaker.forget("resp:resp_2:1:0:4")  # it is not there, which is as good
    async with speaking(server, None, STORED) as speaker:
        assert not await speaker.forget("resp:resp_1:1:0:4")


@pytest.mark.parametrize("status", [200, 404, 500])
@pytest.mark.parametrize("cut", ["POST", "DELETE"])
async def test_a_cut_answer_to_forgetting_is_no_more_than_a_refusal(status: int, cut: str) -> None:
    headers = {"content-type": "application/json"}
    broken = Reply([b'{"err'], status, headers, cut=True)

    def answer(request: Request) -> Reply:
        return broken if request.method == cut else _store(request)

    async with raw_server(answer) as server, speaking(server, None, STORED) as speaker:
        erased = await speaker.forget("resp:resp_1:1:0:4")
        assert [request.method for request in server.requests] == ["POST", "DELETE"]
        assert erased == (cut == "POST")
