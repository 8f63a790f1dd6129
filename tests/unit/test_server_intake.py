"""How long a client may take, in virtual time, and what is said when it takes longer."""

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from server.guards import BODY_BYTES
from server.intake import LINGER_BYTES, LINGER_S, SLICE_BYTES, Bounds, Intake
from tests.support.lines import Line
from tests.support.virtual_time import run_virtual

BOUNDS = Bounds(connections=1, head_s=10, body_s=30)
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n"


class App:
    """Answers each request once its body is there, after a while."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.takes_s = takes_s
        self.heard: list[str] = []

    async def __call__(self, _scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            message = await receive()
            self.heard.append(message["type"])
            more = message.get("more_body", False)
        await asyncio.sleep(self.takes_s)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def connect(app: Any, bounds: Bounds = BOUNDS, state: ServerState | None = None) -> Line:
    config = uvicorn.Config(app, log_config=None, ws="none", lifespan="off")
    config.load()
    line = Line()
    line.protocol = Intake(bounds, config=config, server_state=state or ServerState(), app_state={})
    line.protocol.connection_made(line)
    return line


def test_who_says_nothing_is_let_go() -> None:
    async def story() -> None:
        line = connect(App())
        await asyncio.sleep(9.9)
        assert not line.sent
        await asyncio.sleep(0.2)
        assert (line.status, line.ended, line.closed) == (408, True, False)
        await asyncio.sleep(LINGER_S)
        assert line.aborted

    run_virtual(story())


def test_dripping_does_not_help() -> None:
    async def story() -> None:
        line = connect(App())
        for place in range(9):
            line.protocol.data_received(GET[place : place + 1])
            await asyncio.sleep(1.0)
        assert line.status == 0
        await asyncio.sleep(1.1)
        assert line.status == 408

    run_virtual(story())


def test_a_body_has_its_own_time_and_the_app_learns_of_its_end() -> None:
    async def story() -> None:
        app = App()
        line = connect(app)
        await asyncio.sleep(9.0)
        line.protocol.data_received(POST)
        for _ in range(29):
            line.protocol.data_received(b"x")
            await asyncio.sleep(1.0)
        assert line.status == 0
        await asyncio.sleep(1.1)
        assert (line.status, line.ended) == (408, True)
        assert app.heard[-1] == "http.disconnect"
        assert line.sent.count(b"HTTP/1.1") == 1, "the app's answer comes too late"

    run_virtual(story())


@pytest.mark.parametrize("takes_s", [0.0, 100.0])
def test_making_an_answer_may_take_its_time(takes_s: float) -> None:
    async def story() -> None:
        line = connect(App(takes_s))
        for _ in range(3):
            line.sent.clear()
            line.protocol.data_received(GET)
            await asyncio.sleep(takes_s + 1.0)
            assert line.status == 204
        await asyncio.sleep(10.0)
        assert line.closed, "uvicorn's keep-alive"
        assert line.sent.count(b"HTTP/1.1") == 1

    run_virtual(story())


@pytest.mark.parametrize(
    ("path", "status"),
    [(b"/api/documents", 0), (b"/api//document%73/", 0), (b"/api/interviews", 413)],
)
def test_a_document_may_be_larger_however_its_path_is_spelt(path: bytes, status: int) -> None:
    async def story() -> None:
        line = connect(App())
        head = POST.replace(b"/", path, 1).replace(b"100000", b"2000000")
        line.protocol.data_received(head + bytes(BOUNDS.framing * BODY_BYTES + SLICE_BYTES))
        assert line.status == status

    run_virtual(story())


def test_an_answer_before_the_body_leaves_no_connection_without_a_timer() -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def story() -> None:
        for rest in (b"x", b"x" * 100_000):
            line = connect(app)
            line.protocol.data_received(POST)
            await asyncio.sleep(0.1)
            assert line.status == 204
            line.protocol.data_received(rest)
            await asyncio.sleep(40.0)
            assert line.closed

    run_virtual(story())


def test_what_comes_after_a_request_does_not_spoil_its_answer() -> None:
    async def story() -> None:
        line = connect(App(takes_s=5.0))
        line.protocol.data_received(GET + GET * BOUNDS.pipelined)
        assert not line.closed
        await asyncio.sleep(5.1)
        assert line.sent.count(b"HTTP/1.1 204") == 1
        line.protocol.data_received(GET * 1000)
        assert (line.closed, line.ended) == (True, False)
        await asyncio.sleep(5.1)

    run_virtual(story())


def test_a_refused_client_may_not_go_on_for_ever() -> None:
    async def story() -> None:
        line = connect(App())
        line.protocol.data_received(GET[:-2] + b"x: " + b"a" * 40_000)
        assert (line.status, line.closed) == (431, False)
        line.protocol.data_received(b"a" * (LINGER_BYTES - 10_000))
        assert not line.closed
        line.protocol.data_received(b"a" * 20_000)
        assert line.aborted

    run_virtual(story())


@pytest.mark.parametrize(("size", "status"), [(32 * 1024, 204), (32 * 1024 + 1, 431)])
def test_the_longest_head(size: int, status: int) -> None:
    async def story() -> None:
        line = connect(App())
        padding = b"x: " + b"a" * (size - len(GET) - len(b"x: \r\n")) + b"\r\n"
        line.protocol.data_received(GET[:-2] + padding + b"\r\n")
        await asyncio.sleep(0.1)
        assert line.status == status

    run_virtual(story())


@pytest.mark.parametrize(
    "head",
    [
        b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: abc\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_what_is_no_http_is_told_so_as_a_problem(head: bytes) -> None:
    async def story() -> None:
        line = connect(App())
        line.protocol.data_received(head)
        assert (line.status, line.closed) == (400, True)
        assert b"content-type: application/problem+json\r\n" in line.sent
        assert b'"code":"bad_request"' in line.sent

    run_virtual(story())


def test_one_connection_too_many_is_told_so() -> None:
    async def story() -> None:
        state = ServerState()
        first, second = (connect(App(), state=state) for _ in range(2))
        assert (first.status, second.status, second.closed) == (0, 503, True)
        await asyncio.sleep(0)
        first.close()
        await asyncio.sleep(0)
        assert connect(App(), state=state).status == 0

    run_virtual(story())
