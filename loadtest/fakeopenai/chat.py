"""Chat Completions as server-sent events (OpenAI API reference, "Chat Completions: streaming")."""

import json
from typing import Any

from loadtest.fakeopenai.bill import Call


def event(data: Any) -> bytes:
    """Encode one event; halves of a surrogate pair go out as JSON escapes."""
    return b"data: " + json.dumps(data).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def chunk(call: Call, delta: dict[str, Any], finish: str | None = None) -> bytes:
    """Return a chunk with a piece of the reply, or with the reason of its end."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return event(_chunk(call) | {"choices": [choice]})


def usage(call: Call) -> bytes:
    """Return the last chunk, which has no choices."""
    return event(_chunk(call) | {"choices": [], "usage": counted(call)})


def counted(call: Call) -> dict[str, Any]:
    """Return the usage object."""
    return {
        "prompt_tokens": call.prompt_tokens,
        "completion_tokens": call.tokens,
        "total_tokens": call.prompt_tokens + call.tokens,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def whole(call: Call) -> dict[str, Any]:
    """Return the answer to a call that does not stream."""
    message = {"role": "assistant", "content": call.text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return _chunk(call) | {
        "object": "chat.completion",
        "choices": [choice],
        "usage": counted(call),
    }


def _chunk(call: Call) -> dict[str, Any]:
    return {
        "id": call.id,
        "object": "chat.completion.chunk",
        "created": 1_795_000_000,
        "model": call.model,
    }
