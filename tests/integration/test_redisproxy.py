"""The harness's proxy in front of a real Valkey."""

import asyncio
from typing import Any

import pytest

from loadtest.redisproxy import Moment, RedisProxy
from storage.errors import BackendDownError
from storage.live import Missing, State
from storage.redis.connect import connect
from storage.redis.store import RedisStore
from tests.contract.interviews import NAME, restore_of

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("moment", "answered", "effect"),
    [("before", "no", "none"), ("instead", "no", "done"), ("after", "yes", "done")],
)
async def test_a_call_fails_at_its_moment(
    redis_url: str, moment: Moment, answered: str, effect: str
) -> None:
    happened: list[str] = []
    async with RedisProxy(redis_url).running() as proxy:
        client = connect(proxy.url)
        store, direct_client = RedisStore(client), connect(redis_url)
        direct = RedisStore(direct_client)
        await store.load(NAME)
        rule = proxy.once("create", moment, lambda: happened.append("now"))
        try:
            if answered == "yes":
                assert await store.create(restore_of()) == "ok"
            else:
                with pytest.raises(BackendDownError):
                    await store.create(restore_of())
            assert (rule.fired.is_set(), happened) == (True, ["now"])
            assert isinstance(await direct.load(NAME), State if effect == "done" else Missing)
            assert await store.create(restore_of()) == (
                "exists" if effect == "done" else "ok"
            )  # it goes on
            assert proxy.calls["create"] == 2
        finally:
            await client.aclose()
            await direct_client.aclose()


async def test_pipelines_and_big_values_pass_unchanged(redis_url: str) -> None:
    async with RedisProxy(redis_url).running() as proxy:
        client: Any = connect(proxy.url)
        blob = bytes(range(256)) * 8_000
        try:
            assert await client.set("blob", blob)
            assert await client.get("blob") == blob
            pipe = client.pipeline(transaction=False)
            for number in range(300):
                pipe.set(f"k{number}", number)
                pipe.get(f"k{number}")
            replies = await pipe.execute()
            assert [int(n) for n in replies[1::2]] == list(range(300))
        finally:
            await client.aclose()


async def test_the_nth_call_of_a_pipeline_fails_and_those_before_it_do_not(redis_url: str) -> None:
    async with RedisProxy(redis_url).running() as proxy:
        client: Any = connect(proxy.url)
        try:
            proxy.once("incrby", "before", lambda: None, nth=5)
            pipe = client.pipeline(transaction=False)
            for _ in range(9):
                pipe.incr("n")
            with pytest.raises(Exception, match=r"."):
                await pipe.execute()
            await asyncio.sleep(0.05)
            assert int(await client.get("n")) <= 4
        finally:
            await client.aclose()


async def test_refused_and_swallowed_until_it_passes_again(redis_url: str) -> None:
    async with RedisProxy(redis_url).running() as proxy:
        client = connect(proxy.url)
        store = RedisStore(client)
        try:
            await store.ping()
            await proxy.set_mode("refuse")
            with pytest.raises(BackendDownError):
                await store.ping()
            await proxy.set_mode("swallow")
            with pytest.raises(BackendDownError):
                await store.ping()
            await proxy.set_mode("pass")
            await store.ping()
        finally:
            await client.aclose()
