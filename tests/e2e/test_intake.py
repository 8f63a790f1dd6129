"""Requests that no client would send, byte by byte: none may cost the instance much."""

import contextlib
import socket
import time
import urllib.request
from collections.abc import Callable, Generator
from typing import Any

import pytest

from protocol.closes import Close
from server.auth import sign
from tests.e2e.instances import SECRET, Instance
from tests.e2e.raw_sockets import CONTINUATION, PING, PONG, TEXT, RawSocket, frame
from tests.support.databases import flush_redis, fresh_database
from tests.support.migrations import migrated

PATIENCE_S = 20.0
MIB = 1 << 20


@pytest.fixture(scope="module")
def instance(services: Any, tmp_path_factory: pytest.TempPathFactory) -> Generator[Instance]:
    flush_redis(services.redis_url)
    with fresh_database(services.database_url) as database_url:
        settings = {"REDIS_URL": services.redis_url, "DATABASE_URL": migrated(database_url)}
        running = Instance(settings, tmp_path_factory.mktemp("instance"))
        running.start()
        yield running
        running.stop()
        assert "Traceback" not in running.log()


@contextlib.contextmanager
def connected(instance: Instance) -> Generator[socket.socket]:
    with socket.create_connection(("127.0.0.1", instance.port), PATIENCE_S) as tcp:
        yield tcp


def head(instance: Instance, path: str = "/health/live", *more: str, method: str = "GET") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{instance.port}", *more]
    return "\r\n".join(lines).encode() + b"\r\n"


def rest_of(tcp: socket.socket) -> bytes:
    """All that comes until the server closes."""
    heard = bytearray()
    with contextlib.suppress(ConnectionError):
        while piece := tcp.recv(65_536):
            heard += piece
    return bytes(heard)


def flood(tcp: socket.socket, unit: bytes, mebibytes: int) -> int:
    """Send so much, or as much as is taken; return how many bytes went out."""
    sent, block = 0, unit * (MIB // len(unit))
    with contextlib.suppress(ConnectionError, TimeoutError):
        for _ in range(mebibytes):
            tcp.sendall(block)
            sent += len(block)
    return sent


def answers_in(instance: Instance) -> float:
    began = time.monotonic()
    with urllib.request.urlopen(f"{instance.url}/health/live", timeout=PATIENCE_S) as reply:
        assert reply.status == 200
    return time.monotonic() - began


@pytest.mark.parametrize(
    "unit", [b"a", b"X-A: b\r\n", b"X:\r\n"], ids=["one value", "many headers", "tiny headers"]
)
def test_a_head_without_an_end_is_refused_and_slows_nobody(instance: Instance, unit: bytes) -> None:
    with connected(instance) as tcp:
        tcp.sendall(head(instance) + b"X: ")
        began = time.monotonic()
        assert flood(tcp, unit, 48) < 48 * MIB
        assert answers_in(instance) < 2.0
        assert time.monotonic() - began < 8.0


def test_the_refusal_is_a_problem(instance: Instance) -> None:
    with connected(instance) as tcp:
        tcp.sendall(head(instance) + b"X: " + b"a" * 40_000)
        heard = rest_of(tcp)
    assert heard.startswith(b"HTTP/1.1 431 ")
    assert b"application/problem+json" in heard
    assert b"connection: close" in heard.lower()


def test_a_head_of_the_size_of_real_ones_is_served(instance: Instance) -> None:
    with connected(instance) as tcp:
        for size in (100, 16_000, 32_000):
            padding = f"X: {'a' * size}"
            tcp.sendall(head(instance, "/health/live", padding) + b"\r\n")
            heard = bytearray()
            while not heard.endswith(b'{"status":"live"}'):
                piece = tcp.recv(65_536)
                assert piece, heard
                heard += piece
            assert heard.startswith(b"HTTP/1.1 200 ")


def test_trailers_and_chunk_extensions_without_an_end_are_cut_off(instance: Instance) -> None:
    token = sign("ada", "candidate", SECRET, 600)
    more = (
        f"Authorization: Bearer {token}",
        "Content-Type: application/json",
        "Transfer-Encoding: chunked",
    )
    post = head(instance, "/api/interviews", *more, method="POST") + b"\r\n"
    for start in (b"0\r\nX: ", b"1;a=", b"0\r\n"):
        with connected(instance) as tcp:
            tcp.sendall(post + start)
            unit = b"X: y\r\n" if start.endswith(b"\n") else b"a"
            assert flood(tcp, unit, 48) < 48 * MIB
            assert answers_in(instance) < 2.0


def test_what_was_refused_for_its_size_is_not_read_on(instance: Instance) -> None:
    post = head(instance, "/api/interviews", "Content-Length: 900000000", method="POST")
    with connected(instance) as tcp:
        tcp.sendall(post + b"\r\n")
        assert tcp.recv(65_536).startswith(b"HTTP/1.1 413 ")
        assert flood(tcp, b"x", 48) < 48 * MIB


def test_requests_that_wait_for_no_answer_are_bounded(instance: Instance) -> None:
    request = head(instance) + b"\r\n"
    with connected(instance) as tcp:
        last = head(instance, "/health/live", "Connection: close") + b"\r\n"
        tcp.sendall(request * 9 + last)
        assert rest_of(tcp).count(b"HTTP/1.1 200 ") == 10
    with connected(instance) as tcp:
        assert flood(tcp, request, 48) < 48 * MIB
        assert answers_in(instance) < 2.0


def test_a_head_that_is_never_complete_is_given_up(instance: Instance) -> None:
    """Each sends a little all the time, which no idle time-out sees."""
    with contextlib.ExitStack() as stack:
        silent, slow, second = (stack.enter_context(connected(instance)) for _ in range(3))
        slow.sendall(b"GET / HT")
        second.sendall(head(instance) + b"\r\n")
        assert second.recv(65_536).startswith(b"HTTP/1.1 200 ")
        second.sendall(b"GET / HT")
        began = time.monotonic()
        ended: set[socket.socket] = set()
        while len(ended) < 3:
            assert time.monotonic() - began < 15.0, "a connection is still open"
            for tcp in {silent, slow, second} - ended:
                tcp.settimeout(0.1)
                with contextlib.suppress(TimeoutError, ConnectionError):
                    if tcp is slow:
                        tcp.sendall(b"x")
                    if tcp.recv(65_536):
                        continue
                    ended.add(tcp)
        assert time.monotonic() - began > 3.0


@pytest.mark.parametrize(
    ("opcode", "payload"),
    [(PING, b""), (CONTINUATION, b""), (TEXT, b"{}")],
    ids=["pings", "empty parts", "messages"],
)
def test_frames_without_an_end_are_cut_off_and_slow_nobody(
    instance: Instance, opcode: int, payload: bytes
) -> None:
    unit = frame(opcode, payload, fin=opcode != CONTINUATION)
    raw = RawSocket(instance.port, "any")
    raw.raw(frame(TEXT, b"", fin=False) if opcode == CONTINUATION else b"")
    assert flood(raw.tcp, unit, 48) < 48 * MIB
    assert answers_in(instance) < 2.0
    again = RawSocket(instance.port, "any")
    again.raw(5_000 * frame(PONG, b""))
    assert again.closed() == Close.RATE_LIMITED
    RawSocket.abandon_all()


def test_connections_beyond_the_limit_are_told_so(start: Callable[..., Instance]) -> None:
    instance = start(VIVA_MAX_CONNECTIONS="1")
    with contextlib.ExitStack() as stack:
        most = 1 + 1000  # the sockets, and room for plain requests
        held = [stack.enter_context(connected(instance)) for _ in range(most)]
        surplus = stack.enter_context(connected(instance))
        assert rest_of(surplus).startswith(b"HTTP/1.1 503 ")
        held[0].sendall(head(instance) + b"\r\n")
        assert held[0].recv(65_536).startswith(b"HTTP/1.1 200 ")
        for tcp in held[:10]:
            tcp.close()
        time.sleep(0.2)
        assert answers_in(instance) < 2.0


def test_sockets_that_have_said_nothing_yet_count_among_the_sockets(
    start: Callable[..., Instance],
) -> None:
    instance = start(VIVA_MAX_CONNECTIONS="2")
    silent, other, *surplus = (RawSocket(instance.port, "any") for _ in range(5))
    assert [each.closed() for each in surplus] == 3 * [Close.DRAINING]
    silent.abandon()
    time.sleep(0.2)
    late = RawSocket(instance.port, "any")
    late.say("hello", credential="none")
    assert late.closed() == Close.CREDENTIAL
    assert other.closed() == Close.NO_HELLO
    RawSocket.abandon_all()
