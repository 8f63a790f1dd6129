"""What the balancers' configurations do, seen from made-up instances behind them."""

import asyncio
import contextlib
import gzip
import http.client
import select
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import InvalidHandshake
from websockets.http11 import Request, Response

from server.guards import BODY_BYTES, DOCUMENT_BYTES, DOCUMENTS
from tests.e2e.balancers import Balancer, binary

pytestmark = pytest.mark.anyio

READY_LINE = b"GET /health/ready "
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Recorder:
    """Hangs up on the first ``failures`` requests that are no health checks, then answers."""

    def __init__(self) -> None:
        self.failures = 0
        self.reply = REPLY
        self.heads: list[str] = []
        self.port = 0
        self._open: dict[asyncio.StreamWriter, asyncio.Event] = {}

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncGenerator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            for writer, gone in tuple(self._open.items()):
                writer.transport.abort()
                async with asyncio.timeout(5):
                    await gone.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gone = self._open[writer] = asyncio.Event()
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if not head.startswith(READY_LINE):
                    self.heads.append(head.decode())
                    if len(self.heads) <= self.failures:
                        break
                writer.write(self.reply)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        del self._open[writer]
        gone.set()


class Echo:
    """An instance with sockets that outlive its readiness; each message comes back with a name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready = True
        self.port = 0

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncGenerator[None]:
        async with serve(self._echo, "127.0.0.1", 0, process_request=self._answer) as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            yield

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path == "/health/ready":
            return connection.respond(200 if self.ready else 503, "")
        return None

    async def _echo(self, connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(f"{self.name} {message!s}")


@pytest.fixture(params=["haproxy", "nginx"])
def balancer(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Balancer]:
    yield from _made(request.param, tmp_path)


@pytest.fixture
def haproxy(tmp_path: Path) -> Generator[Balancer]:
    yield from _made("haproxy", tmp_path)


def _made(kind: str, directory: Path) -> Generator[Balancer]:
    if binary(kind) is None:
        pytest.skip(f"no {kind} is installed")
    balancer = Balancer(kind, directory)
    yield balancer
    balancer.stop()


def ask(balancer: Balancer, method: str = "GET", **headers: str) -> int:
    """One request; its status."""
    connection = http.client.HTTPConnection("127.0.0.1", balancer.port, timeout=10)
    with contextlib.closing(connection):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, "/api/interviews", headers=named)
        return connection.getresponse().status


async def test_what_a_client_says_of_its_own_way_is_not_believed(balancer: Balancer) -> None:
    instance = Recorder()
    async with instance.serving():
        await asyncio.to_thread(balancer.start, [f"127.0.0.1:{instance.port}"])
        forged = {"X_Forwarded_For": "6.6.6.6", "X_Forwarded_Proto": "https", "Forwarded": "for=6"}
        status = await asyncio.to_thread(ask, balancer, **forged, X_Forwarded_Host="evil")
    assert status == 200
    head = instance.heads[0].lower()
    assert "6.6.6.6" not in head
    assert "\r\nforwarded:" not in head
    for line in (
        f"host: {balancer.host}",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: http",
        f"x-forwarded-host: {balancer.host}",
    ):
        assert head.count(f"\r\n{line}\r\n") == 1, head


def announce(balancer: Balancer, path: str, size: int) -> int:
    """Announce a body of this size, and send none of it; the status."""
    connection = http.client.HTTPConnection("127.0.0.1", balancer.port, timeout=10)
    with contextlib.closing(connection):
        connection.request("POST", path, headers={"Content-Length": str(size)})
        return connection.getresponse().status


async def test_a_document_may_be_larger_than_other_bodies(balancer: Balancer) -> None:
    instance = Recorder()
    sizes = ((BODY_BYTES, BODY_BYTES + 1), (DOCUMENT_BYTES, DOCUMENT_BYTES + 1))
    async with instance.serving():
        await asyncio.to_thread(balancer.start, [f"127.0.0.1:{instance.port}"])
        for path, (fits, exceeds) in zip(("/api/interviews", DOCUMENTS), sizes, strict=True):
            assert await asyncio.to_thread(announce, balancer, path, fits) == 200
            assert await asyncio.to_thread(announce, balancer, path, exceeds) == 413
    heads = [head.lower() for head in instance.heads]
    assert len(heads) == 2
    assert f"\r\nhost: {balancer.host}\r\n" in heads[1]
    assert "\r\nx-forwarded-for: 127.0.0.1\r\n" in heads[1]


OPENAPI = "application/vnd.oai.openapi+json"


@pytest.mark.parametrize(
    ("path", "kind", "compressed"),
    [
        ("/", "text/html; charset=utf-8", True),
        ("/app.js", "text/javascript; charset=utf-8", True),
        ("/style.css", "text/css; charset=utf-8", True),
        ("/logo.svg", "image/svg+xml", True),
        ("/schema/openapi.json", OPENAPI, True),
        ("/api/interviews", "application/json", False),
        ("/api/interviews/x/report", "text/html; charset=utf-8", False),
        ("/%2fapi%2finterviews%2fx%2freport", "text/html; charset=utf-8", False),
        ("/%61pi/interviews/x/report", "text/html; charset=utf-8", False),
    ],
)
async def test_nothing_that_holds_secrets_is_compressed(
    balancer: Balancer,
    path: str,
    kind: str,
    compressed: bool,  # noqa: FBT001
) -> None:
    instance, content = Recorder(), b"many words " * 400
    head = f'HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nETag: "x"\r\nContent-Length: '
    instance.reply = f"{head}{len(content)}\r\n\r\n".encode() + content

    def asked(coding: str) -> tuple[bytes, str | None, str | None]:
        connection = http.client.HTTPConnection("127.0.0.1", balancer.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Accept-Encoding": coding})
            reply = connection.getresponse()
            got = reply.read(), reply.getheader("Content-Encoding"), reply.getheader("Vary")
            assert reply.getheader("Content-Type") == kind
            assert reply.getheader("ETag") in ('"x"', 'W/"x"')
            return got

    async with instance.serving():
        await asyncio.to_thread(balancer.start, [f"127.0.0.1:{instance.port}"])
        body, coding, vary = await asyncio.to_thread(asked, "gzip, br")
        assert (coding == "gzip") is compressed
        if compressed:
            assert (gzip.decompress(body), (vary or "").lower()) == (content, "accept-encoding")
            assert len(body) < len(content) / 4
        else:
            assert body == content
        assert (await asyncio.to_thread(asked, "identity"))[:2] == (content, None)


@pytest.mark.parametrize(
    ("method", "headers", "repeated"),
    [
        ("GET", {}, {"haproxy", "nginx"}),
        ("POST", {}, set[str]()),
        ("DELETE", {}, {"nginx"}),
        ("POST", {"Idempotency_Key": "k"}, {"haproxy"}),
    ],
)
async def test_only_harmless_requests_are_repeated(
    balancer: Balancer, method: str, headers: dict[str, str], repeated: set[str]
) -> None:
    broken, sound = Recorder(), Recorder()
    broken.failures = 99
    async with broken.serving(), sound.serving():
        at = [f"127.0.0.1:{broken.port}", f"127.0.0.1:{sound.port}"]
        await asyncio.to_thread(balancer.start, at)
        status = 0
        while not broken.heads:  # the sound one may come first
            status = await asyncio.to_thread(ask, balancer, method, **headers)
    assert status == (200 if balancer.kind in repeated else 502)
    assert len(broken.heads) == 1


async def test_an_unready_instance_keeps_its_sockets_and_gets_no_new_ones(
    haproxy: Balancer,
) -> None:
    first, second = Echo("first"), Echo("second")
    async with first.serving(), second.serving():
        at = [f"127.0.0.1:{first.port}", f"127.0.0.1:{second.port}"]
        await asyncio.to_thread(haproxy.start, at)
        await asyncio.to_thread(haproxy.await_states, "UP", "UP")
        address = f"ws://{haproxy.host}/socket"

        async def holders() -> set[str]:
            """Who holds four new sockets that are open at the same time."""
            async with contextlib.AsyncExitStack() as stack:
                opening = [connect(address, proxy=None) for _ in range(4)]
                sockets = [await stack.enter_async_context(socket) for socket in opening]
                for socket in sockets:
                    await socket.send("?")
                return {str(await socket.recv()).split()[0] for socket in sockets}

        async with connect(address, proxy=None) as socket:
            await socket.send("hello")
            kept = str(await socket.recv()).split()[0]
            leaving, other = (first, second) if kept == "first" else (second, first)
            leaving.ready = False
            states = ("DOWN", "UP") if leaving is first else ("UP", "DOWN")
            await asyncio.to_thread(haproxy.await_states, *states)
            assert await holders() == {other.name}
            await socket.send("still here")
            assert await socket.recv() == f"{leaving.name} still here"

            leaving.ready = True
            await asyncio.to_thread(haproxy.await_states, "UP", "UP")
            assert await holders() == {first.name, second.name}


async def test_one_address_has_a_bound_and_leaves_the_others_their_places(
    balancer: Balancer,
) -> None:
    instance = Echo("only")
    address = f"ws://{balancer.host}/socket"

    async def opened(source: str) -> ClientConnection:
        return await connect(address, proxy=None, local_addr=(source, 0))

    async with instance.serving(), contextlib.AsyncExitStack() as stack:
        at = [f"127.0.0.1:{instance.port}"]
        await asyncio.to_thread(balancer.start, at, CONNECTIONS_PER_ADDRESS="3")
        sockets = [await stack.enter_async_context(await opened("127.0.0.1")) for _ in range(3)]
        with pytest.raises((InvalidHandshake, ConnectionError)):
            await opened("127.0.0.1")
        other = await stack.enter_async_context(await opened("127.0.0.2"))
        await sockets.pop().close()
        async with asyncio.timeout(5):
            while len(sockets) < 3:  # until the balancer has seen it leave
                with contextlib.suppress(InvalidHandshake, ConnectionError):
                    sockets.append(await stack.enter_async_context(await opened("127.0.0.1")))
                await asyncio.sleep(0.05)
        for each in (*sockets, other):
            await each.send("hello")
            assert await each.recv() == "only hello"


async def test_connections_that_say_nothing_are_within_the_bound(haproxy: Balancer) -> None:
    def look() -> None:
        at = ("127.0.0.1", haproxy.port)
        with contextlib.ExitStack() as stack:
            silent = [stack.enter_context(socket.create_connection(at, 5)) for _ in range(3)]
            assert not select.select(silent, [], [], 0.5)[0]  # all are counted by then
            with contextlib.suppress(ConnectionError), socket.create_connection(at, 5) as surplus:
                assert surplus.recv(1) == b""
            assert not select.select(silent, [], [], 0.1)[0]

    instance = Recorder()
    async with instance.serving():
        at = [f"127.0.0.1:{instance.port}"]
        await asyncio.to_thread(haproxy.start, at, CONNECTIONS_PER_ADDRESS="3")
        await asyncio.to_thread(look)


async def test_nobody_ready_is_an_answer_with_a_time_to_come_back(haproxy: Balancer) -> None:
    instance = Echo("only")
    async with instance.serving():
        await asyncio.to_thread(haproxy.start, [f"127.0.0.1:{instance.port}"])
        instance.ready = False
        await asyncio.to_thread(haproxy.await_states, "DOWN")

        def asked() -> tuple[int, str | None, str | None]:
            connection = http.client.HTTPConnection("127.0.0.1", haproxy.port, timeout=10)
            with contextlib.closing(connection):
                connection.request("GET", "/")
                reply = connection.getresponse()
                return reply.status, reply.getheader("Retry-After"), reply.getheader("Content-Type")

        assert await asyncio.to_thread(asked) == (503, "2", "application/problem+json")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl is installed")
async def test_with_a_certificate_it_speaks_https(haproxy: Balancer, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    names = ["-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    await asyncio.to_thread(
        subprocess.run, [*made, *names, *files], check=True, capture_output=True, timeout=20
    )
    both = tmp_path / "both.pem"
    both.write_text(certificate.read_text() + key.read_text())
    instance = Recorder()
    async with instance.serving():
        at = [f"127.0.0.1:{instance.port}"]
        await asyncio.to_thread(haproxy.start, at, TLS_CERTIFICATE=str(both))
        trusting = ssl.create_default_context(cafile=str(certificate))

        def asked() -> tuple[int, str | None]:
            connection = http.client.HTTPSConnection(haproxy.host, context=trusting, timeout=10)
            with contextlib.closing(connection):
                connection.request("GET", "/")
                reply = connection.getresponse()
                return reply.status, reply.getheader("Strict-Transport-Security")

        assert await asyncio.to_thread(asked) == (200, "max-age=63072000")
    assert "x-forwarded-proto: https" in instance.heads[0]
