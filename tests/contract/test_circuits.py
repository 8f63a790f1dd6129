"""What instances tell each other of a model, on every real server: it is there, and it lapses."""

import asyncio

import pytest

from storage.circuits import Finding
from storage.redis.circuits import RedisCircuits
from storage.redis.store import RedisStore
from tests.contract.backends import RedisBackend

pytestmark = pytest.mark.anyio


async def test_what_one_tells_the_others_know_until_it_lapses(real: RedisBackend) -> None:
    one, other = (RedisCircuits(RedisStore(real.client())) for _ in range(2))
    assert await other.ask(("a", "b")) == {}
    await one.tell("a", Finding("quota_exhausted", 150))
    found = await other.ask(("a", "b"))
    assert {name: finding.code for name, finding in found.items()} == {"a": "quota_exhausted"}
    assert 0 < found["a"].left_ms <= 150
    await asyncio.sleep(0.2)
    assert await other.ask(("a", "b")) == {}
    assert await other.ask(()) == {}
    await one.tell("a", Finding("rate_limited", 0))  # it held for hardly any time more
