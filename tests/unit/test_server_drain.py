"""Leaving: unready at once, then no new turns, sockets sent elsewhere a few at a time."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from protocol.closes import Close
from server.drain import BATCH_PAUSE_S, BATCHES, GOODBYE_S, RECONNECT_MS, UNREADY_S, Drain
from server.socket import Connections
from tests.support.clocks import LoopClock
from tests.support.virtual_time import run_virtual


class FakeSocket:
    """Leaves ``after_s`` behind its goodbye; None: never."""

    def __init__(self, scene: "Scene", after_s: float | None = 0.0) -> None:
        self._scene = scene
        self._after_s = after_s
        self.delay_ms: int | None = None

    def drain(self, reconnect_after_ms: int) -> None:
        self.delay_ms = reconnect_after_ms
        loop = asyncio.get_running_loop()
        self._scene.goodbyes[round(loop.time() - self._scene.began, 3)] += 1
        self._scene.note("goodbye")
        if self._after_s is not None:
            me: Any = self
            loop.call_later(self._after_s, self._scene.connections.discard, me)

    def abort(self, _: Close) -> None:
        raise AssertionError("nobody is cut off")


class FakeRunner:
    def __init__(self, scene: "Scene") -> None:
        self._scene = scene
        self.seconds = 0.0
        self.patience_s: float | None = None

    async def drain(self, patience_s: float) -> None:
        self._scene.note("turns")
        self.patience_s = patience_s
        await asyncio.sleep(self.seconds)
        self._scene.note("turns done")

    def __len__(self) -> int:
        return 0


class FakeBook:
    def __init__(self, scene: "Scene") -> None:
        self._scene = scene
        self.patience_s: float | None = None

    async def drained(self, patience_s: float) -> None:
        self.patience_s = patience_s
        self._scene.note("book")


class Scene:
    def __init__(self, *sockets: float | None, turns_s: float = 20.0) -> None:
        self.goodbyes: Counter[float] = Counter()
        self.notes: list[str] = []
        self.began = self.took = 0.0
        self.connections = Connections()
        self.sockets = [FakeSocket(self, after_s) for after_s in sockets]
        for socket in self.sockets:
            opened: Any = socket
            self.connections.add(opened)
        runner: Any = FakeRunner(self)
        book: Any = FakeBook(self)
        self.runner, self.book, self.clock = runner, book, LoopClock(0.5)
        self.drain = Drain(self.connections, runner, (book,), self.clock, turns_s=turns_s)

    def note(self, what: str) -> None:
        if not self.notes or self.notes[-1] != what:
            self.notes.append(what)

    def run(self, story: Callable[[], Coroutine[Any, Any, None]] | None = None) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            self.began = loop.time()
            leaving = asyncio.create_task(self.drain.run())
            if story is not None:
                await story()
            await leaving
            self.took = loop.time() - self.began

        run_virtual(main())


def test_it_is_unready_before_anything_else_and_ends_with_the_ledger() -> None:
    scene = Scene(0.0)
    scene.runner.seconds = 3.0
    assert not scene.drain.draining

    async def story() -> None:
        await asyncio.sleep(0)
        assert scene.drain.draining
        await asyncio.sleep(UNREADY_S - 0.01)
        assert not scene.drain.leaving
        assert scene.notes == [], "balancers do not know yet"
        await asyncio.sleep(0.02)
        assert scene.drain.leaving

    scene.run(story)
    assert scene.notes == ["turns", "goodbye", "turns done", "book"]
    assert (scene.runner.patience_s, scene.book.patience_s) == (20.0, GOODBYE_S)
    assert scene.drain.draining


@pytest.mark.parametrize("count", [1, BATCHES, 999, 1000])
def test_sockets_leave_in_batches_over_two_seconds(count: int) -> None:
    scene = Scene(*[0.0] * count)
    scene.run()
    assert sum(scene.goodbyes.values()) == count
    assert len(scene.goodbyes) <= BATCHES
    assert max(scene.goodbyes.values()) <= -(-count // BATCHES)
    assert min(scene.goodbyes) >= UNREADY_S
    assert max(scene.goodbyes) <= UNREADY_S + BATCHES * BATCH_PAUSE_S
    assert scene.took <= UNREADY_S + BATCHES * BATCH_PAUSE_S + 0.01


def test_clients_come_back_at_different_times() -> None:
    scene = Scene(0.0, 0.0)
    scene.clock.chance = 0.25
    scene.run()
    assert {socket.delay_ms for socket in scene.sockets} == {RECONNECT_MS // 4}


def test_a_socket_that_does_not_leave_is_waited_for_a_while() -> None:
    scene = Scene(1.0, None)
    scene.run()
    assert scene.took == pytest.approx(UNREADY_S + 2 * BATCH_PAUSE_S + GOODBYE_S)
    assert scene.notes[-1] == "book"


def test_one_without_sockets_leaves_at_once() -> None:
    scene = Scene()
    scene.run()
    assert scene.took == 0
    assert scene.goodbyes == {}
