"""The sweeper over the twin, in virtual time."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from protocol import commands as c
from protocol.ids import ORIGIN
from protocol.limits import OVER_LINGER_S
from protocol.machine import Received, transition
from protocol.session import Session
from server import sweeper
from server.hub import Hub
from server.meters import Meters
from server.sessions import Sessions
from server.sweeper import AGAIN_MS, FAULTY_MS, SWEEP_S, TAKEN, WHOLE_EVERY, Sweeper
from storage.commits import commit_of
from storage.errors import BadDataError
from storage.live import PARTITIONS, Committed, Missing, Restore, State, partition_of
from storage.twin import Twin, TwinNotifier, TwinServer
from tests.support.clocks import LoopClock
from tests.support.interviews import NOW, session
from tests.support.speeches import Rows, interviewer
from tests.support.virtual_time import run_virtual

IDLE_MS = 60_000
START = c.InterviewStart(id="start", consent=c.Consent(version="1", at=NOW))
OUTAGE_S = 6 * 3600


class SlowWire:
    """Each call of ``slow`` takes a second."""

    def __init__(self) -> None:
        self.slow = ""

    async def request(self, client: str, operation: str) -> None:
        assert client in ("", "notifier")
        await asyncio.sleep(operation == self.slow)

    async def reply(self, client: str, operation: str) -> None:
        """At once."""


class NoArchive:
    async def rebuild(self, interview_id: str) -> Restore | None:
        raise AssertionError(f"{interview_id} is in Redis")


class Noted:
    """Whose leases were found to have lapsed, each time."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.stored: list[int] = []

    def run(self, interview_id: str) -> None:
        self.ran.append(interview_id)

    def store(self, partition: int) -> None:
        assert 0 <= partition < PARTITIONS
        self.stored.append(partition)


class Scene:
    """One Redis, and sweepers that note what they give to others."""

    def __init__(self, instances: int = 1, idle_ms: int = IDLE_MS) -> None:
        self.idle_ms = idle_ms
        self.clock = LoopClock()
        self.wire = SlowWire()
        self.server = TwinServer(self.clock.now, wire=self.wire)
        self.store = Twin(self.server)
        self.followers = Noted()
        self.meters = Meters(CollectorRegistry())
        self.sweepers = [self._sweeper() for _ in range(instances)]

    def _sweeper(self) -> Sweeper:
        hub = Hub(self.store, TwinNotifier(self.server), self.clock)
        sessions = Sessions(
            self.store,
            NoArchive(),
            hub,
            self.clock,
            interviewer(None, Rows()),
            idle_ms=self.idle_ms,
        )
        return Sweeper(
            self.store,
            sessions,
            self.followers,
            self.clock,
            idle_ms=self.idle_ms,
            meter=self.meters,
        )

    async def interview(self, *, tick: int = 0, begun: bool = False) -> str:
        """A created interview, or one whose interviewer's turn waits to be generated."""
        new = session()
        if begun:
            new = transition(new, Received(command=START, at=self.clock.now())).session
        await self.store.create(Restore(session=new, version=0, head=ORIGIN, tick=tick))
        return new.interview_id

    async def end(self, name: str) -> None:
        """End the interview, by a command that is stored nowhere yet."""
        state = await self.store.load(name)
        assert isinstance(state, State)
        end = Received(command=c.InterviewEnd(id="end"), at=self.clock.now())
        done = transition(state.session, end)
        commit = commit_of(state, done, end, now=end.at, idle_ms=self.idle_ms)
        commit = replace(commit, command="end", digest="d", store=False)
        assert isinstance(await self.store.commit(commit), Committed)

    def told(self) -> tuple[float | None, float | None]:
        """How many outboxes are busy, and for how many seconds."""
        told = self.meters.registry.get_sample_value
        return told("viva_outbox_partitions"), told("viva_outbox_oldest_seconds")

    def outboxes(self) -> int:
        return sum(len(partition.outbox) for partition in self.server.partitions)

    def play(
        self, story: Callable[[], Coroutine[Any, Any, None]], *, outboxes: bool = False
    ) -> None:
        async def main() -> None:
            kinds = [each.outboxes if outboxes else each.run for each in self.sweepers]
            running = [asyncio.create_task(kind()) for kind in kinds]
            try:
                await story()
                assert not any(task.done() for task in running)
            finally:
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)

        run_virtual(main())


def test_lapsed_leases_do_not_wait_for_timers() -> None:
    scene = Scene()

    async def story() -> None:
        scene.wire.slow = "load"
        names = [await scene.interview() for _ in range(30)]
        await asyncio.sleep(2)
        held_up = await scene.interview(tick=scene.clock.now() + 10**9, begun=True)
        await asyncio.sleep(2 * SWEEP_S)
        assert held_up in scene.followers.ran
        timers = [scene.server.partition(name).timers[name] for name in names]
        assert 20 < sum(timer == 0 for timer in timers) < 30  # they are still being worked through
        await asyncio.sleep(40)
        assert all(scene.server.partition(name).timers[name] for name in names)

    scene.play(story)


def test_an_instance_takes_over_only_so_many_turns_a_sweep_and_none_is_passed_over() -> None:
    scene = Scene()

    async def story() -> None:
        names = {await scene.interview(begun=True) for _ in range(2 * TAKEN + 1)}
        for number in range(20):
            before, scene.clock.chance = len(scene.followers.ran), number / 20
            await asyncio.sleep(0.7 * SWEEP_S)  # one sweep at the most
            assert len(scene.followers.ran) - before in (0, TAKEN)
        assert set(scene.followers.ran) == names  # though nobody takes them

    scene.play(story)


def test_a_timer_waits_for_a_whole_sweep_at_most() -> None:
    scene = Scene()

    async def story() -> None:
        await asyncio.sleep(2)
        name = await scene.interview(tick=scene.clock.now())
        await asyncio.sleep(1.5 * WHOLE_EVERY * SWEEP_S)
        assert scene.server.partition(name).timers[name] > scene.clock.now()

    scene.play(story)


def test_a_timer_that_fails_is_tried_again_and_holds_up_no_other() -> None:
    scene = Scene()

    async def story() -> None:
        names = [await scene.interview() for _ in range(5)]
        scene.server.lose("load", times=3)
        await asyncio.sleep(3)
        assert all(scene.server.partition(name).timers[name] for name in names)

    scene.play(story)


def test_a_timer_that_was_set_meanwhile_stays() -> None:
    scene = Scene()

    async def story() -> None:
        scene.wire.slow = "postpone"
        name = await scene.interview(tick=scene.clock.now())
        await asyncio.sleep(2 * SWEEP_S)  # the first sweep is a whole one
        assert scene.server.calls["load"] == 1  # and it waits for Redis
        await scene.end(name)
        timer = scene.server.partition(name).timers[name]
        await asyncio.sleep(1)
        assert scene.server.calls["postpone"] == 1
        assert scene.server.partition(name).timers[name] == timer

    scene.play(story)


@pytest.mark.parametrize("fault", [ValueError("a marker"), BadDataError("a marker")])
def test_an_interview_that_meets_a_fault_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    scene = Scene()
    faulty: list[str] = []
    lacks = Sessions.lacks

    def failing(self: Sessions, of: Session) -> Any:
        if of.interview_id in faulty:
            raise fault
        return lacks(self, of)

    monkeypatch.setattr(Sessions, "lacks", failing)

    def due(of: Session) -> int:
        assert of.interview_id in faulty
        return scene.clock.now()

    monkeypatch.setattr(sweeper, "next_tick", due)

    async def story() -> None:
        faulty.append(await scene.interview())
        await asyncio.sleep(3)
        assert scene.server.calls["load"] == 1  # and not once a second
        timer = scene.server.partition(faulty[0]).timers[faulty[0]]
        assert timer == pytest.approx(scene.clock.now() + FAULTY_MS, abs=3_000)

    with capture_logs() as logs:
        scene.play(story)
    assert [log["event"] for log in logs] == ["timer failed"]


def test_what_cannot_be_put_off_is_logged_and_met_again(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()

    def failing(*_: object) -> Any:
        raise ValueError("a marker")

    monkeypatch.setattr(Sessions, "lacks", failing)
    monkeypatch.setattr(Twin, "postpone", failing)

    async def story() -> None:
        await scene.interview(tick=scene.clock.now())
        await asyncio.sleep(3 * WHOLE_EVERY * SWEEP_S)
        assert scene.server.calls["load"] > 1

    with capture_logs() as logs:
        scene.play(story)
    events = [log["event"] for log in logs]
    assert events[:4] == 2 * ["timer failed", "timer not put off"]


def test_it_is_told_how_long_the_outboxes_have_waited() -> None:
    scene = Scene()

    async def story() -> None:
        await asyncio.sleep(2 * WHOLE_EVERY * SWEEP_S)
        assert scene.told() == (0, 0)
        for name in ("a", "b"):
            await scene.store.enqueue_ledger(name, b"row")
            await asyncio.sleep(10)
        busy, waited_s = scene.told()
        assert busy == 2
        assert waited_s is not None
        assert 20 - 2 * WHOLE_EVERY * SWEEP_S < waited_s <= 20

    scene.play(story)


def test_an_entry_from_a_clock_that_is_ahead_has_not_waited_yet() -> None:
    scene = Scene()

    async def story() -> None:
        scene.server.clock = lambda: scene.clock.now() + 60_000
        await scene.store.enqueue_ledger("a", b"row")
        await asyncio.sleep(2 * WHOLE_EVERY * SWEEP_S)
        assert scene.told() == (1, 0)

    scene.play(story)


@pytest.mark.parametrize("instances", [1, 3])
def test_an_outage_of_postgres_does_not_fill_the_outbox(
    instances: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "SWEEP_S", 60.0)  # or the test takes minutes
    scene = Scene(instances)

    async def story() -> None:
        name = await scene.interview(tick=scene.clock.now() + IDLE_MS)
        await scene.end(name)
        await asyncio.sleep(OUTAGE_S)
        assert scene.outboxes() == 1
        assert scene.server.calls["park"] < 15 * instances
        state = await scene.store.load(name)
        assert isinstance(state, State)
        await scene.store.mark_stored(name, state.head, ["end"])
        await asyncio.sleep(2 * 3600)
        assert isinstance(await scene.store.load(name), Missing)

    scene.play(story)


def test_who_waits_for_a_report_is_not_kept_from_it_by_a_short_rest() -> None:
    scene = Scene(idle_ms=2_000)

    async def story() -> None:
        resting = await scene.interview(tick=scene.clock.now() + scene.idle_ms)
        over = await scene.interview()
        await scene.end(over)
        state = await scene.store.load(over)
        assert isinstance(state, State)
        await scene.store.mark_stored(over, state.head, ["end"])
        await asyncio.sleep(2 + AGAIN_MS / 1000)
        assert isinstance(await scene.store.load(resting), Missing)
        await asyncio.sleep(OVER_LINGER_S - AGAIN_MS / 1000)
        assert isinstance(await scene.store.load(over), State)  # its sockets would be closed 4010
        await asyncio.sleep(2 * AGAIN_MS / 1000)
        assert isinstance(await scene.store.load(over), Missing)

    scene.play(story)


@pytest.mark.parametrize("outboxes", [False, True], ids=["all", "outboxes"])
def test_it_is_told_whether_redis_answers(*, outboxes: bool) -> None:
    scene = Scene()

    async def story() -> None:
        for down in (False, True, False):
            scene.server.down = down
            await asyncio.sleep(2 * WHOLE_EVERY * SWEEP_S)
            up = scene.meters.registry.get_sample_value(
                "viva_dependency_up", {"dependency": "redis"}
            )
            assert up == (not down)

    scene.play(story, outboxes=outboxes)


def test_outboxes_alone_are_swept_through_an_outage_and_nothing_else_is() -> None:
    scene = Scene()

    async def story() -> None:
        await scene.interview(begun=True)  # its lease has lapsed: nobody took it
        due, at = await scene.interview(tick=scene.clock.now()), scene.clock.now()
        name = await scene.interview(tick=scene.clock.now() + 10**9)
        scene.server.lose("due", times=20)
        state = await scene.store.load(name)
        assert isinstance(state, State)
        end = Received(command=c.InterviewEnd(id="end"), at=scene.clock.now())
        commit = commit_of(state, transition(state.session, end), end, now=end.at)
        await scene.store.commit(replace(commit, command="end", digest="d"))
        await asyncio.sleep(10 * WHOLE_EVERY * SWEEP_S)
        assert scene.followers.stored == []
        await asyncio.sleep(40 * WHOLE_EVERY * SWEEP_S)
        assert set(scene.followers.stored) == {partition_of(name)}
        assert scene.followers.ran == []
        assert scene.server.partition(due).timers[due] == at

    scene.play(story, outboxes=True)
