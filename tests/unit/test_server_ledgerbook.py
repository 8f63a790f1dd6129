"""Ledger rows on their way to Redis: none twice in a row, none lost without a word."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import msgspec
import pytest
import structlog
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from server import ledgerbook
from server.ledgerbook import LedgerBook
from server.meters import Meters
from storage.errors import BackendDownError, BadDataError, StorageError
from tests.support.clocks import LoopClock
from tests.support.interviews import ledger_row, session
from tests.support.virtual_time import run_virtual

OF = session()


class FakeQueue:
    """Takes rows, each in ``delay_s``; ``faults`` are raised first, by row, as often as listed."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.faults: dict[str, list[StorageError]] = {}
        self.down = False
        self.delay_s = 0.01

    async def enqueue_ledger(self, interview_id: str, row: bytes) -> None:
        assert interview_id == OF.interview_id
        name = msgspec.json.decode(row)["id"]
        await asyncio.sleep(self.delay_s)
        if self.down:
            raise BackendDownError
        if self.faults.get(name):
            raise self.faults[name].pop(0)
        self.rows.append(name)


class Scene:
    def __init__(self) -> None:
        self.queue = FakeQueue()
        store: Any = self.queue
        self.meters = Meters(CollectorRegistry())
        self.book = LedgerBook(store, LoopClock(), self.meters)

    def record(self, *names: str) -> None:
        for name in names:
            self.book.record(ledger_row(OF, name))

    def run(self, story: Coroutine[Any, Any, None]) -> list[dict[str, Any]]:
        """Run ``story`` beside the book; return what was logged."""

        async def main() -> None:
            running = asyncio.create_task(self.book.run())
            try:
                await story
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

        with structlog.testing.capture_logs() as logged:
            run_virtual(main())
        return [dict(line) for line in logged]


def test_rows_are_queued_in_order_and_counted() -> None:
    scene = Scene()

    async def story() -> None:
        scene.record("a", "b", "c")
        await scene.book.drained(1)

    assert scene.run(story()) == []
    assert scene.queue.rows == ["a", "b", "c"]
    calls = scene.meters.registry.get_sample_value(
        "viva_model_calls_total", {"model": "m", "outcome": "completed"}
    )
    assert calls == 3


def test_an_outage_delays_rows_and_loses_none() -> None:
    scene = Scene()

    async def story() -> None:
        scene.queue.down = True
        scene.record("a", "b")
        await asyncio.sleep(600)
        scene.queue.down = False
        await scene.book.drained(5)

    assert scene.run(story()) == []
    assert scene.queue.rows == ["a", "b"]


def test_a_row_that_is_no_text_is_told_of_and_holds_nobody_up() -> None:
    scene = Scene()

    async def story() -> None:
        scene.book.record(replace(ledger_row(OF, "odd"), code="\ud83d"))
        scene.record("a")
        await scene.book.drained(5)

    (line,) = scene.run(story())
    assert (line["event"], line["row"]) == ("ledger row lost", "odd")
    assert scene.queue.rows == ["a"]


def test_a_row_that_redis_refuses_for_good_is_told_of_and_holds_nobody_up() -> None:
    scene = Scene()
    scene.queue.faults["bad"] = [BadDataError() for _ in range(1000)]

    async def story() -> None:
        scene.record("bad", "good")
        await scene.book.drained(60)

    logged = scene.run(story())
    assert scene.queue.rows == ["good"]
    assert [(line["event"], line["row"]["id"]) for line in logged] == [("ledger row lost", "bad")]


def test_of_too_many_rows_the_oldest_are_lost_and_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgerbook, "ROWS_WAITING", 3)
    scene = Scene()

    async def story() -> None:
        scene.record("a")
        await asyncio.sleep(scene.queue.delay_s / 2)  # the first is on its way
        scene.record("b", "c", "d", "e")
        await scene.book.drained(1)

    logged = scene.run(story())
    lost = [line["row"]["id"] for line in logged]
    assert sorted([*scene.queue.rows, *lost]) == ["a", "b", "c", "d", "e"]
    assert lost == ["b"]


def test_what_redis_has_not_taken_in_time_is_told_of_at_the_end() -> None:
    scene = Scene()

    async def story() -> None:
        scene.queue.down = True
        scene.record("a", "b")
        began = asyncio.get_running_loop().time()
        await scene.book.drained(5)
        assert asyncio.get_running_loop().time() - began == pytest.approx(5)

    assert scene.run(story()) == [{"event": "ledger rows lost", "rows": 2, "log_level": "error"}]


def test_a_book_without_rows_is_drained_at_once() -> None:
    scene = Scene()
    assert scene.run(scene.book.drained(0)) == []
