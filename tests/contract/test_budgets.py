"""The model's budgets on every real server."""

import asyncio
import random
from itertools import product

import pytest

from storage.budgets import Caps, Granted, Payer, Refused, Spent
from storage.errors import OutOfMemoryError
from storage.redis.budgets import RedisBudgets, budget_keys
from storage.redis.store import RedisStore
from tests.contract.backends import RedisBackend
from tests.contract.crowds import insist

pytestmark = pytest.mark.anyio

PAYER = Payer(interview_id="i1", user_id="u1", day="2026-06-01")
CAPS = Caps(interview=100, user_day=250, day=600, soft=0.8)
LONG_MS = 60_000


def _budgets(real: RedisBackend) -> RedisBudgets:
    return RedisBudgets(RedisStore(real.client()))


def _of(interview: str, user: str = "u1", day: str = "2026-06-01") -> Payer:
    return Payer(interview_id=interview, user_id=user, day=day)


async def hold(
    budgets: RedisBudgets,
    call: str,
    amount: int,
    payer: Payer = PAYER,
    *,
    least: int | None = None,
    caps: Caps = CAPS,
    hold_ms: int = LONG_MS,
) -> Granted | Refused:
    lower = amount if least is None else least
    return await budgets.reserve(call, payer, least=lower, most=amount, caps=caps, hold_ms=hold_ms)


async def test_a_hold_gives_way_to_what_the_call_cost(real: RedisBackend) -> None:
    budgets = _budgets(real)
    assert await hold(budgets, "c1", 60) == Granted(60)
    assert set((await budgets.spent(PAYER)).values()) == {Spent(0, 60)}
    assert await budgets.settle("c1", PAYER, 25)
    assert set((await budgets.spent(PAYER)).values()) == {Spent(25, 0)}


async def test_a_cap_is_reached_but_never_passed(real: RedisBackend) -> None:
    budgets = _budgets(real)
    assert await hold(budgets, "c1", 100) == Granted(100)
    assert await hold(budgets, "c2", 1) == Refused("interview", passing=True)
    await budgets.settle("c1", PAYER, 100)
    assert await hold(budgets, "c3", 1) == Refused("interview", passing=False)
    assert await hold(budgets, "c4", 0) == Granted(0, ("interview",))


async def test_a_call_gets_what_is_left_if_that_is_enough(real: RedisBackend) -> None:
    budgets = _budgets(real)
    await hold(budgets, "c1", 70)
    assert await hold(budgets, "c2", 90, least=31) == Refused("interview", passing=True)
    assert await hold(budgets, "c3", 90, least=30) == Granted(30)
    assert (await budgets.spent(PAYER))["interview"] == Spent(0, 100)


async def test_each_budget_is_told_by_its_name(real: RedisBackend) -> None:
    budgets = _budgets(real)
    for number in range(5):
        answer = await hold(budgets, f"c{number}", 100, _of(f"i{number}"))
        assert answer == (Granted(100) if number < 2 else Refused("user_day", passing=True))
    for number in range(5, 9):
        await hold(budgets, f"c{number}", 100, _of(f"i{number}", f"u{number}"))
    assert await hold(budgets, "c9", 100, _of("i9", "u9")) == Refused("day", passing=True)
    assert await hold(budgets, "c10", 100, _of("i9", "u9", "2026-06-02")) == Granted(100)
    assert (await budgets.spent(_of("i9", "u9")))["interview"].held == 100


async def test_what_is_refused_holds_nothing_anywhere(real: RedisBackend) -> None:
    budgets = _budgets(real)
    tight = Caps(interview=100, user_day=100, day=10)
    assert await hold(budgets, "c1", 20, caps=tight) == Refused("day", passing=False)
    assert set((await budgets.spent(PAYER)).values()) == {Spent(0, 0)}


async def test_no_cap_is_no_limit_and_still_counted(real: RedisBackend) -> None:
    budgets = _budgets(real)
    assert await hold(budgets, "c1", 10**12, caps=Caps()) == Granted(10**12)
    await budgets.settle("c1", PAYER, 10**12)
    assert (await budgets.spent(PAYER))["day"] == Spent(10**12, 0)


async def test_the_soft_caps_are_told_once_so_much_is_spent(real: RedisBackend) -> None:
    budgets = _budgets(real)
    await hold(budgets, "c1", 80)
    await budgets.settle("c1", PAYER, 79)
    assert await hold(budgets, "c2", 1) == Granted(1)
    await budgets.settle("c2", PAYER, 1)
    assert await hold(budgets, "c3", 1) == Granted(1, ("interview",))
    await hold(budgets, "c4", 100, _of("i2"))
    await budgets.settle("c4", _of("i2"), 100)
    await hold(budgets, "c5", 20, _of("i3"))
    await budgets.settle("c5", _of("i3"), 20)
    assert await hold(budgets, "c6", 1, _of("i4")) == Granted(1, ("user_day",))


async def test_repeats_change_nothing(real: RedisBackend) -> None:
    budgets = _budgets(real)
    assert await hold(budgets, "c1", 60) == await hold(budgets, "c1", 60) == Granted(60)
    assert await budgets.settle("c1", PAYER, 30)
    assert not await budgets.settle("c1", PAYER, 30)
    assert set((await budgets.spent(PAYER)).values()) == {Spent(30, 0)}


async def test_a_hold_that_comes_behind_its_settlement_holds_nothing(real: RedisBackend) -> None:
    budgets = _budgets(real)
    assert await budgets.settle("c1", PAYER, 0)
    assert isinstance(await hold(budgets, "c1", 60), Refused)
    assert set((await budgets.spent(PAYER)).values()) == {Spent(0, 0)}


async def test_the_holds_of_the_dead_lapse_so_many_at_a_time(real: RedisBackend) -> None:
    budgets = _budgets(real)
    caps = Caps(interview=100)
    for number in range(100):
        assert await hold(budgets, f"c{number}", 1, caps=caps, hold_ms=3_000) == Granted(1)
    assert await hold(budgets, "early", 1, caps=caps) == Refused("interview", passing=True)
    holds = budget_keys(PAYER)[1]
    await real.raw.zadd(holds, {f"c{number}": 1 for number in range(100)})  # it is later now
    assert await hold(budgets, "first", 100, least=65, caps=caps) == Refused(
        "interview", passing=True
    )
    assert (await budgets.spent(PAYER))["interview"] == Spent(0, 36)
    assert await hold(budgets, "second", 100, least=65, caps=caps) == Granted(100)
    assert await budgets.settle("c7", PAYER, 3), "it lived after all: what it cost counts"
    assert (await budgets.spent(PAYER))["interview"] == Spent(3, 100)


async def test_a_stored_response_is_paid_for_once(real: RedisBackend) -> None:
    budgets = _budgets(real)
    await hold(budgets, "c1", 60)
    await hold(budgets, "c2", 60, caps=Caps())
    assert await budgets.settle("c1", PAYER, 20, response_id="r", at=1_800_000_000_000)
    assert await budgets.settle("c2", PAYER, 15, response_id="r", at=1_800_000_000_500)
    assert await budgets.settle("c3", PAYER, 99, response_id="r", at=1_800_000_000_400)
    assert await budgets.settle("c4", PAYER, 1, response_id="s", at=1)
    assert set((await budgets.spent(PAYER)).values()) == {Spent(16, 0)}


@pytest.mark.parametrize("least", [7, 3])
async def test_no_race_gets_past_a_cap(real: RedisBackend, least: int) -> None:
    clients = [_budgets(real) for _ in range(4)]
    draw = random.Random(least)
    high = 0

    async def call(number: int) -> int:
        nonlocal high
        budgets = clients[number % len(clients)]
        name = f"c{number}"
        answer = await insist(lambda: hold(budgets, name, 7, least=least))
        if isinstance(answer, Refused):
            return 0
        standing = (await insist(lambda: budgets.spent(PAYER)))["interview"]
        high = max(high, standing.spent + standing.held)
        cost = draw.randint(0, answer.amount)
        await asyncio.sleep(draw.random() / 100)
        await insist(lambda: budgets.settle(name, PAYER, cost))
        return cost

    costs = await asyncio.gather(*(call(number) for number in range(200)))
    assert 90 < high <= 100
    assert set((await clients[0].spent(PAYER)).values()) == {Spent(sum(costs), 0)}
    assert sum(costs) <= 100
    assert await real.raw.zcard(budget_keys(PAYER)[1]) == 0


async def test_no_users_budget_is_what_another_holds(real: RedisBackend) -> None:
    budgets = _budgets(real)
    users = ["u1:holds", "u1:holds:", "u1", "u1:holds:holds", "u1:", "holds", ":holds"]
    for number, user in enumerate(users):
        assert await hold(budgets, f"c{number}", 60, _of(f"i{number}", user)) == Granted(60)
    for number, user in enumerate(users):
        assert await budgets.settle(f"c{number}", _of(f"i{number}", user), number)
        assert (await budgets.spent(_of("i", user)))["user_day"] == Spent(number, 0)


def test_the_keys_of_all_users_are_apart() -> None:
    parts = ("u", ":", ".", ":holds")
    users = {"".join(some) for count in range(1, 5) for some in product(parts, repeat=count)}
    keys = [key for user in users for key in budget_keys(_of("i1", user))[2:4]]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("user", ["u1", "ann@example.org", "auth0|5:7", "a:holds:b", "aholds", "%"])
def test_what_usual_users_spent_is_known_after_an_update(user: str) -> None:
    own = f"viva:{{budget}}:user:2026-06-01:{user}"
    assert budget_keys(_of("i1", user))[2:4] == (own, f"{own}:holds")


async def test_all_keys_end_and_share_a_slot(real: RedisBackend) -> None:
    budgets = _budgets(real)
    await hold(budgets, "c1", 60)
    await budgets.settle("c1", PAYER, 30)
    await hold(budgets, "c2", 60)
    days = [round(await real.raw.ttl(key) / 86_400) for key in budget_keys(PAYER)]
    assert days == [2, 2, 3, 3, 3, 3, 2]
    assert {key.split("{")[1].split("}")[0] for key in budget_keys(PAYER)} == {"budget"}
    assert len(await real.raw.keys("*")) == 7


async def test_settling_works_without_memory(real: RedisBackend) -> None:
    budgets = _budgets(real)
    await hold(budgets, "c1", 60)
    async with real.full():
        with pytest.raises(OutOfMemoryError):
            await hold(budgets, "c2", 1)
        assert await budgets.settle("c1", PAYER, 30)
