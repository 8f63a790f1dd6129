"""The contract's document, fetched from the app as anybody may."""

from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from litestar import Litestar

from protocol.schema import asyncapi
from server.api.health import contract

ORIGIN = "http://viva.test"


async def fetch(path: str) -> tuple[int, dict[bytes, bytes], bytes]:
    """GET a path of an app that has no authenticator, without any credential."""
    url = urlsplit(ORIGIN + path)
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": url.scheme,
        "path": url.path,
        "raw_path": url.path.encode(),
        "query_string": url.query.encode(),
        "root_path": "",
        "headers": [(b"host", url.netloc.encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    app: Any = Litestar([contract], openapi_config=None, logging_config=None)
    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), body


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/asyncapi.json", asyncapi()),
        ("/asyncapi.json?view=server", asyncapi("server")),
        ("/asyncapi.json?view=client", asyncapi("client")),
    ],
)
async def test_the_document_is_served_to_anybody(path: str, document: dict[str, Any]) -> None:
    status, headers, body = await fetch(path)
    assert status == 200
    assert headers[b"content-type"].startswith(b"application/json")
    assert msgspec.json.decode(body) == document


@pytest.mark.anyio
async def test_there_is_no_third_view() -> None:
    status, _, _ = await fetch("/asyncapi.json?view=both")
    assert status == 400
