"""The gate on an instance: who waits gets in or gives up, and outages stop nobody."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from ai.gate import Open, Slot
from server.meters import Meters
from server.turnstile import Turnstile
from storage.errors import BackendDownError, StorageError
from storage.gate import Admitted, Full, Limits, Queued, Standing, Ticket
from storage.twin.gate import TwinGate
from tests.support.clocks import LoopClock
from tests.support.virtual_time import run_virtual

ONE = Limits(calls=1)


class Faulty(TwinGate):
    def __init__(self, waiting: int) -> None:
        super().__init__(lambda: int(asyncio.get_running_loop().time() * 1000), waiting=waiting)
        self.fault: StorageError | None = None
        self.asked = 0

    async def enter(self, ticket: Ticket, limits: Limits) -> Admitted | Queued | Full:
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        return await super().enter(ticket, limits)

    async def stay(self, tickets: Sequence[Ticket]) -> None:
        if self.fault is not None:
            raise self.fault
        await super().stay(tickets)

    async def leave(self, ticket: Ticket, limits: Limits, used: int) -> None:
        if self.fault is not None:
            raise self.fault
        await super().leave(ticket, limits, used)


class Desk:
    def __init__(self, limits: Limits, waiting: int = 100) -> None:
        self.gate = Faulty(waiting)
        self.registry = CollectorRegistry()
        self.turnstiles = [
            Turnstile(self.gate, limits, _Clock(number), Meters(self.registry))
            if number == 0
            else Turnstile(self.gate, limits, _Clock(number), _Deaf())
            for number in range(2)
        ]

    async def enter(self, number: int = 0, wait_s: float = 5.0, tokens: int = 10) -> Slot | None:
        return await self.turnstiles[number].enter(
            f"i{number}", tokens=tokens, urgent=True, wait_s=wait_s
        )


class _Clock(LoopClock):
    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def nonce(self) -> str:
        return f"{self._number}-{super().nonce()}"


class _Deaf:
    def gate_passed(self, how: str, seconds: float) -> None:
        pass


def with_desk(limits: Limits = ONE, waiting: int = 100) -> Any:
    def decorate(test: Any) -> Any:
        async def main() -> None:
            desk = Desk(limits, waiting)
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(each.run()) for each in desk.turnstiles]
                await test(desk)
                for task in running:
                    task.cancel()

        def wrapped() -> None:
            run_virtual(main())

        wrapped.__name__ = test.__name__
        return wrapped

    return decorate


@with_desk()
async def test_who_waits_gets_in_soon_after_another_left(desk: Desk) -> None:
    first = await desk.enter(0)
    assert first is not None
    waiting = asyncio.create_task(desk.enter(1, 20.0))
    await asyncio.sleep(10)
    assert not waiting.done(), "the first one still runs, far beyond the time to lapse"
    first.leave(10)
    left = asyncio.get_running_loop().time()
    assert await waiting is not None
    assert asyncio.get_running_loop().time() - left < 0.1


@with_desk()
async def test_who_waited_in_vain_gives_up_the_place(desk: Desk) -> None:
    assert await desk.enter(0)
    began = asyncio.get_running_loop().time()
    assert await desk.enter(1, 2.0) is None
    assert asyncio.get_running_loop().time() - began == pytest.approx(2.0)
    await asyncio.sleep(0)
    assert await desk.gate.standing() == Standing(1, 0)


@with_desk()
async def test_who_is_cancelled_gives_up_the_place(desk: Desk) -> None:
    assert await desk.enter(0)
    waiting = asyncio.create_task(desk.enter(1))
    await asyncio.sleep(1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await asyncio.sleep(0.1)
    assert await desk.gate.standing() == Standing(1, 0)


@with_desk(waiting=0)
async def test_a_full_queue_refuses_at_once(desk: Desk) -> None:
    began = asyncio.get_running_loop().time()
    assert await desk.enter(0) is None
    assert asyncio.get_running_loop().time() == began


@with_desk()
async def test_an_outage_stops_nobody_and_keeps_to_the_limit_here(desk: Desk) -> None:
    desk.gate.fault = BackendDownError("down")
    with capture_logs() as logs:
        mine = await desk.enter(0)
        assert mine is not None
        assert await desk.enter(1) is not None, "another instance knows nothing of it"
        assert await desk.enter(0, 1.0) is None
        mine.leave(10)
        assert await desk.enter(0) is not None
    assert [log["event"] for log in logs] == ["the gate cannot be asked"] * 2
    desk.gate.fault = None
    await asyncio.sleep(2)
    assert await desk.gate.standing() == Standing(2, 0), "it is known again what runs"


@with_desk(Limits(tokens_per_minute=600))
async def test_what_a_call_did_not_take_is_there_for_others(desk: Desk) -> None:
    first = await desk.enter(0, tokens=600)
    assert first is not None
    assert await desk.enter(1, 1.0, tokens=300) is None
    first.leave(100)
    first.leave(0)
    assert await desk.enter(1, 1.0, tokens=300) is not None


@with_desk(Limits())
async def test_without_limits_redis_is_not_asked(desk: Desk) -> None:
    slots = [await desk.enter(0) for _ in range(50)]
    for slot in slots:
        assert slot is not None
        slot.leave(5)
    await asyncio.sleep(3)
    assert desk.gate.asked == 0


async def _open() -> None:
    slot = await Open().enter("i", tokens=1, urgent=True, wait_s=0)
    assert slot is not None
    slot.leave(1)


def test_no_gate_lets_everybody_in() -> None:
    run_virtual(_open())


@with_desk()
async def test_it_is_measured(desk: Desk) -> None:
    slot = await desk.enter(0)
    assert slot is not None
    assert await desk.enter(0, 0.5) is None
    asyncio.get_running_loop().call_later(1.0, slot.leave, 1)
    assert await desk.enter(0) is not None
    samples = {
        sample.labels["how"]: sample.value
        for metric in desk.registry.collect()
        if metric.name == "viva_model_gate"
        for sample in metric.samples
    }
    assert samples == {"at_once": 1, "refused": 1, "waited": 1}
