"""Signals of a process that serves: each is told once, on either loop."""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from server import serving
from server.embedded.ports import free_port
from server.serving import AGAIN_S, Host, listen
from server.signals import SIGNALS, Signals

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [
    asyncio.new_event_loop,
    uvloop.new_event_loop,
]


@pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"])
def loops(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    return request.param


def _send() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_each_signal_is_told_once(loops: Callable[[], asyncio.AbstractEventLoop]) -> None:
    told: list[str] = []
    seen: list[int] = []

    async def settle() -> None:
        for _ in range(5):
            await asyncio.sleep(0.01)
        seen.append(len(told))

    async def serve(signals: Signals) -> None:
        _send()  # while the loop runs, and nobody has taken them yet
        with signals.taken(lambda: told.append("told")):
            await settle()
            _send()
            await settle()
            asyncio.get_running_loop().call_later(0.01, _send)
            await asyncio.sleep(0.2)
            await settle()

    with asyncio.Runner(loop_factory=loops) as runner, Signals() as signals:
        _send()
        runner.run(serve(signals))
    assert seen == [2, 3, 4]


def test_a_signal_wakes_a_loop_that_waits(
    loops: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def serve(signals: Signals) -> None:
        over = asyncio.Event()
        with signals.taken(over.set):
            sending = await asyncio.create_subprocess_exec(
                "/bin/sh", "-c", f"sleep 0.2; kill -TERM {os.getpid()}; sleep 20"
            )
            try:
                async with asyncio.timeout(10):  # before the child ends, which would wake it, too
                    await over.wait()
            finally:
                sending.kill()
                await sending.wait()

    with Signals() as signals, asyncio.Runner(loop_factory=loops) as runner:
        runner.run(serve(signals))


def test_a_late_signal_does_not_end_the_process_by_itself(
    loops: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]

    async def serve(signals: Signals) -> None:
        with signals.taken(list):
            await asyncio.sleep(0)
        _send()

    with Signals() as signals, asyncio.Runner(loop_factory=loops) as runner:
        runner.run(serve(signals))
        _send()
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize(("later_s", "skips"), [(0.0, False), (AGAIN_S, True)])
def test_one_death_of_the_parent_does_not_skip_the_drain(
    monkeypatch: pytest.MonkeyPatch, later_s: float, *, skips: bool
) -> None:
    class Time:
        now = 1000.0

        def monotonic(self) -> float:
            return self.now

    clock = Time()
    drained: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        for answer in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{answer}.complete"})

    async def serve(signals: Signals) -> None:
        host = Host(app, listen("127.0.0.1", free_port()), sockets=1)

        async def drain() -> None:
            clock.now += later_s
            _send()
            await asyncio.sleep(0.5)
            drained.append("whole")

        asyncio.get_running_loop().call_later(0.2, _send)
        await host.run(signals, drain)

    monkeypatch.setattr(serving, "time", clock)
    with Signals() as signals, asyncio.Runner() as runner:
        runner.run(serve(signals))
    assert drained == ([] if skips else ["whole"])
