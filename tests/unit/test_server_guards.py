"""Who may open a socket from a browser, and which hosts are served."""

from typing import Any

import pytest

from server.guards import BODY_BYTES, DOCUMENT_BYTES, Guards, body_bytes
from server.ids import may_be_interview
from tests.support.virtual_time import run_virtual

LISTED = "https://partner.example"


def opened(*, origins: tuple[str, ...] = (), hosts: tuple[str, ...] = (), **headers: str) -> bool:
    """Whether the app behind the guards saw the socket."""
    seen: list[str] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["type"])

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        assert message == {"type": "websocket.close"}

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "websocket", "headers": raw}
    run_virtual(Guards(app, hosts=hosts, origins=origins)(scope, receive, send))
    return bool(seen)


@pytest.mark.parametrize("origins", [(), (LISTED,)], ids=["no list", "a list"])
def test_the_own_page_and_native_clients_are_let_in(origins: tuple[str, ...]) -> None:
    assert opened(origins=origins, host="viva.example", origin="https://viva.example")
    assert opened(origins=origins, host="Viva.example:8000", origin="http://viva.example:8000")
    assert opened(origins=origins, host="viva.example")


def test_a_list_adds_pages() -> None:
    for origin in (LISTED, LISTED.upper()):
        assert opened(origins=(f"{LISTED}/",), host="viva.example", origin=origin)
    assert not opened(host="viva.example", origin=LISTED)


@pytest.mark.parametrize("origins", [(), (LISTED,)], ids=["no list", "a list"])
@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "https://",
        "https://evil.example",
        "https://viva.example.evil.example",
        "https://viva.example:444",
        "https://viva.example@evil.example",
        "http://partner.example",
        "https://[viva.example",
    ],
)
def test_other_pages_are_not(origins: tuple[str, ...], origin: str) -> None:
    assert not opened(origins=origins, host="viva.example", origin=origin)


def test_an_origin_does_not_make_a_host_known() -> None:
    assert not opened(hosts=("viva.example",), host="evil.example", origin="http://evil.example")
    assert not opened(origin="https://")


def test_the_port_of_http_may_be_left_out() -> None:
    hosts = ("127.0.0.1:80", "localhost:8080")
    for host in ("127.0.0.1:80", "127.0.0.1", "localhost:8080"):
        assert opened(hosts=hosts, host=host)
    for host in ("localhost", "127.0.0.1:8080"):
        assert not opened(hosts=hosts, host=host)


@pytest.mark.parametrize(
    ("path", "size"),
    [
        ("/api/documents", DOCUMENT_BYTES),
        ("/api/documents/", DOCUMENT_BYTES),
        ("//api//documents", DOCUMENT_BYTES),
        ("/api/documents/more", BODY_BYTES),
        ("/api/interviews", BODY_BYTES),
        ("/", BODY_BYTES),
    ],
)
def test_a_body_may_be_as_large_as_its_route_takes_however_that_is_spelt(
    path: str, size: int
) -> None:
    assert body_bytes(path) == size


@pytest.mark.parametrize(
    ("text", "may_be"),
    [
        ("0190a5c0-0000-7000-8000-00000000000a", True),
        ("", False),
        ("x" * 15_000, False),
        ("0190A5C0-0000-7000-8000-00000000000A", False),
        ("0190a5c00000700080000000000000a0", False),
        ("{0190a5c0-0000-7000-8000-00000000000a}", False),
        ("0190a5c0-0000-4000-8000-00000000000a", False),
        ("\U0001f600" * 36, False),
    ],
)
def test_what_can_be_no_interview_is_not_looked_up(text: str, may_be: bool) -> None:  # noqa: FBT001
    assert may_be_interview(text) is may_be
