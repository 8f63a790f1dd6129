"""Answers that do not stream: one body, of either API, with every fault a body can have."""

import asyncio
from typing import Any

from aiohttp import web

from loadtest.fakeopenai import chat
from loadtest.fakeopenai.bill import Call
from loadtest.fakeopenai.faults import Fault


async def answer(
    request: web.Request, call: Call, text: str, fault: Fault | None, delay_s: float
) -> web.StreamResponse:
    """Send ``text`` after ``delay_s``, and count it on the bill."""
    kind = fault.kind if fault else ""
    late = fault is not None and kind in ("slow", "stall")
    call.outcome = "aborted"  # until it is more
    await asyncio.sleep(fault.seconds if late and fault else delay_s)
    body = written(call, text, fault)
    if kind in ("cut", "no_end"):
        assert request.transport is not None  # noqa: S101 - it is being served
        request.transport.abort()
        return web.Response()
    if kind == "malformed":
        return web.Response(text="{not json", content_type="application/json")
    return web.json_response(body)


def written(call: Call, text: str, fault: Fault | None) -> dict[str, Any]:
    """Count ``text`` on the bill, and return the body that holds it."""
    kind = fault.kind if fault else ""
    call.text = "" if kind in ("empty", "refused", "failed") else text
    call.tokens = len(call.text.split())
    call.outcome = "failed" if kind in ("cut", "malformed", "refused", "failed") else "completed"
    return _chat(call, kind) if call.api == "chat" else _response(call, kind)


def _chat(call: Call, kind: str) -> dict[str, Any]:
    body = chat.whole(call)
    if kind == "failed":
        error = {"code": "server_error", "message": "The model failed."}
        return body | {"choices": [], "error": error}
    if kind == "refused":
        message = {"role": "assistant", "content": None, "refusal": "I cannot do that."}
        return body | {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    return body


def _response(call: Call, kind: str) -> dict[str, Any]:
    part: dict[str, Any] = {"type": "output_text", "text": call.text, "annotations": []}
    if kind == "refused":
        part = {"type": "refusal", "refusal": "I cannot do that."}
    item: dict[str, Any] = {"type": "message", "role": "assistant", "content": [part]}
    failed = kind == "failed"
    return {
        "id": call.id,
        "object": "response",
        "status": "failed" if failed else "completed",
        "model": call.model,
        "error": {"code": "server_error", "message": "The model failed."} if failed else None,
        "incomplete_details": None,
        "output": [] if failed else [item],
        "usage": {
            "input_tokens": call.prompt_tokens,
            "output_tokens": call.tokens,
            "total_tokens": call.prompt_tokens + call.tokens,
            "input_tokens_details": {"cached_tokens": 0},
        },
    }
