"""The server: routes, streams, and the controls that a harness turns."""

import asyncio
import contextlib
import json
import random
import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Literal

import msgspec
from aiohttp import web
from msgspec import Struct

from loadtest.fakeopenai import chat, interviewer, rater, whole, worder
from loadtest.fakeopenai.batches import Batches
from loadtest.fakeopenai.bill import Bill, Call
from loadtest.fakeopenai.faults import Fault, Faults
from loadtest.fakeopenai.quick import Stream
from loadtest.fakeopenai.responses import Response
from loadtest.fakeopenai.script import stamps, tokens_of
from loadtest.fakeopenai.speech import Broken, Pace, speak
from loadtest.fakeopenai.wheel import Wheel

KEPT = 10_000
"""Stored responses; the oldest are forgotten."""
UPLOAD_BYTES = 64 * 1024 * 1024
STREAMS_END_S = 1.0
"""How long who is spoken to may still hear when the server stops."""
_SSE = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
_STATUS_CODES = {429: "rate_limit_exceeded", 401: "invalid_api_key"}


class Options(Struct, frozen=True, kw_only=True):
    """How the model speaks. ``tokens`` is the mean length of a reply; times in seconds.

    ``script``: words that mean nothing, stamps (:mod:`loadtest.stamps`), an interviewer who does
    its task, or an unruly one.
    """

    seed: int = 7
    tokens: int = 40
    tokens_per_second: float = 30.0
    first_token_s: float = 0.1
    script: Literal["words", "stamps", "interviewer", "unruly"] = "words"


class FakeOpenAI:
    """One fake provider. ``faults`` and ``bill`` may be used directly, or over HTTP."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self.faults = Faults()
        self.bill = Bill()
        self.batches = Batches(self._line)
        self.port = 0
        self._calls = 0
        self._draw = random.Random(self.options.seed)
        self._stored: dict[str, Response] = {}
        self._group: asyncio.TaskGroup | None = None
        self._wheel: Wheel | None = None

    @property
    def url(self) -> str:
        """What to set `OPENAI_BASE_URL` to."""
        return f"http://127.0.0.1:{self.port}/v1"

    @contextlib.asynccontextmanager
    async def running(self, port: int = 0) -> AsyncGenerator["FakeOpenAI"]:
        """Serve while the body runs."""
        runner = web.AppRunner(
            self._app(),
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=STREAMS_END_S,
        )
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port, backlog=1024)
        await site.start()
        self.port = runner.addresses[0][1]
        self._wheel = Wheel()
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                yield self
                for response in self._stored.values():
                    if response.task is not None:
                        response.task.cancel()
        finally:
            await runner.cleanup()
            self._wheel.stop()

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[_authorised], client_max_size=UPLOAD_BYTES)
        app.add_routes(
            [
                web.post("/v1/chat/completions", self._chat),
                web.post("/v1/responses", self._respond),
                web.get("/v1/responses/{id}", self._retrieve),
                web.post("/v1/responses/{id}/cancel", self._cancel),
                web.delete("/v1/responses/{id}", self._delete),
                web.get("/_control/bill", self._show_bill),
                web.get("/_control/totals", self._show_totals),
                web.post("/_control/faults", self._set_faults),
                web.get("/_control/health", _healthy),
                *self.batches.routes(),
            ]
        )
        return app

    # --- Chat Completions ---

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        call, tokens, fault = self._begin("chat", asked)
        refusal = self._refuse(call, fault)
        if refusal is not None:
            return refusal
        if not asked.get("stream"):
            return await self._whole(request, asked, call, tokens, fault)
        reply = web.StreamResponse(headers=_SSE)
        try:
            await reply.prepare(request)
            quick = self._quick(request, call, tokens) if fault is None else None
            async for piece in self._chat_chunks(call, tokens, fault, asked, quick):
                await reply.write(piece)
            await reply.write_eof()
        except ConnectionResetError:
            pass  # who asked has left
        except Broken as broken:
            if broken.how == "cut" and request.transport is not None:
                request.transport.abort()
        finally:
            if call.outcome == "running":
                call.outcome = "aborted"
        return reply

    async def _chat_chunks(
        self,
        call: Call,
        tokens: list[str],
        fault: Fault | None,
        asked: dict[str, Any],
        quick: Stream | None,
    ) -> AsyncIterator[bytes]:
        yield chat.chunk(call, {"role": "assistant", "content": ""})
        finish = "length" if len(tokens) == _limit(asked) else "stop"
        try:
            if quick is not None:
                await quick.run()  # past this generator, straight to the socket
            else:
                async for token in self._speak(tokens, fault):
                    _count(call, token)
                    yield chat.chunk(call, {"content": token})
        except Broken as broken:
            call.outcome = "failed"
            match broken.how:
                case "malformed":
                    yield b"data: {not json\n\n"
                case "failed":
                    yield chat.event({"error": _error("server_error", "The model failed.")})
                case "refused":
                    finish = "content_filter"
                case "no_end":
                    return
                case _:
                    raise
        yield chat.chunk(call, {}, finish)
        options: dict[str, Any] = asked.get("stream_options") or {}
        if options.get("include_usage"):
            yield chat.usage(call)
        yield chat.DONE
        if call.outcome == "running":
            call.outcome = "completed"

    def _quick(self, request: web.Request, call: Call, tokens: list[str]) -> Stream | None:
        """Return the stream that spares a task per token, where nothing is in its way."""
        transport, pace = request.transport, self._pace
        if transport is None or not pace.tokens_per_second:
            return None
        assert self._wheel is not None  # noqa: S101 - routes are served while it runs
        return Stream(call, tokens, pace, self._draw, transport=transport, wheel=self._wheel)

    # --- Responses ---

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        call, tokens, fault = self._begin("responses", asked)
        refusal = self._refuse(call, fault)
        if refusal is not None:
            return refusal
        if not asked.get("stream"):
            return await self._whole(request, asked, call, tokens, fault)
        response = Response(call)
        response.begin()
        # What breaks the connection does not break a response that the provider stores.
        on_the_way = fault if fault and fault.kind in ("cut", "malformed") else None
        work = self._generate(response, tokens, None if on_the_way else fault)
        assert self._group is not None  # noqa: S101 - routes are served while it runs
        response.task = self._group.create_task(work)
        if asked.get("background") or asked.get("store"):
            self._keep(response)
            return await self._stream(request, response, -1, on_the_way)
        try:
            return await self._stream(request, response, -1, on_the_way)
        finally:
            response.task.cancel()

    async def _generate(self, response: Response, tokens: list[str], fault: Fault | None) -> None:
        call = response.call
        try:
            async for token in self._speak(tokens, fault):
                _count(call, token)
                response.say(token)
            call.outcome = "completed"
            response.end("completed")
        except Broken as broken:
            call.outcome = "failed"
            match broken.how:
                case "failed":
                    response.end("failed")
                case "refused":
                    response.end("incomplete")
                case _:
                    response.stop()
        finally:
            if call.outcome == "running":
                call.outcome = "aborted"

    async def _retrieve(self, request: web.Request) -> web.StreamResponse:
        response = self._stored.get(request.match_info["id"])
        if response is None:
            return _problem(404, "not_found", "No such response.")
        if request.query.get("stream", "").lower() != "true":
            return web.json_response(response.shown())
        response.call.taken_up += 1
        return await self._stream(request, response, int(request.query.get("starting_after", -1)))

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        response = self._stored.get(request.match_info["id"])
        if response is None:
            return _problem(404, "not_found", "No such response.")
        if not response.over and response.task is not None:
            response.task.cancel()
            response.end("cancelled")
        return web.json_response(response.shown())

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        response = self._stored.pop(request.match_info["id"], None)
        if response is None:
            return _problem(404, "not_found", "No such response.")
        if response.task is not None:
            response.task.cancel()
        return web.json_response({"id": response.call.id, "object": "response", "deleted": True})

    async def _stream(
        self,
        request: web.Request,
        response: Response,
        after: int,
        fault: Fault | None = None,
    ) -> web.StreamResponse:
        reply = web.StreamResponse(headers=_SSE)
        with contextlib.suppress(ConnectionResetError):  # who listened is gone: the response is not
            await self._send(request, reply, response.read(after), fault)
        return reply

    async def _send(
        self,
        request: web.Request,
        reply: web.StreamResponse,
        events: AsyncIterator[bytes],
        fault: Fault | None,
    ) -> None:
        await reply.prepare(request)
        spoken = 0
        async for event in events:
            spoken += b"output_text.delta" in event
            if fault is not None and spoken > fault.tokens:
                if fault.kind == "cut" and request.transport is not None:
                    request.transport.abort()
                    return
                await reply.write(b"data: {not json\n\n")
                fault = None
            await reply.write(event)
        await reply.write_eof()

    def _keep(self, response: Response) -> None:
        self._stored[response.call.id] = response
        while len(self._stored) > KEPT:
            self._stored.pop(next(iter(self._stored)))

    # --- both ---

    def _begin(self, api: Any, asked: dict[str, Any]) -> tuple[Call, list[str], Fault | None]:
        self._calls += 1
        number, options = self._calls, self.options
        asked_with = (asked.get("instructions"), asked.get("messages") or asked.get("input"))
        prompt = json.dumps(asked_with)
        call = Call(
            id=f"{'chatcmpl' if api == 'chat' else 'resp'}_{options.seed}_{number}",
            api=api,
            model=str(asked.get("model", "fake")),
            prompt_tokens=len(prompt.split()),
        )
        tokens = self._tokens(asked, number)
        return call, tokens, self.faults.of(prompt)

    def _tokens(self, asked: dict[str, Any], number: int) -> list[str]:
        options = self.options
        length = max(1, round(self._draw.uniform(0.5, 1.5) * options.tokens))
        limit = _limit(asked)
        if options.script == "stamps":
            return stamps(length if limit is None else min(length, limit))
        if options.script == "words":
            return tokens_of(options.seed, number, length)[:limit]
        said = interviewer.speak(asked, options.seed, unruly=options.script == "unruly")
        return re.findall(r"\s*\S+", said)[:limit]

    async def _whole(
        self,
        request: web.Request,
        asked: dict[str, Any],
        call: Call,
        tokens: list[str],
        fault: Fault | None,
    ) -> web.StreamResponse:
        text = _written(asked, tokens, fault)
        return await whole.answer(request, call, text, fault, self.options.first_token_s)

    def _line(self, url: str, asked: dict[str, Any], batch: str) -> tuple[int, dict[str, Any]]:
        """Answer one line of a batch."""
        api = "chat" if url.endswith("/chat/completions") else "responses"
        call, tokens, fault = self._begin(api, asked)
        if fault is not None and fault.kind in ("status", "quota"):
            self.bill.refused += 1
            status = 429 if fault.kind == "quota" else fault.status
            return status, {
                "error": _error(_STATUS_CODES.get(status, "server_error"), "Asked for.")
            }
        call.batch = batch
        self.bill.open(call)
        return 200, whole.written(call, _written(asked, tokens, fault), fault)

    def _refuse(self, call: Call, fault: Fault | None) -> web.Response | None:
        """Put the call on the bill, or refuse it with an HTTP error."""
        if fault is not None and fault.kind in ("status", "quota"):
            self.bill.refused += 1
            if fault.kind == "quota":
                return _problem(429, "insufficient_quota", "You exceeded your current quota.")
            code = _STATUS_CODES.get(fault.status, "server_error")
            reply = _problem(fault.status, code, "The fault was asked for.")
            if fault.retry_after is not None:
                reply.headers["Retry-After"] = fault.retry_after
            return reply
        self.bill.open(call)
        return None

    def _speak(self, tokens: list[str], fault: Fault | None) -> AsyncIterator[str]:
        return speak(tokens, self._pace, fault, self._draw)

    @property
    def _pace(self) -> Pace:
        return Pace(self.options.tokens_per_second, self.options.first_token_s)

    async def _show_bill(self, _request: web.Request) -> web.Response:
        body = {"calls": list(self.bill.calls), "refused": self.bill.refused}
        return web.Response(body=msgspec.json.encode(body), content_type="application/json")

    async def _show_totals(self, _request: web.Request) -> web.Response:
        body = {**self.bill.totals(), "faults": dict(self.faults.applied)}
        return web.json_response(body)

    async def _set_faults(self, request: web.Request) -> web.Response:
        try:
            self.faults.set(msgspec.json.decode(await request.read(), type=list[Fault]))
        except msgspec.ValidationError as error:
            return _problem(400, "bad_fault", str(error))
        return web.json_response({})


def _written(asked: dict[str, Any], tokens: list[str], fault: Fault | None) -> str:
    if rater.wants_rating(asked):
        return rater.rate(asked, fault)
    return worder.word(asked) if worder.wants_lines(asked) else "".join(tokens)


def _limit(asked: dict[str, Any]) -> int | None:
    """Return how many tokens the caller wants at most."""
    limit: int | None = asked.get("max_completion_tokens") or asked.get("max_output_tokens")
    return limit


def _count(call: Call, text: str, tokens: int = 1) -> None:
    call.tokens += tokens
    # Halves of a pair become one code point, as they do for everyone who reads them.
    call.text = (call.text + text).encode("utf-16", "surrogatepass").decode("utf-16", "ignore")


@web.middleware
async def _authorised(request: web.Request, handler: Any) -> web.StreamResponse:
    if request.path.startswith("/v1/") and not request.headers.get("Authorization"):
        return _problem(401, "invalid_api_key", "No API key was sent.")
    reply: web.StreamResponse = await handler(request)
    return reply


async def _healthy(_request: web.Request) -> web.Response:
    return web.json_response({})


def _error(code: str, message: str) -> dict[str, Any]:
    return {"code": code, "type": code, "message": message, "param": None}


def _problem(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": _error(code, message)}, status=status)
