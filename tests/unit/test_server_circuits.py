"""The circuit board: what a provider said is known to all, an outage is not, and nobody waits."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from ai.circuits import Use
from ai.failures import CallFailedError, Remedy
from ai.retries import OUTAGE_AFTER, SHUN_S
from server.circuits import EVERY_S, CircuitBoard, account_of
from server.meters import Meters
from storage.circuits import Finding
from storage.errors import BackendDownError
from tests.support.clocks import LoopClock
from tests.support.virtual_time import run_virtual

QUOTA = CallFailedError("quota_exhausted", Remedy.SHUN)
SOON_S = 2 * EVERY_S


class Shared:
    """Redis, as far as it matters here."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[str, float]] = {}
        self.down = False
        self.asked = 0

    async def tell(self, name: str, finding: Finding) -> None:
        self._reached()
        self.kept[name] = (finding.code, _now() + finding.left_ms / 1000)

    async def ask(self, names: Sequence[str]) -> Mapping[str, Finding]:
        self._reached()
        left = {n: (code, until - _now()) for n, (code, until) in self.kept.items() if n in names}
        return {n: Finding(code, int(1000 * s)) for n, (code, s) in left.items() if s > 0}

    def _reached(self) -> None:
        self.asked += 1
        if self.down:
            raise BackendDownError


def _now() -> float:
    return asyncio.get_running_loop().time()


class Board:
    def __init__(self, shared: Shared, account: str = "ours") -> None:
        self.registry = CollectorRegistry()
        self.board = CircuitBoard(shared, LoopClock(), Meters(self.registry), account)
        self.speak = self.board.circuits.of("speak", "small")
        self.rate = self.board.circuits.of("rate", "strong")

    def open(self, task: str = "speak", model: str = "small") -> float | None:
        name = "viva_model_circuit_open"
        return self.registry.get_sample_value(name, {"task": task, "model": model})

    def openings(self, code: str) -> float | None:
        labels = {"task": "speak", "model": "small", "code": code}
        return self.registry.get_sample_value("viva_model_circuit_openings_total", labels)


async def _while_they_run(boards: Sequence[Board], story: Coroutine[Any, Any, None]) -> None:
    tasks = [asyncio.ensure_future(each.board.run()) for each in boards]
    try:
        await story
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def test_what_a_provider_said_to_one_spares_the_others() -> None:
    shared = Shared()
    one, other, stranger = Board(shared), Board(shared), Board(shared, "theirs")

    async def story() -> None:
        await asyncio.sleep(1)
        assert (one.open(), one.board.states()) == (0, {"small": "closed", "strong": "closed"})
        one.speak.lost(QUOTA)
        assert one.open() == 1  # at once, where it was found out
        await asyncio.sleep(SOON_S)
        assert (other.speak.open(), other.rate.open()) == ("quota_exhausted", "")
        assert other.board.states() == {"small": "open", "strong": "closed"}
        assert (other.open(), other.open("rate", "strong")) == (1, 0)
        assert (one.openings("quota_exhausted"), other.openings("quota_exhausted")) == (1, None)
        assert stranger.board.states() == {"small": "closed", "strong": "closed"}
        await asyncio.sleep(SHUN_S)
        for each in (one, other):
            assert (each.open(), each.board.states()["small"]) == (0, "closed")

    run_virtual(_while_they_run((one, other, stranger), story()))


def test_an_outage_may_be_our_own_and_is_not_told() -> None:
    shared = Shared()
    one, other = Board(shared), Board(shared)

    async def story() -> None:
        for _ in range(OUTAGE_AFTER):
            one.speak.lost(CallFailedError("unreachable"))
        await asyncio.sleep(SOON_S)
        assert (one.open(), one.openings("unreachable")) == (1, 1)
        assert (other.speak.open(), shared.kept) == ("", {})

    run_virtual(_while_they_run((one, other), story()))


def test_without_redis_each_decides_alone_and_tells_later() -> None:
    shared = Shared()
    one, other = Board(shared), Board(shared)

    async def story() -> None:
        shared.down = True
        one.speak.lost(QUOTA)
        assert one.speak.open() == "quota_exhausted"
        await asyncio.sleep(20)
        assert other.speak.open() == ""
        assert shared.asked <= 2 * 20 / (0.75 * EVERY_S) + 2  # it is not asked without a pause
        shared.down = False
        await asyncio.sleep(SOON_S)
        assert other.speak.open() == "quota_exhausted"
        await asyncio.sleep(SHUN_S - 20)  # from when it was found out, not from when it was told
        assert other.speak.open() == ""

    with capture_logs() as logs:
        run_virtual(_while_they_run((one, other), story()))
    told = [entry for entry in logs if entry["event"] == "circuits are not shared"]
    assert len(told) == 2, "once each"


def test_what_is_over_before_it_could_be_told_is_not_told() -> None:
    shared = Shared()
    one = Board(shared)

    async def story() -> None:
        shared.down = True
        one.speak.lost(QUOTA)
        await asyncio.sleep(SHUN_S + 1)
        shared.down = False
        await asyncio.sleep(SOON_S)
        assert shared.kept == {}

    run_virtual(_while_they_run((one,), story()))


def test_without_a_model_there_is_nothing_to_share() -> None:
    shared = Shared()
    board = CircuitBoard(shared, LoopClock(), Meters(CollectorRegistry()), "")
    run_virtual(board.run())
    assert (board.states(), shared.asked) == ({}, 0)


def test_a_use_has_one_circuit_and_each_account_its_own_name() -> None:
    board = Board(Shared()).board
    assert board.circuits.of("speak", "small") is board.circuits.all[Use("speak", "small")]
    assert board.circuits.of("word", "small") is not board.circuits.of("speak", "small")
    names = {account_of(url, key) for url in (None, "http://a") for key in (None, "sk-1", "sk-2")}
    assert len(names) == 6
    assert not any("sk-" in name for name in names)
