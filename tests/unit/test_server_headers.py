"""Every answer has the security headers, and a page's own policy is the only one."""

import asyncio
from typing import Any

import pytest

from server.guards import PARAMETERS, QUERY_BYTES, Guards
from server.reporting.html import content_security_policy

Headers = list[tuple[bytes, bytes]]


def asked(own: Headers, query: bytes = b"") -> list[dict[str, Any]]:
    """What is sent in answer to a request."""
    sent: list[dict[str, Any]] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": own})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/"}
    scope |= {"query_string": query, "headers": []}
    asyncio.run(Guards(app, hosts=(), origins=())(scope, receive, send))
    return sent


def answered(own: Headers) -> dict[bytes, list[bytes]]:
    """The headers of an answer, by name, with all values of each."""
    sent = asked(own)
    found: dict[bytes, list[bytes]] = {}
    for name, value in sent[0]["headers"]:
        found.setdefault(name.lower(), []).append(value)
    return found


def test_an_answer_gets_the_policy_of_the_house() -> None:
    headers = answered([])
    assert len(headers[b"content-security-policy"]) == 1
    assert b"style-src 'self'" in headers[b"content-security-policy"][0]
    assert headers[b"x-content-type-options"] == [b"nosniff"]


def test_a_page_with_a_policy_of_its_own_keeps_it_alone() -> None:
    own = content_security_policy().encode()
    headers = answered([(b"Content-Security-Policy", own)])
    assert headers[b"content-security-policy"] == [own]
    assert headers[b"x-content-type-options"] == [b"nosniff"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        (b"fields=" + b"a" * (QUERY_BYTES - 7), 200),
        (b"fields=" + b"a" * (QUERY_BYTES - 6), 414),
        (b"&".join([b"a=b"] * PARAMETERS), 200),
        (b"&".join([b"a=b"] * (PARAMETERS + 1)), 414),
    ],
)
def test_an_address_asks_so_much_at_most(query: bytes, status: int) -> None:
    start, body = asked([], query)
    assert start["status"] == status
    assert (b'"query_too_long"' in body["body"]) is (status == 414)
