"""Responses, streamed and stored (OpenAI API reference, "Responses: streaming").

A background response goes on when its reader has gone; its events are kept, numbered, and can be
read again from behind any of them.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from loadtest.fakeopenai.bill import Call

ENDED = ("completed", "failed", "incomplete", "cancelled")


class Response:
    """One response and its events so far."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.status = "in_progress"
        self.task: asyncio.Task[None] | None = None
        self._events: list[bytes] = []
        self._more = asyncio.Event()
        self._item = f"msg_{call.id}"

    @property
    def over(self) -> bool:
        """Whether no event will follow."""
        return self.status in ENDED

    def begin(self) -> None:
        """Emit what comes before the text."""
        self._emit("response.created", response=self.shown())
        self._emit("response.in_progress", response=self.shown())
        item: dict[str, Any] = {
            "id": self._item,
            "type": "message",
            "role": "assistant",
            "content": [],
        }
        self._emit("response.output_item.added", output_index=0, item=item)

    def say(self, text: str) -> None:
        """Emit a piece of text."""
        self._emit(
            "response.output_text.delta",
            item_id=self._item,
            output_index=0,
            content_index=0,
            delta=text,
        )

    def end(self, status: str) -> None:
        """Emit the terminal event of ``status``."""
        self.status = status
        kind = "failed" if status == "cancelled" else status
        if status == "completed":
            self._emit(
                "response.output_text.done",
                item_id=self._item,
                output_index=0,
                content_index=0,
                text=self.call.text,
            )
        self._emit(f"response.{kind}", response=self.shown())

    def raw(self, data: bytes) -> None:
        """Emit bytes as they are."""
        self._events.append(data)
        self._wake()

    def stop(self) -> None:
        """End without a terminal event."""
        self.status = "failed"
        self._wake()

    async def read(self, after: int) -> AsyncIterator[bytes]:
        """Give the events behind number ``after``, and those to come."""
        place = after + 1
        while True:
            while place < len(self._events):
                yield self._events[place]
                place += 1
            if self.over:
                return
            more = self._more
            await more.wait()

    def shown(self) -> dict[str, Any]:
        """Return the response object."""
        call = self.call
        usage = {
            "input_tokens": call.prompt_tokens,
            "output_tokens": call.tokens,
            "total_tokens": call.prompt_tokens + call.tokens,
            "input_tokens_details": {"cached_tokens": 0},
        }
        failed = {"code": "server_error", "message": "The model failed."}
        return {
            "id": call.id,
            "object": "response",
            "status": self.status,
            "model": call.model,
            "error": failed if self.status == "failed" else None,
            "incomplete_details": {"reason": "content_filter"}
            if self.status == "incomplete"
            else None,
            "usage": usage if self.over else None,
        }

    def _emit(self, kind: str, **fields: Any) -> None:
        data = {"type": kind, "sequence_number": len(self._events), **fields}
        self.raw(f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode())

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()
