import asyncio

import pytest

from protocol.closes import Close
from server.heartbeats import HEARTBEAT_S, LOOK_S, PARTS, Heartbeats
from tests.support.clocks import LoopClock
from tests.support.virtual_time import run_virtual

BEAT_S = 15.0


class Socket:
    def __init__(self, clock: LoopClock) -> None:
        self._clock = clock
        self._heard = clock.monotonic()
        self.looks = 0
        self.ends: list[tuple[Close, float]] = []

    @property
    def heard(self) -> float:
        self.looks += 1
        return self._heard

    def hear(self) -> None:
        self._heard = self._clock.monotonic()

    def abort(self, code: Close) -> None:
        self.ends.append((code, self._clock.monotonic() - self._heard))


def test_who_is_not_heard_is_closed_in_time_whenever_it_fell_silent_and_nobody_else() -> None:
    async def main() -> None:
        clock = LoopClock()
        heartbeats = Heartbeats(clock)
        looking = asyncio.create_task(heartbeats.run())
        sockets: list[Socket] = []
        for _ in range(3 * PARTS):
            sockets.append(Socket(clock))
            heartbeats.enter(sockets[-1])
            await asyncio.sleep(0.7)
            for beating in sockets[0::3]:
                beating.hear()
        for _ in range(10):  # some miss every other beat, others are silent
            for number in (0, 1, 0):
                for socket in sockets[number::3]:
                    socket.hear()
                await asyncio.sleep(BEAT_S / 1.5)
        assert [socket.ends for socket in sockets[0::3]] == [[]] * PARTS
        for socket in sockets[1::3]:
            assert all(silent_s > HEARTBEAT_S for _, silent_s in socket.ends)
        for socket in sockets[2::3]:
            code, silent_s = socket.ends[0]
            assert code == Close.HEARTBEAT_LOST
            assert HEARTBEAT_S < silent_s <= HEARTBEAT_S + LOOK_S
            heartbeats.leave(socket)
        before = [len(socket.ends) for socket in sockets[2::3]]
        await asyncio.sleep((PARTS + 1) * LOOK_S)
        assert [len(socket.ends) for socket in sockets[2::3]] == before
        looking.cancel()

    run_virtual(main())


def test_one_that_beats_is_looked_at_no_more_often_than_it_beats() -> None:
    async def main() -> None:
        clock = LoopClock()
        heartbeats = Heartbeats(clock)
        socket = Socket(clock)
        looking = asyncio.create_task(heartbeats.run())
        heartbeats.enter(socket)
        for _ in range(20):
            await asyncio.sleep(BEAT_S)
            socket.hear()
        assert 18 <= socket.looks <= 20
        await asyncio.sleep(1.9 * BEAT_S)  # it misses one
        socket.hear()
        socket.looks = 0
        for _ in range(20):
            await asyncio.sleep(BEAT_S)
            socket.hear()
        assert socket.looks <= 22
        looking.cancel()

    run_virtual(main())


def test_a_loop_that_is_late_makes_up_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        clock = LoopClock()
        heartbeats = Heartbeats(clock)
        sockets = [Socket(clock) for _ in range(PARTS)]
        for socket in sockets:
            heartbeats.enter(socket)
        sleep = asyncio.sleep

        async def oversleep(delay: float) -> None:
            await sleep(delay + 0.9)

        monkeypatch.setattr(asyncio, "sleep", oversleep)
        looking = asyncio.create_task(heartbeats.run())
        await sleep(1.2 * HEARTBEAT_S)
        for socket in sockets:
            assert HEARTBEAT_S < socket.ends[0][1] <= HEARTBEAT_S + 2 * (LOOK_S + 0.9)
        looking.cancel()

    run_virtual(main())
