"""The budgets of one instance: asked while Redis answers, decided alone while it does not."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from ai.budget import Hold, Refusal
from server import budgetbook
from server.budgetbook import BudgetBook
from server.meters import Meters
from storage.budgets import Caps, Granted, Payer, Refused, Scope, Spent
from storage.errors import BackendDownError, BadDataError, StorageError
from tests.support.clocks import LoopClock
from tests.support.virtual_time import run_virtual

CAPS = Caps(interview=100_000, user_day=2_000_000, soft=0.8)
PAYER = Payer(interview_id="i1", user_id="u1", day="")


class FakeBudgets:
    """Grants all it is asked for, in ``delay_s``; down, it may have done so all the same."""

    def __init__(self) -> None:
        self.held: dict[str, int] = {}
        self.settled: Counter[str] = Counter()
        self.cost = 0
        self.days: set[str] = set()
        self.caps: list[Caps] = []
        self.refused: Refused | None = None
        self.low: tuple[Scope, ...] = ()
        self.fault: StorageError | None = None
        self.delay_s = 0.01

    async def reserve(
        self, call: str, payer: Payer, *, least: int, most: int, caps: Caps, hold_ms: int
    ) -> Granted | Refused:
        assert least <= most
        assert hold_ms == 90_000
        self.days.add(payer.day)
        self.caps.append(caps)
        if self.refused is None:
            self.held[call] = most
        await self._answer()
        return self.refused or Granted(most, self.low)

    async def settle(
        self, call: str, payer: Payer, cost: int, *, response_id: str = "", at: int = 0
    ) -> bool:
        assert payer.day in self.days
        assert (response_id, at) in (("", 0), ("r", 1))
        await self._answer()
        if self.settled[call]:
            return False
        self.settled[call] += 1
        self.held.pop(call, None)
        self.cost += cost
        return True

    async def spent(self, payer: Payer) -> dict[Scope, Spent]:
        raise NotImplementedError

    async def _answer(self) -> None:
        await asyncio.sleep(self.delay_s)
        if self.fault is not None:
            raise self.fault


class Scene:
    def __init__(self, caps: Caps = CAPS) -> None:
        self.kept = FakeBudgets()
        self.meters = Meters(CollectorRegistry())
        self.book = BudgetBook(self.kept, caps, LoopClock(), self.meters)

    async def hold(
        self, most: int = 10_000, least: int = 4_000, *, spare: int = 0, sunk: bool = False
    ) -> Hold | Refusal:
        return await self.book.reserve(
            PAYER, least=least, most=most, spare=spare, hold_s=90.0, sunk=sunk
        )

    async def held(self, most: int = 10_000) -> Hold:
        hold = await self.hold(most)
        assert not isinstance(hold, Refusal)
        return hold

    def refusals(self, scope: str) -> float:
        labels = {"scope": scope}
        return self.meters.registry.get_sample_value("viva_budget_refusals_total", labels) or 0.0


def play(scene: Scene, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run the story beside the book."""

    async def main() -> None:
        running = asyncio.create_task(scene.book.run())
        try:
            await story()
        finally:
            running.cancel()

    with capture_logs():
        run_virtual(main())


def settle(hold: Hold, cost: int) -> None:
    hold.settle(cost, response_id="r", at=1)


def test_what_is_granted_is_settled_and_counted() -> None:
    scene = Scene()
    scene.kept.low = ("user_day",)

    async def story() -> None:
        hold = await scene.held()
        assert (hold.amount, hold.low) == (10_000, True)
        settle(hold, 1_234)
        await scene.book.drained(1)
        assert (scene.kept.held, scene.kept.cost) == ({}, 1_234)
        assert scene.kept.caps == [CAPS]
        assert isinstance(await scene.hold(sunk=True), Hold_)
        assert scene.kept.caps == [CAPS, Caps()]

    play(scene, story)


Hold_ = budgetbook._Hold  # pyright: ignore[reportPrivateUsage]


def test_an_interviews_next_call_waits_until_its_last_is_counted() -> None:
    scene = Scene()

    async def story() -> None:
        for _ in range(3):
            settle(await scene.held(), 1)
            assert len(scene.kept.held) == 1
            await scene.held()  # it found the other gone
            assert len(scene.kept.held) == 1
            scene.kept.held.clear()
        scene.kept.delay_s = 0.6
        settle(await scene.held(), 1)
        began = asyncio.get_running_loop().time()
        await scene.held()
        waited = asyncio.get_running_loop().time() - began
        assert waited == pytest.approx(budgetbook.CATCH_UP_S + 0.6)

    play(scene, story)


def test_what_is_spared_is_taken_off_the_interviews_cap_alone() -> None:
    scene = Scene()

    async def story() -> None:
        await scene.hold(spare=30_000)
        await scene.hold(spare=10**9)
        assert [(caps.interview, caps.user_day) for caps in scene.kept.caps] == [
            (70_000, 2_000_000),
            (1, 2_000_000),
        ]
        scene.kept.fault = BackendDownError()
        hold = await scene.hold(spare=20_000)
        assert not isinstance(hold, Refusal)
        assert hold.amount == 5_000

    play(scene, story)


def test_a_refusal_is_passed_on_and_counted() -> None:
    scene = Scene()
    scene.kept.refused = Refused("user_day", passing=True)

    async def story() -> None:
        assert await scene.hold() == Refusal("user_day", passing=True)

    play(scene, story)
    assert (scene.refusals("user_day"), scene.refusals("alone")) == (1, 0)


@settings(deadline=None, database=None)
@given(after_s=st.floats(0, 0.03))
def test_a_hold_whose_asker_was_cancelled_is_let_go_of(after_s: float) -> None:
    scene = Scene()

    async def story() -> None:
        asking = asyncio.create_task(scene.hold())
        await asyncio.sleep(after_s)
        asking.cancel()
        await asyncio.wait([asking])
        if not asking.cancelled():
            hold = asking.result()
            assert not isinstance(hold, Refusal)
            settle(hold, 0)
        await scene.book.drained(1)
        assert scene.kept.held == {}

    play(scene, story)


def test_an_outage_stops_no_call_until_the_allowance_is_spent() -> None:
    scene = Scene()

    async def story() -> None:
        scene.kept.fault = BackendDownError()
        first, second = await scene.held(), await scene.held()
        third = await scene.held()
        assert [hold.amount for hold in (first, second, third)] == [10_000, 10_000, 5_000]
        assert await scene.hold() == Refusal("interview", passing=True)
        settle(first, 1_000)  # it held nine times as much
        settle(second, 10_000)
        assert (await scene.held()).amount == 9_000
        assert await scene.hold() == Refusal("interview", passing=True)
        assert scene.refusals("alone") == 2
        scene.kept.fault = None
        await scene.book.drained(5)
        assert scene.kept.cost == 11_000, "counted when it is back"
        scene.kept.fault = BackendDownError()
        assert (await scene.held()).amount == 10_000, "what is counted is on no allowance"

    play(scene, story)


def test_nothing_of_an_outage_is_left_behind() -> None:
    scene = Scene()

    async def story() -> None:
        scene.kept.fault = BackendDownError()
        holds = [await scene.held() for _ in range(2)]
        for hold in holds:
            settle(hold, 7)
        await asyncio.sleep(3)
        scene.kept.fault = None
        await scene.book.drained(5)
        assert (scene.kept.cost, scene.kept.held) == (14, {})
        assert set(scene.kept.settled.values()) == {1}
        assert scene.book.uncounted == 0

    play(scene, story)


@pytest.mark.parametrize(
    ("caps", "amount"), [(Caps(), 10**9), (Caps(day=10**12), budgetbook.ALONE_MICRO_USD)]
)
def test_without_a_cap_for_interviews(caps: Caps, amount: int) -> None:
    scene = Scene(caps)

    async def story() -> None:
        scene.kept.fault = BackendDownError()
        assert (await scene.held(10**9)).amount == amount

    play(scene, story)


def test_a_settlement_that_is_refused_holds_up_no_other() -> None:
    scene = Scene()

    async def story() -> None:
        first, second = await scene.held(), await scene.held()
        scene.kept.fault = BadDataError()
        settle(first, 1)
        await scene.book.drained(1)
        scene.kept.fault = None
        settle(second, 2)
        await scene.book.drained(1)
        assert scene.kept.cost == 2

    play(scene, story)


def test_settlements_are_kept_in_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgetbook, "SETTLEMENTS_WAITING", 3)
    scene = Scene(Caps(interview=10**9))

    async def story() -> None:
        scene.kept.fault = BackendDownError()
        for _ in range(6):
            settle(await scene.held(), 1)
        await scene.book.drained(0.5)
        scene.kept.fault = None
        await scene.book.drained(5)
        assert scene.kept.cost == 4, "three waited, and one was on its way"
        assert scene.book.uncounted == 0

    play(scene, story)
