"""What the provider stores of a turn whose instance lost it is erased, unless another needs it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest
import structlog

from ai.handles import needs_response, stored_response
from ai.speech import Listener, TurnRequest
from protocol import commands as c
from protocol.ids import ORIGIN
from protocol.machine import Received, transition
from protocol.scalars import Source
from server.committer import Committer
from server.erasing import PATIENCE_S, Eraser
from server.hub import Hub
from server.leases import Leases
from server.runner import TurnRunner
from server.sessions import Sessions
from server.turn import TurnWork
from storage.errors import BackendDownError
from storage.live import LEASE_MS, Restore
from storage.twin import Twin, TwinNotifier, TwinServer
from tests.support.clocks import LoopClock
from tests.support.interviews import NOW, session
from tests.support.virtual_time import run_beside

START = c.InterviewStart(id="c-1", consent=c.Consent(version="1", at=NOW))


class Provider:
    """What it stores, for all instances. Each reply is a word now, and one after a minute."""

    def __init__(self) -> None:
        self.begun = 0
        self.stored: set[str] = set()
        self.resumed: list[str] = []


class Speaker:
    """One instance's way to it."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def speak(self, request: TurnRequest, listener: Listener) -> Source:
        provider = self._provider
        if request.handle:
            name = request.handle.split(":")[1]
            assert name in provider.stored
            provider.resumed.append(name)
        else:
            provider.begun += 1
            name = f"r{provider.begun}"
            provider.stored.add(name)
            listener.words("Why", f"resp:{name}:1:0:3")
        await asyncio.sleep(60)
        listener.words("?", f"resp:{name}:2:0:4")
        return "model"

    def resumable(self, handle: str) -> bool:
        return bool(handle)

    def stores(self, handle: str) -> bool:
        return bool(stored_response(handle))

    def needs(self, logged: str, handle: str) -> bool:
        return needs_response(logged, stored_response(handle))

    def source(self, handle: str | None, attempt: int) -> Source:
        assert attempt
        return "model" if handle else "bank"

    async def forget(self, handle: str) -> bool:
        self._provider.stored.discard(handle.split(":")[1])
        return True


class Wire:
    """Operations of an instance that do not come through, or whose replies do not: its `cut`s."""

    def __init__(self) -> None:
        self.cut: set[tuple[str, str]] = set()
        """Instances, with an operation or ``"*"``."""
        self.mute: set[tuple[str, str]] = set()

    async def request(self, client: str, operation: str) -> None:
        await asyncio.sleep(0.001)
        if {(client, operation), (client, "*")} & self.cut:
            raise BackendDownError

    async def reply(self, client: str, operation: str) -> None:
        if (client, operation) in self.mute:
            raise BackendDownError


class Instance:
    """The parts of an instance that speak."""

    def __init__(self, name: str, server: TwinServer, provider: Provider, clock: LoopClock) -> None:
        store = Twin(server, name)
        hub = Hub(store, TwinNotifier(server), clock)
        self._committer = Committer(store, hub, clock)
        self._leases = Leases(store, clock, lambda: None)
        speaker, unused = Speaker(provider), cast("Any", Unused())
        work = TurnWork(
            sessions=Sessions(store, unused, hub, clock, speaker, idle_ms=10**9),
            committer=self._committer,
            interviewer=speaker,
            clock=clock,
            meter=unused,
        )
        self.runner = TurnRunner(
            store=store,
            leases=self._leases,
            work=work,
            eraser=Eraser(store, speaker, clock),
            clock=clock,
            meter=unused,
        )

    def parts(self) -> list[Coroutine[Any, Any, None]]:
        return [self._committer.run(), self._leases.run(), self.runner.run()]


class Unused:
    """A meter that counts nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        assert name
        return lambda *_: None


class Scene:
    """Two instances, and an interview whose first turn is due."""

    def __init__(self) -> None:
        clock = LoopClock()
        self.wire, self.provider = Wire(), Provider()
        self.server = TwinServer(clock.now, wire=self.wire)
        self.a = Instance("a", self.server, self.provider, clock)
        self.b = Instance("b", self.server, self.provider, clock)
        self.name = ""

    async def serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            for part in (*self.a.parts(), *self.b.parts()):
                group.create_task(part)

    def play(self, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def begun() -> None:
            live = transition(session(), Received(command=START, at=NOW)).session
            self.name = live.interview_id
            store = Twin(self.server)
            await store.create(Restore(session=live, version=0, head=ORIGIN, tick=0))
            await story()

        run_beside(self.serve, begun)

    @property
    def stored(self) -> set[str]:
        return self.provider.stored

    async def begin(self, how: str = "logged") -> None:
        """Let instance A say the first words; they are ``how``."""
        if how == "not logged":
            self.wire.cut.add(("a", "append"))
        elif how == "reply lost":
            self.wire.mute.add(("a", "append"))
        self.a.runner.start(self.name)
        await asyncio.sleep(0.5)
        assert self.stored == {"r1"}

    async def cut_off(self) -> None:
        """Let A reach nothing any more, until its lease has lapsed for everybody."""
        self.wire.cut.add(("a", "*"))
        await asyncio.sleep(LEASE_MS / 1000 + 0.5)
        assert len(self.a.runner) == 0


@pytest.mark.parametrize("how", ["logged", "reply lost", "not logged"])
def test_what_is_stored_of_a_drained_turn_is_kept_only_for_who_knows_of_it(how: str) -> None:
    scene = Scene()
    kept = how != "not logged"

    async def story() -> None:
        await scene.begin(how)
        await scene.a.runner.drain(0)
        assert scene.stored == ({"r1"} if kept else set())
        scene.b.runner.start(scene.name)
        await asyncio.sleep(1)
        assert scene.stored == {"r1" if kept else "r2"}
        await asyncio.sleep(70)
        assert scene.stored == set()
        assert scene.provider.resumed == (["r1"] if kept else [])

    scene.play(story)


@pytest.mark.parametrize("how", ["logged", "reply lost", "not logged"])
def test_who_was_cut_off_erases_what_nobody_else_knows_of_once_it_is_back(how: str) -> None:
    scene = Scene()
    kept = how != "not logged"

    async def story() -> None:
        await scene.begin(how)
        await scene.cut_off()
        scene.b.runner.start(scene.name)
        await asyncio.sleep(5)
        assert scene.stored == ({"r1"} if kept else {"r1", "r2"})
        scene.wire.cut.clear()
        await asyncio.sleep(10)
        assert scene.stored == {"r1" if kept else "r2"}
        await asyncio.sleep(60)
        assert scene.stored == set()
        assert scene.provider.resumed == (["r1"] if kept else [])

    scene.play(story)


def test_nothing_is_looked_at_before_the_lease_is_given_up() -> None:
    scene = Scene()

    async def story() -> None:
        await scene.begin("not logged")
        scene.wire.cut.add(("a", "release"))
        await scene.a.runner.drain(0)
        assert scene.server.calls["load"] == 0
        assert scene.stored == {"r1"}
        scene.wire.cut.clear()
        await asyncio.sleep(2)
        assert scene.stored == set()

    scene.play(story)


@pytest.mark.parametrize("away_s", [PATIENCE_S - 10, PATIENCE_S + 10])
def test_what_cannot_be_learned_in_time_is_left(away_s: float) -> None:
    scene = Scene()

    async def story() -> None:
        await scene.begin("not logged")
        await scene.cut_off()
        await asyncio.sleep(away_s)
        scene.wire.cut.clear()
        await asyncio.sleep(30)
        assert scene.stored == (set() if away_s < PATIENCE_S else {"r1"})

    scene.play(story)


def test_what_is_stored_of_an_interview_that_is_gone_is_erased() -> None:
    scene = Scene()

    async def story() -> None:
        await scene.begin()
        await Twin(scene.server).erase(scene.name)
        await asyncio.sleep(5)
        assert scene.stored == set()

    scene.play(story)


def test_an_instance_that_ends_says_what_it_leaves() -> None:
    scene = Scene()

    async def story() -> None:
        await scene.begin("not logged")
        scene.wire.cut.add(("a", "release"))
        await scene.a.runner.drain(0)

    with structlog.testing.capture_logs() as logs:
        scene.play(story)
    left = {"event": "stored response not erased", "reason": "the instance ends"}
    assert any(left.items() <= each.items() for each in logs)
