"""compose.yaml's topology as plain processes: a balancer, two instances, Valkey, PostgreSQL."""

import asyncio
import contextlib
import hashlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from protocol import events as e
from protocol.closes import Close
from protocol.codec import Encoding
from server.auth import sign
from storage.postgres.migrate import migrate
from tests.e2e.balancers import Balancer, ServedInstance, binary
from tests.e2e.candidates import Candidate
from tests.e2e.instances import SECRET

ORIGIN = "https://interviews.example"
PACE = {"VIVA_BANK_PACE": "400", "VIVA_ORIGINS": ORIGIN}
SLOWER = {**PACE, "VIVA_BANK_PACE": "120"}
"""Words a second: slow enough for a question to be interrupted in its middle."""
PLAN = {"type": "technical", "role": "Engineer", "duration_minutes": 15}
TAKEN_OVER_S = 8.0
CROWD = 60
ENCODINGS: dict[str, Encoding] = {"haproxy": "json", "nginx": "msgpack"}

Serve = Callable[..., ServedInstance]


@pytest.fixture(params=["haproxy", "nginx"])
def balancer(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Balancer]:
    if binary(request.param) is None:
        pytest.skip(f"no {request.param} is installed")
    balancer = Balancer(request.param, tmp_path)
    yield balancer
    balancer.stop()


@pytest.fixture
def serve(
    balancer: Balancer, redis_url: str, database_url: str, tmp_path: Path
) -> Generator[Serve]:
    """Starts an instance behind the balancer, as compose would; keyword arguments are settings."""
    asyncio.run(migrate(database_url))
    instances: list[ServedInstance] = []

    def begin(**settings: str) -> ServedInstance:
        environment = {"REDIS_URL": redis_url, "DATABASE_URL": database_url}
        instance = ServedInstance({**environment, **settings}, tmp_path, balancer)
        instances.append(instance)
        instance.start()
        return instance

    yield begin
    for instance in instances:
        instance.kill()


def call(url: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """One request of the API; the status and, where the reply is JSON, what it holds."""
    token = sign("ann", "candidate", SECRET, 600)
    request = urllib.request.Request(
        url + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            text = reply.read()
            kind = reply.headers.get("content-type", "")
            return reply.status, json.loads(text) if "json" in kind else text
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


async def join(balancer: Balancer, encoding: Encoding) -> tuple[str, Candidate]:
    """A new interview, made through the balancer, and its candidate."""
    status, made = await asyncio.to_thread(call, balancer.url, "/api/interviews", PLAN)
    assert status == 201
    path = f"/api/interviews/{made['id']}"

    async def ticket() -> str:
        _, issued = await asyncio.to_thread(call, balancer.url, f"{path}/tickets", {})
        assert issued["socket_url"] == f"ws://{balancer.host}{path}/socket"
        return issued["ticket"]

    return path, Candidate(balancer.url, made["id"], ticket, encoding)


@pytest.mark.anyio
@pytest.mark.parametrize("balancer", ["haproxy"], indirect=True)  # nginx does not ask who is ready
async def test_who_is_sent_away_is_not_sent_back(balancer: Balancer, serve: Serve) -> None:
    many = {**PACE, "VIVA_MAX_INTERVIEWS_PER_USER": str(CROWD)}
    starting = (asyncio.to_thread(serve, **many) for _ in range(2))
    drained, stays = await asyncio.gather(*starting)
    await asyncio.to_thread(balancer.start, [drained.address, stays.address])
    crowd = [(await join(balancer, "json"))[1] for _ in range(CROWD)]
    async with contextlib.AsyncExitStack() as present:
        for candidate in crowd:
            await present.enter_async_context(candidate.present())
            await candidate.until(lambda one=candidate: one.session.live)
        sent = drained.sockets
        assert CROWD // 3 < sent < CROWD
        await asyncio.to_thread(drained.stop)
        for candidate in crowd:
            await candidate.until(lambda one=candidate: one.session.live)
        assert [one.closes for one in crowd if one.closes] == [[Close.DRAINING]] * sent
        assert stays.sockets == CROWD


@pytest.mark.anyio
async def test_an_interview_outlives_both_of_its_instances(
    balancer: Balancer, serve: Serve
) -> None:
    starting = (asyncio.to_thread(serve, **SLOWER) for _ in range(2))
    instances = await asyncio.gather(*starting)
    addresses = [instance.address for instance in instances]
    await asyncio.to_thread(balancer.start, addresses)
    path, candidate = await join(balancer, ENCODINGS[balancer.kind])

    async def holder() -> ServedInstance:
        await candidate.until(lambda: candidate.session.live)
        found = await asyncio.to_thread(lambda: [one for one in instances if one.sockets])
        assert len(found) == 1
        return found[0]

    async with candidate.present():
        await candidate.until(lambda: candidate.session.live)
        await candidate.start()
        await candidate.answer()

        # SIGTERM in the middle of a question: it drains, and the candidate moves on.
        drained = await holder()
        stays = next(instance for instance in instances if instance is not drained)
        await candidate.question()
        began = time.monotonic()
        leaving = asyncio.create_task(asyncio.to_thread(drained.stop))
        await candidate.answer()
        await leaving
        assert time.monotonic() - began < 30
        assert '"event": "drained"' in drained.log()
        assert await holder() is stays
        assert set(candidate.closes) == {Close.DRAINING}
        assert len(candidate.of(e.Draining)) == 1
        assert not candidate.of(e.TurnReset)  # the question went on to its end

        # The other one is killed in the middle of a later question, once the first is back.
        await asyncio.to_thread(drained.start)
        if balancer.kind == "haproxy":
            await asyncio.to_thread(balancer.await_states, "UP", "UP")
        await candidate.answer()
        await candidate.question()
        connections = len(candidate.closes)
        stays.kill()
        killed = time.monotonic()
        await candidate.until(
            lambda: len(candidate.closes) > connections and candidate.view.head.seq > candidate.held
        )
        assert time.monotonic() - killed < TAKEN_OVER_S
        assert await holder() is drained
        assert candidate.closes[-1] == 1006

        while await candidate.answer():
            pass
        await candidate.until(lambda: not candidate.session.unstored)

    assert len(candidate.of(e.TurnReset)) <= 1  # none, where the interviewer can go on
    welcomes = candidate.of(e.Welcome)
    assert len(welcomes) >= 3
    assert all(welcome.recovered for welcome in welcomes[1:])
    assert candidate.sequence == list(range(1, candidate.view.head.seq + 1))
    status, kept = await asyncio.to_thread(call, balancer.url, f"{path}/transcript")
    assert status == 200
    assert kept["turns"] == msgspec.to_builtins(candidate.view.turns)
    assert [
        turn["text"] for turn in kept["turns"] if turn["speaker"] == "candidate"
    ] == candidate.answers
    assert {turn["outcome"] for turn in kept["turns"]} == {"final"}
    for turn in kept["turns"]:
        assert hashlib.sha256(turn["text"].encode()).hexdigest() == turn["sha256"]


@pytest.mark.anyio
async def test_only_what_is_meant_for_the_public_passes(balancer: Balancer, serve: Serve) -> None:
    instance = await asyncio.to_thread(serve, **PACE)
    await asyncio.to_thread(balancer.start, [instance.address])
    path, candidate = await join(balancer, "json")
    address = f"ws://{balancer.host}{path}/socket"
    for origin in ("https://elsewhere.example", "null"):
        with pytest.raises(InvalidStatus) as refused:
            await connect(address, origin=cast("Any", origin), proxy=None)
        assert refused.value.response.status_code == 403
    for origin in (ORIGIN, balancer.url):  # a page that is listed, and viva's own
        async with connect(address, origin=cast("Any", origin), proxy=None) as socket:
            await socket.wait_closed()
            assert socket.close_code == Close.NO_SUBPROTOCOL
    async with candidate.present():  # no origin: no browser
        await candidate.until(lambda: candidate.session.live)

    def status(of: str, body: Any = None, **headers: str) -> int:
        return call(balancer.url, of, body, **headers)[0]

    def statuses() -> list[int]:
        hidden = ("/metrics", "//metrics", "/%6Detrics", "/metrics/", "/metrics?x=1")
        return [status(of) for of in hidden]

    assert await asyncio.to_thread(statuses) == [404] * 5
    assert await asyncio.to_thread(status, "/health/live") == 200
    assert await asyncio.to_thread(status, "/health/live", Host="elsewhere.example") == 421
    large = {**PLAN, "resume": "x" * 300_000}
    assert await asyncio.to_thread(status, "/api/interviews", large) == 413
    assert await asyncio.to_thread(status, "/health/live", X_Large="x" * 20_000) in (400, 431)

    # The page, whose module scripts are served the same way.
    served, page = await asyncio.to_thread(call, balancer.url, "/")
    assert served == 200
    assert b"<title>" in page
    assert instance.healthy
    instance.kill()
    assert not instance.healthy
    assert await asyncio.to_thread(status, "/health/live") in (502, 503)
