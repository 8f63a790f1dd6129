"""One connection for any number of calls: whose reply is whose, and what is lost with it."""

import asyncio
import gc
import random
import time
from typing import Any

import pytest
from redis import exceptions

from storage.redis import wire as wires
from storage.redis.connect import Client, connect
from storage.redis.resp import command
from storage.redis.wire import CALL_TIMEOUT_S, CONNECT_TIMEOUT_S, Wire
from tests.contract.backends import RedisBackend
from tests.contract.proxy import proxied

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Both loops: the server runs on uvloop, whose transports and timers are its own."""
    return ("asyncio", {"use_uvloop": request.param})


PING = [command(("PING",))]
WHO = [command(("CLIENT", "ID"))]


def _wire(backend: RedisBackend) -> Wire:
    return backend.client().wire


async def test_each_caller_gets_its_own_replies(real: RedisBackend) -> None:
    wire = _wire(real)
    draw = random.Random(1)

    async def ask(number: int) -> None:
        words = [f"{number}-{each}" for each in range(draw.randrange(1, 5))]
        assert await wire.send([command(("ECHO", word)) for word in words]) == [
            word.encode() for word in words
        ]

    await asyncio.gather(*map(ask, range(2_000)))


async def test_a_large_reply_comes_whole_and_delays_nobody_forever(valkey: RedisBackend) -> None:
    wire = _wire(valkey)
    large = "x" * 3_000_000
    replies = await asyncio.gather(
        wire.send([command(("SET", "large", large))]),
        wire.send([command(("GET", "large"))]),
        wire.send(PING),
    )
    assert replies == [[b"OK"], [large.encode()], [b"PONG"]]


async def test_a_refused_call_stands_in_its_place(valkey: RedisBackend) -> None:
    calls = [command(("ECHO", "a")), command(("NONSENSE",)), command(("ECHO", "b"))]
    before, refused, behind = await _wire(valkey).send(calls)
    assert (before, behind) == (b"a", b"b")
    assert isinstance(refused, exceptions.ResponseError)


async def test_what_is_posted_goes_in_its_turn_and_what_comes_of_it_is_nobodys(
    valkey: RedisBackend,
) -> None:
    loop, told, look = asyncio.get_running_loop(), list[Any](), command(("GET", "posted"))
    loop.set_exception_handler(lambda _, context: told.append(context))
    async with proxied(valkey.url) as proxy:
        client = connect(proxy.url)
        wire = client.wire
        wire.post([command(("SET", "posted", "a"))])  # there is no connection
        assert await wire.send([look]) == [None]
        wire.post([command(("SET", "posted", "b")), command(("NONSENSE",))])
        assert await wire.send([look]) == [b"b"]
        proxy.passing.clear()
        wire.post(PING)
        await asyncio.sleep(0.05)
        proxy.cut()
        proxy.passing.set()
        await asyncio.sleep(0.05)
        wire.post([command(("SET", "posted", "c"))])  # it was lost
        assert await wire.send([look]) == [b"b"]
        await client.aclose()
    gc.collect()
    await asyncio.sleep(0)
    assert told == []


async def test_no_calls_need_no_connection(valkey: RedisBackend) -> None:
    async with proxied(valkey.url) as proxy:
        client = connect(proxy.url)
        assert await client.wire.send([]) == []
        assert proxy.connections == 0
        await client.aclose()


async def test_many_callers_share_one_attempt_and_its_outcome(valkey: RedisBackend) -> None:
    async with proxied(valkey.url) as proxy:
        client = connect(proxy.url)
        await asyncio.gather(*(client.wire.send(PING) for _ in range(200)))
        assert proxy.connections == 1
        await client.aclose()
        proxy.passing.clear()
        client = connect(proxy.url)
        began = time.monotonic()
        outcomes = await asyncio.gather(
            *(client.wire.send(PING) for _ in range(200)), return_exceptions=True
        )
        assert all(isinstance(each, exceptions.TimeoutError | TimeoutError) for each in outcomes)
        assert time.monotonic() - began < CONNECT_TIMEOUT_S + CALL_TIMEOUT_S + 0.5
        assert proxy.connections == 2
        await client.aclose()


async def test_who_leaves_while_it_connects_spoils_it_for_nobody(valkey: RedisBackend) -> None:
    for steps in range(12):
        client = valkey.client()
        first, second = (asyncio.create_task(client.wire.send(PING)) for _ in range(2))
        for _ in range(steps):
            await asyncio.sleep(0)
        first.cancel()
        assert await second == [b"PONG"]
        await asyncio.gather(first, return_exceptions=True)


async def test_what_is_under_way_fails_with_the_connection_and_the_next_has_another(
    valkey: RedisBackend,
) -> None:
    async with proxied(valkey.url) as proxy:
        client = connect(proxy.url)
        ((first,), _) = await asyncio.gather(client.wire.send(WHO), client.wire.send(PING))
        proxy.passing.clear()
        under_way = [asyncio.create_task(client.wire.send(PING)) for _ in range(20)]
        await asyncio.sleep(0.05)
        proxy.cut()
        proxy.passing.set()
        outcomes = await asyncio.gather(*under_way, return_exceptions=True)
        assert [type(each) for each in outcomes] == [exceptions.ConnectionError] * 20
        (second,) = await client.wire.send(WHO)
        assert second != first
        await client.aclose()


async def test_a_server_that_closes_an_idle_connection_costs_nothing(real: RedisBackend) -> None:
    client = real.client()
    (name,) = await client.wire.send(WHO)
    await real.raw.execute_command("CLIENT", "KILL", "ID", name)
    await asyncio.sleep(0.05)
    assert await client.wire.send(PING) == [b"PONG"]


async def test_calls_come_due_each_in_its_time(valkey: RedisBackend) -> None:
    async with proxied(valkey.url) as proxy:
        client = connect(proxy.url)
        await client.wire.send(PING)
        proxy.passing.clear()
        clock = (
            asyncio.get_running_loop().time
        )  # calls are due by it, and uvloop's counts whole milliseconds
        began = clock()
        early = asyncio.create_task(client.wire.send(PING))
        await asyncio.sleep(CALL_TIMEOUT_S / 2)
        late = asyncio.create_task(client.wire.send(PING))
        outcomes = await asyncio.gather(early, late, return_exceptions=True)
        assert [type(each) for each in outcomes] == [exceptions.TimeoutError] * 2
        assert began + CALL_TIMEOUT_S <= clock() < began + CALL_TIMEOUT_S + wires.UNREAD_S + 0.3
        proxy.passing.set()
        assert await client.wire.send(PING) == [b"PONG"]
        await client.aclose()


async def test_a_primary_that_became_a_replica_is_left(valkey: RedisBackend) -> None:
    client = valkey.client()
    (first,) = await client.wire.send(WHO)
    await valkey.raw.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        (refused,) = await client.wire.send([command(("SET", "a", "b"))])
        assert str(refused).startswith("READONLY")
        (second,) = await client.wire.send(WHO)
        assert second != first
    finally:
        await valkey.raw.execute_command("REPLICAOF", "NO", "ONE")


async def test_a_reply_to_nothing_ends_the_connection(valkey: RedisBackend) -> None:
    client = valkey.client()
    (first,) = await client.wire.send(WHO)
    link: Any = vars(client.wire)["_link"]
    link.data_received(b"+SURPLUS\r\n")
    assert link.lost
    (second,) = await client.wire.send(WHO)
    assert second != first


async def test_more_calls_than_may_wait_are_refused_at_once(
    valkey: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wires, "MOST_CALLS", 3)
    client = valkey.client()
    await client.wire.send(PING)
    outcomes = await asyncio.gather(
        *(client.wire.send(PING) for _ in range(5)), return_exceptions=True
    )
    assert outcomes[:3] == [[b"PONG"]] * 3
    assert [type(each) for each in outcomes[3:]] == [exceptions.ConnectionError] * 2
    assert await client.wire.send(PING) == [b"PONG"]


async def test_bytes_that_have_not_left_yet_count_too(
    valkey: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wires, "MOST_BYTES", 1_000)
    client = valkey.client()
    await client.wire.send(PING)
    calls = [command(("ECHO", "x" * 600))]
    outcomes = await asyncio.gather(
        *(client.wire.send(calls) for _ in range(5)), return_exceptions=True
    )
    assert outcomes[:2] == [[b"x" * 600]] * 2
    assert [type(each) for each in outcomes[2:]] == [exceptions.ConnectionError] * 3
    assert await client.wire.send(calls) == [b"x" * 600]


async def test_a_connection_lost_as_soon_as_it_was_there_leaves_nobody_waiting(
    valkey: RedisBackend,
) -> None:
    """Who waits for a connection wakes some turns of the loop after it was made."""
    client = valkey.client()
    kind: Any = vars(wires)["_Link"]
    made = kind.__init__

    def lost(link: Any, *given: Any) -> None:
        made(link, *given)
        link.connection_lost(None)  # no server closes at just that moment each time

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(kind, "__init__", lost)
        async with asyncio.timeout(5):
            outcomes = await asyncio.gather(
                *(client.wire.send(PING) for _ in range(3)), return_exceptions=True
            )
    assert [type(each) for each in outcomes] == [exceptions.ConnectionError] * 3
    assert await client.wire.send(PING) == [b"PONG"]


async def test_two_sentinels_that_are_gone_do_not_end_an_attempt(valkey: RedisBackend) -> None:
    """They take 1.6 s before a third one is asked."""
    client = valkey.client()
    pool: Any = client.connection_pool
    make = pool.make_connection

    def slow() -> Any:
        connection = make()
        connect = connection.connect

        async def late() -> None:
            await asyncio.sleep(2 * CONNECT_TIMEOUT_S + 0.1)
            await connect()

        connection.connect = late
        return connection

    pool.make_connection = slow
    assert await client.wire.send(PING) == [b"PONG"]


@pytest.mark.parametrize("beyond_s", [0.0, 0.03, 0.1])
async def test_a_process_that_stood_still_blames_nobody(
    valkey: RedisBackend, monkeypatch: pytest.MonkeyPatch, beyond_s: float
) -> None:
    monkeypatch.setattr(wires, "UNREAD_S", 10.0)  # a busy machine may stand still again
    for turns in range(1, 4):  # the calls have not left, are on their way, or were answered
        client = connect(valkey.url)  # with no other's timer, nor more time than a server gives it
        try:
            number = await client.wire.send(WHO)
            under_way = [asyncio.create_task(client.wire.send(WHO)) for _ in range(3)]
            for _ in range(turns):
                await asyncio.sleep(0)
            time.sleep(CALL_TIMEOUT_S + beyond_s)  # noqa: ASYNC251  # just that
            assert await asyncio.gather(*under_way) == [number] * 3
        finally:
            await client.aclose()


async def test_who_stood_still_also_waits_for_what_comes_due_right_behind(
    valkey: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wires, "UNREAD_S", 10.0)  # as above
    async with proxied(valkey.url) as proxy:
        client = connect(proxy.url)
        await client.wire.send(PING)  # the timer is its, and looks at the next one when it comes
        await asyncio.sleep(0.1)
        proxy.passing.clear()
        under_way = asyncio.create_task(client.wire.send(PING))
        await asyncio.sleep(0)
        time.sleep(CALL_TIMEOUT_S - 0.025)  # noqa: ASYNC251  # the process stands still
        await asyncio.sleep(0.1)
        proxy.passing.set()
        await under_way
        await client.aclose()


async def test_closing_fails_what_is_under_way(valkey: RedisBackend) -> None:
    client: Client = valkey.client()
    await client.wire.send(PING)
    under_way = asyncio.create_task(client.wire.send(PING))
    await asyncio.sleep(0)
    await client.aclose()
    with pytest.raises(exceptions.ConnectionError):
        await under_way
    connecting = valkey.client()
    attempt = asyncio.create_task(connecting.wire.send(PING))
    await asyncio.sleep(0)
    await connecting.aclose()
    with pytest.raises(exceptions.ConnectionError):
        await attempt


async def test_nothing_is_opened_again_once_it_is_closed(valkey: RedisBackend) -> None:
    for turns in range(30):  # asked for, connecting, connected
        client = valkey.client()
        under_way = asyncio.create_task(client.wire.send(PING))
        for _ in range(turns):
            await asyncio.sleep(0.001 if turns > 20 else 0)
        await client.aclose()
        async with asyncio.timeout(5):
            await asyncio.gather(under_way, return_exceptions=True)
        with pytest.raises(exceptions.ConnectionError):
            await client.wire.send(PING)
