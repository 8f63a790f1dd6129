"""What a socket leaves behind, and when everything is looked through."""

import asyncio
import gc
import weakref
from collections.abc import Generator
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from litestar import Litestar, WebSocket
from uvicorn.server import ServerState

from server import garbage
from server.clock import SystemClock
from server.frames import Frames
from server.heartbeats import Heartbeats
from server.intake import Bounds, Intake
from server.pings import Pings
from server.socket import Connections, socket_route
from tests.support.lines import Line
from tests.support.virtual_time import run_virtual

HANDSHAKE = (
    b"GET /api/interviews/i/socket HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n"
    b"connection: upgrade\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-protocol: interview.v1.json\r\n\r\n"
)


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When everything was looked through."""
    at: list[float] = []
    monkeypatch.setattr(gc, "collect", lambda: at.append(asyncio.get_running_loop().time()))
    return at


@pytest.fixture
def untidied() -> Generator[None]:
    """Python looks for no cycles."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def _looks(turns: int, seconds: float) -> None:
    async def story() -> None:
        running = asyncio.create_task(garbage.run(lambda: turns))
        await asyncio.sleep(seconds)
        running.cancel()

    run_virtual(story())


def test_everything_is_looked_through_when_no_turn_runs(looked: list[float]) -> None:
    _looks(0, 2.5 * garbage.CALM_S)
    assert len(looked) == 2
    assert garbage.CALM_S <= looked[1] - looked[0] <= garbage.CALM_S + garbage.LOOK_S


def test_with_turns_that_never_end_it_is_rarely(looked: list[float]) -> None:
    _looks(1, 2.5 * garbage.MOST_S)
    assert len(looked) == 2
    assert garbage.MOST_S <= looked[1] - looked[0] <= garbage.MOST_S + garbage.LOOK_S


@pytest.mark.filterwarnings("ignore:.*path parameter.*")  # the style of the route's
@pytest.mark.usefixtures("untidied")
def test_an_open_socket_leaves_no_cycles_behind() -> None:
    """Neither the connection as it began nor what Litestar made of the request waits for `gc`."""

    async def story() -> None:
        clock = SystemClock()
        shared: Any = SimpleNamespace(clock=clock, heartbeats=Heartbeats(clock))
        route = socket_route(lambda: shared, Connections(), lambda: True)
        frames: Any = partial(Frames, Pings())
        config = uvicorn.Config(
            Litestar([route]), log_config=None, ws=frames, interface="asgi3", lifespan="off"
        )
        config.load()
        line, state = Line(), ServerState()
        intake = Intake(Bounds(connections=1), config=config, server_state=state, app_state={})
        line.protocol = gone = weakref.proxy(intake)
        intake.connection_made(line)
        intake.data_received(HANDSHAKE)
        del intake
        await asyncio.sleep(0.5)
        assert line.status == 101
        assert len(state.connections) == 1
        assert not [each for each in gc.get_objects() if type(each) is WebSocket]
        with pytest.raises(ReferenceError):
            _ = gone.parser
        line.protocol.connection_lost(None)
        await asyncio.sleep(0.5)
        assert not state.connections

    run_virtual(story())
