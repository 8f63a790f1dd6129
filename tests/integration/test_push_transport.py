"""The HTTP beneath the provider's client, on both event loops, against raw bytes."""

import asyncio
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ai.http.body import HELD_BYTES, Body, pumped
from ai.http.connection import HEAD_BYTES
from ai.http.transport import PushTransport

pytestmark = pytest.mark.anyio

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nHello\r\n6;x=y\r\n world\r\n0\r\n\r\n"
)
SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nHello world"
UNSIZED = b"HTTP/1.1 200 OK\r\n\r\nHello world"
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + CHUNKED
CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 11\r\n\r\nHello world"
TEXT = b"Hello world"
Step = bytes | float


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return ("asyncio", {"use_uvloop": request.param})


class Peer:
    """A server: what it was asked, and over how many connections."""

    def __init__(self) -> None:
        self.url = ""
        self.heads: list[bytes] = []
        self.connections = 0


@asynccontextmanager
async def peer(
    *answers: Sequence[Step], ends: bool = False, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[Peer]:
    """Answer each request with the next steps, the last again and again; ``ends`` closes then."""
    running, left, tasks = Peer(), list(answers), set[asyncio.Task[Any] | None]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.connections += 1
        tasks.add(asyncio.current_task())
        try:
            while True:
                running.heads.append(await reader.readuntil(b"\r\n\r\n"))
                for step in left.pop(0) if len(left) > 1 else left[0]:
                    if isinstance(step, bytes):
                        writer.write(step)
                        await writer.drain()
                    else:
                        await asyncio.sleep(step)
                if ends:
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client left, or the test is over
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    scheme = "https" if tls else "http"
    running.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield running
    finally:
        server.close()
        for task in filter(None, tasks):
            task.cancel()
        await asyncio.gather(*filter(None, tasks), return_exceptions=True)


@asynccontextmanager
async def asking(
    connections: int = 10, keep_alive_s: float = 30.0
) -> AsyncGenerator[httpx2.AsyncClient]:
    transport = PushTransport(connections=connections, keep_alive_s=keep_alive_s)
    timeout = httpx2.Timeout(None, connect=5, pool=0.1)
    async with httpx2.AsyncClient(transport=transport, timeout=timeout) as client:
        yield client


class Ear:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.heard = b""
        self.over: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def data(self, chunk: bytes) -> None:
        assert not self.over.done()
        self.heard += chunk

    def end(self, error: Exception | None) -> None:
        self.over.set_result(error)


async def _listened(client: httpx2.AsyncClient, url: str) -> tuple[bytes, Exception | None]:
    async with client.stream("GET", url) as response:
        body: Body = response.extensions["body"]
        ear = Ear()
        body.listen(ear)
        async with asyncio.timeout(5):
            return ear.heard, await ear.over if not ear.over.done() else ear.over.result()


@pytest.mark.parametrize("answer", [CHUNKED, SIZED, EARLY])
async def test_a_body_is_pushed_and_pulled_and_its_connection_used_again(answer: bytes) -> None:
    async with peer([answer]) as server, asking() as client:
        for _ in range(3):
            async with client.stream("GET", server.url) as response:
                body, ear = response.extensions["body"], Ear()
                body.listen(ear)
                assert await ear.over is None
                assert (response.status_code, ear.heard) == (200, TEXT)
            assert (await client.get(server.url)).content == TEXT
        assert server.connections == 1
        assert server.heads[0].startswith(b"GET /v1 HTTP/1.1\r\n")


@pytest.mark.parametrize("answer", [UNSIZED, CLOSING])
async def test_a_connection_that_ends_is_not_used_again(answer: bytes) -> None:
    async with peer([answer], ends=True) as server, asking() as client:
        for number in range(1, 4):
            assert (await client.get(server.url)).content == TEXT
            assert server.connections == number


@pytest.mark.parametrize("answer", [CHUNKED, EARLY])
async def test_bytes_may_be_cut_anywhere(answer: bytes) -> None:
    pieces = [[answer[:cut], 0.0, answer[cut:]] for cut in range(1, len(answer))]
    pieces.append([answer[at : at + 1] for at in range(len(answer))])
    async with peer(*pieces) as server, asking() as client:
        for _ in pieces:
            assert (await client.get(server.url)).content == TEXT
        assert server.connections == 1


@pytest.mark.parametrize("cut", [len(CHUNKED) - 5, len(CHUNKED) - 12, len(CHUNKED) - 25])
async def test_a_body_that_breaks_off_says_so(cut: int) -> None:
    async with peer([CHUNKED[:cut]], ends=True) as server, asking() as client:
        async with client.stream("GET", server.url) as response:
            ear = Ear()
            response.extensions["body"].listen(ear)
            assert isinstance(await ear.over, httpx2.ReadError)
        with pytest.raises(httpx2.ReadError):
            await client.get(server.url)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", httpx2.ReadError),
        (b"HTTP/1.1 200 OK\r\nContent-", httpx2.ReadError),
        (b"SSH-2.0-OpenSSH\r\n", httpx2.RemoteProtocolError),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", httpx2.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * (3 * HEAD_BYTES), httpx2.RemoteProtocolError),
    ],
)
async def test_what_is_no_response_is_an_error(answer: bytes, error: type[Exception]) -> None:
    async with peer([answer], ends=True) as server, asking() as client:
        with pytest.raises(error):
            await client.get(server.url)


async def test_an_error_behind_the_beginning_is_told_to_the_sink() -> None:
    async with (
        peer([CHUNKED[:-14], 0.05, b"nonsense\r\n"]) as server,
        asking() as client,
        client.stream("GET", server.url) as response,
    ):
        ear = Ear()
        response.extensions["body"].listen(ear)
        assert isinstance(await ear.over, httpx2.RemoteProtocolError)
        assert TEXT.startswith(ear.heard)


@pytest.mark.parametrize("surplus", [SIZED[:17], SIZED, CHUNKED, SIZED + CHUNKED])
async def test_a_connection_that_says_more_than_it_was_asked_is_not_used_again(
    surplus: bytes,
) -> None:
    for first in (SIZED, CHUNKED):
        async with peer([first + surplus], [SIZED]) as server, asking() as client:
            assert await _listened(client, server.url) == (TEXT, None)
            assert (await client.get(server.url)).content == TEXT
            assert server.connections == 2
        async with peer([first + surplus]) as server, asking() as client:
            assert (await client.get(server.url)).content == TEXT


@pytest.mark.parametrize("late", [SIZED.replace(b"world", b"there"), b""])
async def test_what_a_busy_loop_has_not_read_yet_is_nobodys_answer(late: bytes) -> None:
    """The server says something more, or closes, and the loop asks before it has looked."""
    listener, asked = socket.create_server(("127.0.0.1", 0)), threading.Event()
    listener.settimeout(10)

    def serve() -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(SIZED)
                asked.wait(5)
                connection.sendall(late)

    server = threading.Thread(target=serve)
    server.start()
    async with asking() as client:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        assert (await client.get(url)).content == TEXT
        asked.set()
        time.sleep(0.1)  # noqa: ASYNC251  # the loop is busy
        answer = await client.get(url)
    server.join(5)
    listener.close()
    assert answer.content == TEXT


async def test_a_trailer_is_passed_over() -> None:
    trailed = CHUNKED[:-2] + b"X-Sum: 1\r\n\r\n"
    async with peer([trailed]) as server, asking() as client:
        for _ in range(2):
            response = await client.get(server.url)
            assert (response.content, "x-sum" in response.headers) == (TEXT, False)
        assert server.connections == 1


async def test_an_idle_connection_that_the_server_closed_or_that_is_old_is_not_used() -> None:
    async with peer([SIZED]) as server, asking(keep_alive_s=0.05) as client:
        await client.get(server.url)
        await asyncio.sleep(0.1)
        await client.get(server.url)
        assert server.connections == 2
    async with peer([SIZED], ends=True) as server, asking() as client:
        await client.get(server.url)
        await asyncio.sleep(0.1)
        assert (await client.get(server.url)).content == TEXT


async def test_all_in_use_is_a_time_out_and_leaving_a_body_frees_its_connection() -> None:
    slow = [SIZED[:-3], 5.0]
    async with peer(slow, slow, [SIZED]) as server, asking(connections=1) as client:
        async with client.stream("GET", server.url):
            with pytest.raises(httpx2.PoolTimeout):
                await client.get(server.url)
        request = asyncio.ensure_future(client.get(server.url))
        await asyncio.sleep(0.1)
        request.cancel()
        await asyncio.wait((request,))
        assert (await client.get(server.url)).content == TEXT
        assert server.connections == 3


async def test_cancelling_before_the_head_frees_the_connection() -> None:
    async with peer([5.0], [SIZED]) as server, asking(connections=1) as client:
        request = asyncio.ensure_future(client.get(server.url))
        await asyncio.sleep(0.1)
        request.cancel()
        await asyncio.wait((request,))
        assert request.cancelled()
        assert (await client.get(server.url)).content == TEXT


async def test_nobody_there_is_an_error() -> None:
    async with peer([SIZED]) as server:
        pass
    async with asking() as client:
        with pytest.raises(httpx2.ConnectError):
            await client.get(server.url)
        with pytest.raises(httpx2.ConnectError):
            await client.get("http://nobody.invalid/")


async def test_a_header_with_a_line_break_never_leaves() -> None:
    async with peer([SIZED]) as server, asking() as client:
        with pytest.raises(httpx2.LocalProtocolError):
            await client.get(server.url, headers={"authorization": "Bearer k\r\nX-Other: 1"})
        assert server.heads == []


async def test_a_body_that_nobody_takes_is_not_read_for_ever() -> None:
    size = 40 * HELD_BYTES
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    sent = 0

    async def steps(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(head)
        while sent < size:
            writer.write(b"x" * 65_536)
            await writer.drain()
            sent += 65_536

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await steps(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with asking() as client, client.stream("GET", url) as response:
        await asyncio.sleep(0.5)
        assert sent < size
        ear = Ear()
        response.extensions["body"].listen(ear)
        assert await ear.over is None
        assert len(ear.heard) == size
    server.close()


def _certified(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """Return a server's context, and the certificate that its clients need."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    made += ["-subj", "/CN=viva", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*made, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    return tls, certificate


async def test_tls_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls, certificate = _certified(tmp_path)
    async with peer([CHUNKED], tls=tls) as server:
        async with asking() as client:
            with pytest.raises(httpx2.ConnectError):
                await client.get(server.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with asking() as client:
            for _ in range(2):
                assert await _listened(client, server.url) == (TEXT, None)
        assert server.heads[0].startswith(b"GET /v1 HTTP/1.1\r\n")


async def test_a_connection_that_ends_with_its_handshake_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls, certificate = _certified(tmp_path)
    tls.maximum_version = ssl.TLSVersion.TLSv1_2  # the server speaks last
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with asking(connections=1) as client:
        for _ in range(3):
            with pytest.raises((httpx2.ConnectError, httpx2.ReadError)):
                await client.get(url)
    server.close()


async def test_a_stream_that_is_only_pulled_can_be_listened_to() -> None:
    async def chunks() -> AsyncGenerator[bytes]:
        yield b"Hello"
        yield b" world"
        raise OSError

    ear = Ear()
    async with pumped(chunks()) as stream:
        stream.listen(ear)
        assert isinstance(await ear.over, OSError)
    assert ear.heard == TEXT
