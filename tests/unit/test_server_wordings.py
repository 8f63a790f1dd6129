"""Shared wordings on an instance: ordered where missing, made once, spoken while renewed."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from ai.assessor import AssessmentFailedError
from ai.bank.guides import plan_guide
from ai.wording.needs import Need, needs_of
from protocol.plan import Plan
from protocol.session import Session
from server import wordings
from server.caching import Caching
from server.meters import Meters
from server.wordings import Wordings
from storage.errors import BackendDownError
from storage.twin.cache import TwinCache
from tests.support.clocks import LoopClock
from tests.support.virtual_time import run_virtual

PLAN = Plan(type="technical", role="Engineer", duration_minutes=30)
HOUR_S = 3600.0


def session(number: int, plan: Plan = PLAN) -> Session:
    name = f"0190f7c2-0000-7000-8000-{number:012d}"
    return Session(
        interview_id=name, user_id="u", created_at=1, plan=plan, guide=plan_guide("same", plan)
    )


class SlowMaker:
    """Makes every line in 5 s, but those that are ``lacking``; or fails."""

    def __init__(self) -> None:
        self.made: Counter[str] = Counter()
        self.calls = 0
        self.lacking: set[str] = set()
        self.failure: AssessmentFailedError | None = None

    async def make(
        self, interview_id: str, user_id: str, needs: Sequence[Need]
    ) -> Mapping[str, tuple[str, ...]]:
        assert (len(interview_id), user_id) == (36, "u")
        self.calls += 1
        await asyncio.sleep(5)
        if self.failure is not None:
            raise self.failure
        good = [need.key for need in needs if need.occasion not in self.lacking]
        self.made.update(good)
        return {key: (f"{key}, made {self.made[key]}",) for key in good}

    async def aclose(self) -> None:
        self.calls = -1


class OrderBook:
    def __init__(self) -> None:
        self.ordered: list[str] = []

    async def word(self, interview_id: str) -> bool:
        self.ordered.append(interview_id)
        return True


class Outage(TwinCache):
    """A cache that keeps nothing for a while."""

    down_from = down_until = 0.0

    async def keep(self, *arguments: Any, **named: Any) -> bool:
        if self.down_from <= asyncio.get_running_loop().time() < self.down_until:
            raise BackendDownError("down")
        return await super().keep(*arguments, **named)


class Desk:
    def __init__(self, instances: int = 3) -> None:
        self.cache = Outage(lambda: int(asyncio.get_running_loop().time() * 1e6), 1_000_000)
        self.maker, self.orders = SlowMaker(), OrderBook()
        self.registry = CollectorRegistry()
        meters = Meters(self.registry)
        given: Any = self.maker
        self.instances = [
            Wordings(
                self.cache,
                caching=Caching(self.cache, LoopClock(), meters),
                orders=self.orders,
                clock=LoopClock(),
                meter=meters,
                maker=given,
            )
            for _ in range(instances)
        ]

    async def find(self, of: Session, instance: int = 0) -> list[tuple[str, ...]]:
        needs = needs_of(of.plan, of.guide)
        return list(await self.instances[instance].find(of.interview_id, needs))


def in_virtual_time(test: Any) -> Any:
    def wrapped() -> None:
        run_virtual(test(Desk()))

    wrapped.__name__ = test.__name__
    return wrapped


@in_virtual_time
async def test_what_is_missing_is_ordered_and_not_waited_for(desk: Desk) -> None:
    began = asyncio.get_running_loop().time()
    assert set(await desk.find(session(1))) == {()}
    assert desk.orders.ordered == [session(1).interview_id]
    assert asyncio.get_running_loop().time() == began
    await desk.instances[1].fill(session(1))
    assert all(await desk.find(session(2)))
    assert len(desk.orders.ordered) == 1
    samples = {
        (sample.labels["cache"], sample.labels["answer"]): sample.value
        for metric in desk.registry.collect()
        if metric.name == "viva_cache"
        for sample in metric.samples
    }
    assert samples == {("question", "miss"): 1, ("question", "hit"): 1}


@in_virtual_time
async def test_a_new_interview_orders_what_it_will_need(desk: Desk) -> None:
    await desk.instances[0].prepare(session(1))
    await desk.instances[0].prepare(session(2, replace(PLAN, resume="mine")))
    assert desk.orders.ordered == [session(1).interview_id]
    await desk.instances[0].fill(session(1))
    await desk.instances[2].prepare(session(3))
    assert len(desk.orders.ordered) == 1


@in_virtual_time
async def test_no_two_instances_have_the_same_made(desk: Desk) -> None:
    fills = [each.fill(session(number)) for number, each in enumerate(desk.instances * 4)]
    await asyncio.gather(*fills)
    assert desk.maker.calls == 1
    assert set(desk.maker.made.values()) == {1}
    await desk.instances[0].fill(session(9))
    assert desk.maker.calls == 1


@in_virtual_time
async def test_what_is_old_is_spoken_while_it_is_renewed_and_then_gone(desk: Desk) -> None:
    await desk.instances[0].fill(session(1))
    await asyncio.sleep(HOUR_S + 1)
    old = await desk.find(session(2))
    assert all(each[0].endswith("made 1") for each in old)
    assert desk.orders.ordered == [session(2).interview_id]
    filling = asyncio.create_task(desk.instances[1].fill(session(2)))
    await asyncio.sleep(1)
    assert await desk.find(session(3), 2) == old
    await filling
    assert all(each[0].endswith("made 2") for each in await desk.find(session(3)))
    await asyncio.sleep(2 * HOUR_S)
    assert set(await desk.find(session(4))) == {()}


@in_virtual_time
async def test_what_cannot_be_made_is_not_tried_with_every_turn(desk: Desk) -> None:
    desk.maker.lacking = {"onward"}
    for _ in range(10):
        await desk.instances[0].fill(session(1))
    assert desk.maker.calls == 1
    await asyncio.sleep(wordings.CLAIM_MS / 1000)
    desk.maker.lacking = set()
    await desk.instances[1].fill(session(1))
    assert desk.maker.calls == 2
    assert set(desk.maker.made.values()) == {1}


@in_virtual_time
async def test_a_failing_model_fails_no_job(desk: Desk) -> None:
    desk.maker.failure = AssessmentFailedError("down", retryable=True)
    for instance in desk.instances:
        await instance.fill(session(1))
    assert desk.maker.calls == 1
    assert set(await desk.find(session(1))) == {()}


@in_virtual_time
async def test_a_dead_makers_claim_lapses(desk: Desk) -> None:
    filling = asyncio.create_task(desk.instances[0].fill(session(1)))
    await asyncio.sleep(1)
    filling.cancel()
    await asyncio.gather(filling, return_exceptions=True)
    await desk.instances[1].fill(session(1))
    assert desk.maker.made == Counter()
    await asyncio.sleep(wordings.CLAIM_MS / 1000)
    await desk.instances[1].fill(session(1))
    assert all(await desk.find(session(1)))


@in_virtual_time
async def test_what_was_made_is_kept_in_spite_of_a_short_outage(desk: Desk) -> None:
    desk.cache.down_until = asyncio.get_running_loop().time() + 5.5
    desk.cache.down_from = asyncio.get_running_loop().time() + 4.0
    await desk.instances[0].fill(session(1))
    assert all(await desk.find(session(1), 1))


@in_virtual_time
async def test_a_personal_interview_has_nothing_made(desk: Desk) -> None:
    await desk.instances[0].fill(session(1, replace(PLAN, job_description="ours")))
    assert desk.maker.calls == 0
    assert (await desk.cache.size()).entries == 0


@in_virtual_time
async def test_an_entry_that_is_none_is_made_anew(desk: Desk) -> None:
    (need, *_) = needs_of(PLAN, session(1).guide)
    for held in (b"{}", b'{"texts":["\xff"],"made_at":1}'):  # of another form, and no text
        await desk.cache.keep(wordings.GROUP, need.key, held, ttl_ms=1_000_000)
        await desk.instances[0].fill(session(1))
        assert all(await desk.find(session(1)))
    await desk.instances[0].aclose()
    assert desk.maker.calls == -1


@pytest.mark.parametrize("method", ["prepare", "fill"])
def test_without_a_model_nothing_is_ordered_or_made(method: str) -> None:
    async def main() -> None:
        desk = Desk()
        cache, caching = desk.cache, Caching(desk.cache, LoopClock(), Meters(CollectorRegistry()))
        offline = Wordings(
            cache,
            caching=caching,
            orders=desk.orders,
            clock=LoopClock(),
            meter=Meters(CollectorRegistry()),
            maker=None,
        )
        await getattr(offline, method)(session(1))
        assert set(await offline.find("i", needs_of(PLAN, session(1).guide))) == {()}
        await offline.aclose()
        assert (desk.orders.ordered, desk.maker.calls) == ([], 0)

    run_virtual(main())
