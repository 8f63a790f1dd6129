"""The Batch API (OpenAI API reference, "Batch" and "Files"): files in, files out, hours between.

A batch is done when its time is up and somebody looks: nothing runs meanwhile.
"""

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import msgspec
from aiohttp import BodyPartReader, web
from msgspec import Struct

KEPT = 10_000
"""Files and batches; the oldest are forgotten."""
_ENDPOINTS = ("/v1/chat/completions", "/v1/responses")
_PAGE = 20

Answer = Callable[[str, dict[str, Any], str], tuple[int, dict[str, Any]]]
"""Takes an endpoint, a request and the batch's id; gives a status and a body."""


class Fate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What becomes of batches. ``seconds``: how long one takes; ``share`` of its lines get answers.

    ``absent``: there is no Batch API. ``status``: how they end. ``lost``: so many creations take
    effect, and then the connection breaks. ``unlisted``: they are not found by looking for them.
    ``reply_s``: how long each reply takes, when the request has taken effect.
    """

    seconds: float = 0.0
    status: Literal["completed", "expired", "cancelled", "failed"] = "completed"
    share: float = 1.0
    absent: bool = False
    lost: int = 0
    unlisted: bool = False
    reply_s: float = 0.0


class File(Struct, frozen=True, kw_only=True):
    """A file that is kept until it is deleted."""

    id: str
    name: str
    purpose: str
    data: bytes

    def shown(self) -> dict[str, Any]:
        """Return the file object."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.data),
            "created_at": int(time.time()),
            "filename": self.name,
            "purpose": self.purpose,
            "status": "processed",
        }


class Batch(Struct, kw_only=True):
    """A batch and where it stands."""

    id: str
    endpoint: str
    source: str
    metadata: dict[str, str]
    created_at: float
    status: str = "in_progress"
    output: str | None = None
    errors: str | None = None
    lines: int = 0

    def shown(self) -> dict[str, Any]:
        """Return the batch object."""
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "errors": None,
            "input_file_id": self.source,
            "completion_window": "24h",
            "status": self.status,
            "output_file_id": self.output,
            "error_file_id": self.errors,
            "created_at": int(self.created_at),
            "request_counts": {"total": self.lines, "completed": 0, "failed": 0},
            "metadata": self.metadata,
        }


class Batches:
    """All files and batches of one provider; ``fate`` may be set at any time."""

    def __init__(self, answer: Answer) -> None:
        self.fate = Fate()
        self.files: dict[str, File] = {}
        self.batches: dict[str, Batch] = {}
        self.uploads = 0
        self._answer = answer
        self._numbers = itertools.count(1)
        self._lost = 0

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of both resources, and of the control."""
        return [
            web.post("/v1/files", self._present(self._upload)),
            web.get("/v1/files", self._present(self._list_files)),
            web.get("/v1/files/{id}/content", self._present(self._content)),
            web.delete("/v1/files/{id}", self._present(self._delete)),
            web.post("/v1/batches", self._present(self._create)),
            web.get("/v1/batches", self._present(self._list)),
            web.get("/v1/batches/{id}", self._present(self._retrieve)),
            web.post("/v1/batches/{id}/cancel", self._present(self._cancel)),
            web.post("/_control/batches", self._set),
        ]

    def _present(self, handler: Any) -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            if self.fate.absent:
                return _missing("Unknown request URL.")
            reply: web.StreamResponse = await handler(request)
            await asyncio.sleep(self.fate.reply_s)
            return reply

        return handle

    # --- files ---

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        # In memory: a client that is killed would leave a temporary file open.
        name, data, purpose = "", None, ""
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                return _bad("A part is no body.")
            if part.name == "file":
                name, data = part.filename or "", bytes(await part.read())
            elif part.name == "purpose":
                purpose = await part.text()
        if data is None:
            return _bad("A file is missing.")
        self.uploads += 1
        return web.json_response(self._keep(name, purpose, data).shown())

    async def _list_files(self, request: web.Request) -> web.StreamResponse:
        wanted = request.query.get("purpose")
        found = [file for file in self.files.values() if wanted in (None, file.purpose)]
        return _page(request, [file.shown() for file in reversed(found)])

    async def _content(self, request: web.Request) -> web.StreamResponse:
        file = self.files.get(request.match_info["id"])
        if file is None:
            return _missing("No such file.")
        return web.Response(body=file.data, content_type="application/octet-stream")

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        file = self.files.pop(request.match_info["id"], None)
        if file is None:
            return _missing("No such file.")
        return web.json_response({"id": file.id, "object": "file", "deleted": True})

    def _keep(self, name: str, purpose: str, data: bytes) -> File:
        file = File(id=f"file-{next(self._numbers)}", name=name, purpose=purpose, data=data)
        self.files[file.id] = file
        while len(self.files) > KEPT:
            self.files.pop(next(iter(self.files)))
        return file

    # --- batches ---

    async def _create(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        source = self.files.get(asked.get("input_file_id"))
        window, endpoint = asked.get("completion_window"), asked.get("endpoint")
        if source is None or source.purpose != "batch" or window != "24h":
            return _bad("A batch needs a file of purpose batch, and 24h.")
        if endpoint not in _ENDPOINTS:
            return _bad("No batches of this endpoint.")
        batch = Batch(
            id=f"batch_{next(self._numbers)}",
            endpoint=endpoint,
            source=source.id,
            metadata=asked.get("metadata") or {},
            created_at=time.time(),
            lines=len(source.data.splitlines()),
        )
        self.batches[batch.id] = batch
        while len(self.batches) > KEPT:
            self.batches.pop(next(iter(self.batches)))
        if self._lost < self.fate.lost and request.transport is not None:
            self._lost += 1
            request.transport.abort()
        return web.json_response(batch.shown())

    async def _list(self, request: web.Request) -> web.StreamResponse:
        found = [] if self.fate.unlisted else list(self.batches.values())
        return _page(request, [batch.shown() for batch in reversed(found)])

    async def _retrieve(self, request: web.Request) -> web.StreamResponse:
        batch = self.batches.get(request.match_info["id"])
        if batch is None:
            return _missing("No such batch.")
        self._settle(batch)
        return web.json_response(batch.shown())

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        batch = self.batches.get(request.match_info["id"])
        if batch is None:
            return _missing("No such batch.")
        if batch.status == "in_progress":
            batch.status = "cancelled"
        return web.json_response(batch.shown())

    def _settle(self, batch: Batch) -> None:
        fate = self.fate
        if batch.status != "in_progress" or time.time() < batch.created_at + fate.seconds:
            return
        batch.status = fate.status
        source = self.files.get(batch.source)
        if source is None or fate.status == "failed":
            batch.status = "failed"
            return
        done: list[bytes] = []
        failed: list[bytes] = []
        lines = source.data.splitlines()
        for place, line in enumerate(map(json.loads, lines)):
            written = place < round(fate.share * len(lines))
            told = self._told(batch, line) if written else _expired(line)
            good = told["response"] is not None and told["response"]["status_code"] == 200
            (done if good else failed).append(json.dumps(told).encode())
        if done:
            name = f"{batch.id}_output.jsonl"
            batch.output = self._keep(name, "batch_output", b"\n".join(done) + b"\n").id
        if failed:
            name = f"{batch.id}_error.jsonl"
            batch.errors = self._keep(name, "batch_output", b"\n".join(failed) + b"\n").id

    def _told(self, batch: Batch, line: dict[str, Any]) -> dict[str, Any]:
        status, body = self._answer(line["url"], line["body"], batch.id)
        response = {"status_code": status, "request_id": f"req_{line['custom_id']}", "body": body}
        return {"id": "batch_req_1", "custom_id": line["custom_id"], "response": response} | {
            "error": None
        }

    async def _set(self, request: web.Request) -> web.StreamResponse:
        try:
            self.fate = msgspec.json.decode(await request.read(), type=Fate)
        except msgspec.ValidationError as error:
            return _bad(str(error))
        return web.json_response({})


def _expired(line: dict[str, Any]) -> dict[str, Any]:
    message = "This request could not be executed before the completion window expired."
    error = {"code": "batch_expired", "message": message}
    return {"id": "batch_req_1", "custom_id": line["custom_id"], "response": None, "error": error}


def _page(request: web.Request, objects: list[dict[str, Any]]) -> web.Response:
    """Return a page of a list, the newest first."""
    after, most = request.query.get("after"), int(request.query.get("limit", _PAGE))
    rest: Iterator[dict[str, Any]] = iter(objects)
    if after is not None:
        rest = itertools.islice(
            itertools.dropwhile(lambda each: each["id"] != after, rest), 1, None
        )
    shown = list(itertools.islice(rest, most + 1))
    page = shown[:most]
    body = {"object": "list", "data": page, "has_more": len(shown) > most}
    ids = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {}
    return web.json_response(body | ids)


def _missing(message: str) -> web.Response:
    return _problem(404, "not_found", message)


def _bad(message: str) -> web.Response:
    return _problem(400, "invalid_request", message)


def _problem(status: int, code: str, message: str) -> web.Response:
    error = {"code": code, "type": "invalid_request_error", "message": message, "param": None}
    return web.json_response({"error": error}, status=status)
