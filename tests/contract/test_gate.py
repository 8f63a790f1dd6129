"""One suite over every gate: how many go through, in which order, and whose place lapses."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable

import pytest

from storage.gate import LAPSE_MS, Admitted, Full, Gate, Limits, Queued, Standing, Ticket
from storage.redis.gate import GATE_KEYS, RedisGate
from storage.redis.store import RedisStore
from storage.twin.gate import TwinGate
from tests.contract.backends import RedisBackend
from tests.contract.crowds import insist
from tests.support.databases import flush_redis

pytestmark = pytest.mark.anyio

TWO = Limits(calls=2)
SOON_MS = 300
"""For what lapses: a machine that stands still for so long must not fail the other tests."""
IN = Admitted()


@pytest.fixture
async def make(backend_url: str) -> AsyncGenerator[Callable[..., Gate]]:
    """Makes one instance's way to the same gate."""
    if not backend_url:
        twins: list[TwinGate] = []

        def twin(*, lapse_ms: int = LAPSE_MS, waiting: int = 100) -> Gate:
            now = lambda: time.time_ns() // 1_000_000  # noqa: E731
            twins.append(TwinGate(now, lapse_ms=lapse_ms, waiting=waiting))
            return twins[0]  # what all of them share

        yield twin
        return
    flush_redis(backend_url)
    backend = RedisBackend(backend_url)
    try:
        yield lambda *, lapse_ms=LAPSE_MS, waiting=100: RedisGate(
            RedisStore(backend.client()), lapse_ms=lapse_ms, waiting=waiting
        )
    finally:
        await backend.aclose()


@pytest.fixture
def gate(make: Callable[..., Gate]) -> Gate:
    return make()


def of(name: str, interview: str = "", tokens: int = 10, *, urgent: bool = True) -> Ticket:
    return Ticket(id=name, interview_id=interview or f"i-{name}", tokens=tokens, urgent=urgent)


async def test_so_many_run_and_the_others_wait_in_their_order(gate: Gate) -> None:
    asked = [await gate.enter(of(name), TWO) for name in "abcde"]
    assert asked == [IN, IN, Queued(0), Queued(1), Queued(2)]
    assert await gate.standing() == Standing(2, 3)
    await gate.leave(of("a"), TWO, 10)
    assert [await gate.enter(of(name), TWO) for name in "edcba"][:3] == [Queued(2), Queued(1), IN]
    await gate.leave(of("b"), TWO, 10)
    await gate.leave(of("e"), TWO, 0)
    assert await gate.enter(of("d"), TWO) == IN
    assert await gate.enter(of("d"), TWO) == IN, "a repeat changes nothing"


async def test_two_places_go_to_the_first_two(gate: Gate) -> None:
    for name in "abcde":
        await gate.enter(of(name), TWO)
    await gate.leave(of("a"), TWO, 1)
    await gate.leave(of("b"), TWO, 1)
    asked = [await gate.enter(of(name), TWO) for name in "edc"]
    assert asked == [Queued(2), IN, IN]


async def test_an_interview_with_many_calls_does_not_keep_the_others_out(gate: Gate) -> None:
    one = Limits(calls=1)
    assert await gate.enter(of("run"), one) == IN
    for number in range(5):
        await gate.enter(of(f"greedy{number}", "greedy"), one)
    for number in range(3):
        await gate.enter(of(f"modest{number}"), one)
    order: list[str] = []
    running = "run"
    waiting = [f"greedy{number}" for number in range(5)] + [f"modest{n}" for n in range(3)]
    while waiting:
        interview = "greedy" if running.startswith("greedy") else ""
        await gate.leave(of(running, interview), one, 1)
        for name in waiting:
            own = "greedy" if name.startswith("greedy") else ""
            if await gate.enter(of(name, own), one) == IN:
                running = name
                order.append(name)
                waiting.remove(name)
                break
    assert order[0] == "greedy0"
    assert order.index("modest2") < order.index("greedy4")
    assert order.index("modest0") < order.index("greedy2")


async def test_who_speaks_goes_before_who_may_come_later(gate: Gate) -> None:
    one = Limits(calls=1)
    await gate.enter(of("run"), one)
    assert await gate.enter(of("rating", urgent=False), one) == Queued(0)
    assert await gate.enter(of("turn"), one) == Queued(0)
    assert await gate.enter(of("rating", urgent=False), one) == Queued(1)


async def test_the_tokens_of_a_minute_are_shared_out(gate: Gate) -> None:
    limits = Limits(tokens_per_minute=60_000)  # one a millisecond
    assert await gate.enter(of("a", tokens=40_000), limits) == IN
    assert await gate.enter(of("b", tokens=30_000), limits) == Queued(0)
    assert await gate.enter(of("c", tokens=10), limits) == Queued(1), "nobody overtakes"
    await gate.leave(of("a", tokens=40_000), limits, 5_000)
    assert await gate.enter(of("b", tokens=30_000), limits) == IN
    assert await gate.enter(of("c", tokens=10), limits) == IN
    await gate.leave(of("b", tokens=30_000), limits, 60_000)  # more than it was thought to take
    assert await gate.enter(of("d", tokens=10), limits) == Queued(0)


async def test_the_tokens_come_back_with_time(gate: Gate) -> None:
    limits = Limits(tokens_per_minute=60_000)
    assert await gate.enter(of("a", tokens=60_000), limits) == IN
    large = of("b", tokens=1_000)
    assert await gate.enter(large, limits) == Queued(0)
    async with asyncio.timeout(10):
        while await gate.enter(large, limits) != IN:  # noqa: ASYNC110  # it has to ask
            await asyncio.sleep(0.05)


async def test_a_call_of_more_than_a_minute_has_goes_alone(gate: Gate) -> None:
    limits = Limits(tokens_per_minute=1_000)
    assert await gate.enter(of("a", tokens=5_000), limits) == IN
    assert await gate.enter(of("b", tokens=1), limits) == Queued(0)


async def test_the_dead_lose_their_calls_and_places(make: Callable[..., Gate]) -> None:
    gate = make(lapse_ms=SOON_MS)
    for name in "abcd":
        await gate.enter(of(name), TWO)
    answer = None
    for _ in range(4):
        await asyncio.sleep(SOON_MS / 3000)
        await gate.stay([of("a")])
        answer = await gate.enter(of("d"), TWO)
    assert answer == IN, "b ran and c waited for the dead"
    await gate.stay([of("a")])  # it may have lapsed by now, where the machine stood still
    assert await gate.standing() == Standing(2, 0)


async def test_the_queue_is_bounded(make: Callable[..., Gate]) -> None:
    gate = make(waiting=3)
    answers = [await gate.enter(of(str(number)), TWO) for number in range(7)]
    assert answers == [IN, IN, Queued(0), Queued(1), Queued(2), Full(), Full()]


async def test_a_call_that_redis_forgot_is_counted_again(real: RedisBackend) -> None:
    gate = RedisGate(RedisStore(real.client()))
    await gate.enter(of("a"), TWO)
    await real.raw.flushall()
    await gate.stay([of("a")])
    assert await gate.standing() == Standing(1, 0)
    await gate.leave(of("a"), TWO, 1)
    assert await gate.standing() == Standing(0, 0)


async def test_no_call_shuts_the_gate_for_long(real: RedisBackend) -> None:
    gate, limits = RedisGate(RedisStore(real.client())), Limits(tokens_per_minute=60_000)
    for name in "ab":
        await real.raw.hset(GATE_KEYS[3], "level", 60_000)
        assert await gate.enter(of(name), limits) == IN
        await gate.leave(of(name), limits, 10**9)
        assert float(await real.raw.hget(GATE_KEYS[3], "level")) == -60_000


@pytest.mark.parametrize("seed", range(3))
async def test_no_crowd_gets_past_it_and_nobody_is_left_behind(
    make: Callable[..., Gate], seed: int
) -> None:
    draw = random.Random(seed)
    gates = [make() for _ in range(4)]
    limits = Limits(calls=3, tokens_per_minute=6_000_000)
    running = high = 0
    tokens = 0

    async def call(number: int) -> None:
        nonlocal running, high, tokens
        gate, ticket = gates[number % 4], of(f"c{number}", f"i{number % 7}", draw.randrange(900))
        while not isinstance(await insist(lambda: gate.enter(ticket, limits)), Admitted):  # noqa: ASYNC110
            await asyncio.sleep(0.005)  # whoever waits asks again
        running += 1
        high = max(high, running)
        await asyncio.sleep(draw.random() / 200)
        running -= 1
        tokens += ticket.tokens
        used = draw.randrange(900)
        await insist(lambda: gate.leave(ticket, limits, used))

    async with asyncio.timeout(60):
        await asyncio.gather(*(call(number) for number in range(60)))
    assert high == 3
    assert await gates[0].standing() == Standing(0, 0)


async def test_nothing_is_left_but_the_bucket(real: RedisBackend) -> None:
    gate = RedisGate(RedisStore(real.client()))
    limits = Limits(calls=1, tokens_per_minute=100)
    for name in "abc":
        await gate.enter(of(name, "same"), limits)
    for name in "cba":
        await gate.leave(of(name, "same"), limits, 1)
    assert await real.raw.hkeys(GATE_KEYS[3]) == [b"seq", b"level", b"at"]
    assert [await real.raw.exists(key) for key in GATE_KEYS] == [0, 0, 0, 1]
    assert 0 < await real.raw.ttl(GATE_KEYS[3]) <= 86_400
    assert {key.split("{")[1].split("}")[0] for key in GATE_KEYS} == {"gate"}


async def test_leaving_works_without_memory(real: RedisBackend) -> None:
    gate = RedisGate(RedisStore(real.client()))
    await gate.enter(of("a"), TWO)
    async with real.full():
        await gate.stay([of("a")])
        await gate.leave(of("a"), TWO, 1)
    assert await gate.standing() == Standing(0, 0)
