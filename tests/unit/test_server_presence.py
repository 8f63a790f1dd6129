"""Presence over the twin, in virtual time: who is missed, who is not, and who comes back."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from protocol import commands as c
from protocol.ids import ORIGIN
from protocol.machine import Finished, Received, transition
from protocol.session import Session
from server.expiry import EVERY_S, Expiry
from server.hub import Hub
from server.presence import LAPSE_S, LATE_PARTS, PARTS, PULSE_S, SPREAD_S, Presence
from server.sessions import Sessions
from server.sweeper import Sweeper
from storage.errors import BackendDownError
from storage.live import PARTITIONS, Attendance, Attendant, Restore, State, partition_of
from storage.twin import Twin, TwinNotifier, TwinServer
from tests.support.clocks import LoopClock
from tests.support.interviews import session
from tests.support.speeches import Rows, interviewer
from tests.support.virtual_time import run_virtual

GRACE_MS = 600_000
LAPSES = LAPSE_S + 3 * PULSE_S
"""By then an absence has been noticed."""


class Socket:
    """Somebody's, who is heard all the time, or not."""

    def __init__(self, clock: LoopClock) -> None:
        self._clock = clock
        self.silent_since: float | None = None

    @property
    def heard(self) -> float:
        return self._clock.monotonic() if self.silent_since is None else self.silent_since


class Archive:
    """Holds what was parked."""

    def __init__(self) -> None:
        self.restores: dict[str, Restore] = {}

    async def rebuild(self, interview_id: str) -> Restore | None:
        return self.restores.get(interview_id)

    async def overdue(self, now: int, limit: int) -> tuple[str, ...]:
        assert now
        return ("unknown", *self.restores)[:limit]


class Slow(Twin):
    """Takes its time over each call of `attend`, and may fail then."""

    def __init__(self, server: TwinServer, latency_s: float) -> None:
        super().__init__(server)
        self.fails: int | None = None
        """The partition whose calls fail."""
        self.refuses: int | None = None
        """The partition that cannot be told."""
        self.hangs_until = 0.0
        """Until then calls fail after a while."""
        self.asked: list[tuple[float, list[int]]] = []
        self.told: list[Attendant] = []
        self.lapsed: list[str] = []
        self._latency_s = latency_s

    async def attend(
        self, attendants: Mapping[int, Sequence[Attendant]], lapse_ms: int, limit: int
    ) -> list[Attendance | None]:
        self.asked.append((asyncio.get_running_loop().time(), list(attendants)))
        self.told += [each for part in attendants.values() for each in part]
        await asyncio.sleep(self._latency_s)
        if asyncio.get_running_loop().time() < self.hangs_until:
            await asyncio.sleep(4)
            raise BackendDownError
        if self.fails in attendants:
            raise BackendDownError
        heard = {number: told for number, told in attendants.items() if number != self.refuses}
        answers = iter(await super().attend(heard, lapse_ms, limit))
        told = [None if number == self.refuses else next(answers) for number in attendants]
        self.lapsed += [name for each in told if each for name, _ in each.lapsed]
        return told


class Far:
    """A way on which what belongs to one interview takes long."""

    async def request(self, client: str, operation: str) -> None:
        if client == "" and operation != "attend":
            await asyncio.sleep(0.2)

    async def reply(self, client: str, operation: str) -> None: ...


class Scene:
    """One Redis and two instances, each with its own client."""

    def __init__(self, latency_s: float = 0.0) -> None:
        self.clock = LoopClock()
        self.server = TwinServer(self.clock.now)
        self.archive = Archive()
        self.sessions = [self._sessions(), self._sessions()]
        self.stores = [Slow(self.server, latency_s) for _ in self.sessions]
        self.instances = [
            Presence(store, each, self.clock, grace_ms=GRACE_MS)
            for store, each in zip(self.stores, self.sessions, strict=True)
        ]
        self.running: list[asyncio.Task[None]] = []

    def _sessions(self) -> Sessions:
        store = Twin(self.server)
        hub = Hub(store, TwinNotifier(self.server), self.clock)
        speaker = interviewer(None, Rows())
        return Sessions(
            store, self.archive, hub, self.clock, speaker, idle_ms=10**7, grace_ms=GRACE_MS
        )

    def begun(self, partition: int | None = None) -> Session:
        """A session whose candidate is to answer; in any partition, or in that one."""
        at = self.clock.now()
        new = replace(session(), created_at=at)
        while partition not in (None, partition_of(new.interview_id)):
            new = replace(session(), created_at=at)
        start = c.InterviewStart(id="start", consent=c.Consent(version="1", at=at))
        started = transition(new, Received(command=start, at=at)).session
        asked = Finished(turn=1, attempt=1, text="Why?", at=at, source="bank")
        return transition(started, asked).session

    async def interview(self, partition: int | None = None) -> str:
        begun = self.begun(partition)
        await Twin(self.server).create(Restore(session=begun, version=0, head=ORIGIN, tick=10**15))
        return begun.interview_id

    async def found(self, name: str) -> Session:
        state = await Twin(self.server).load(name)
        assert isinstance(state, State)
        return state.session

    def play(self, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            self.running = [asyncio.create_task(each.run()) for each in self.instances]
            try:
                await story()
            finally:
                for task in self.running:
                    task.cancel()
                ends = await asyncio.gather(*self.running, return_exceptions=True)
                assert all(isinstance(end, asyncio.CancelledError) for end in ends)

        run_virtual(main())


def test_nobody_is_missed_who_is_there() -> None:
    scene = Scene()

    async def story() -> None:
        name = await scene.interview()
        scene.instances[0].enter(name, Socket(scene.clock))
        await asyncio.sleep(600)
        assert (await scene.found(name)).status == "live"
        assert (await scene.found(name)).absences == 0

    scene.play(story)


def test_who_leaves_is_missed_since_they_were_heard_and_comes_back_elsewhere() -> None:
    scene = Scene()

    async def story() -> None:
        name = await scene.interview()
        socket, began = Socket(scene.clock), scene.clock.monotonic()
        scene.instances[0].enter(name, socket)
        await asyncio.sleep(60)
        socket.silent_since = scene.clock.monotonic()
        await asyncio.sleep(30)  # until the heartbeat is missed
        assert (await scene.found(name)).status == "live"
        scene.instances[0].leave(name, socket)
        await asyncio.sleep(LAPSES)
        away = await scene.found(name)
        assert away.status == "disconnected"
        assert abs(away.elapsed_ms - (socket.silent_since - began) * 1000) <= 2
        await asyncio.sleep(120)
        scene.instances[1].enter(name, Socket(scene.clock))
        await asyncio.sleep(2 * PULSE_S)
        back = await scene.found(name)
        assert (back.status, back.absences) == ("live", 1)
        assert back.elapsed(scene.clock.now()) <= away.elapsed_ms + 2_000 * PULSE_S
        await asyncio.sleep(LAPSES)
        assert (await scene.found(name)).status == "live"

    scene.play(story)


def test_an_instance_that_was_killed_gives_no_news_and_its_candidates_are_missed() -> None:
    scene = Scene()

    async def story() -> None:
        lost, kept = await scene.interview(), await scene.interview()
        scene.instances[0].enter(lost, Socket(scene.clock))
        scene.instances[1].enter(kept, Socket(scene.clock))
        await asyncio.sleep(60)
        scene.running.pop(0).cancel()
        await asyncio.sleep(LAPSES)
        away = await scene.found(lost)
        assert away.status == "disconnected"
        assert 60_000 - 2_000 * PULSE_S <= away.elapsed_ms <= 60_000
        assert (await scene.found(kept)).status == "live"

    scene.play(story)


def test_of_two_sockets_on_two_instances_one_is_enough() -> None:
    scene = Scene()

    async def story() -> None:
        name = await scene.interview()
        page, transcriber = Socket(scene.clock), Socket(scene.clock)
        scene.instances[0].enter(name, page)
        scene.instances[1].enter(name, transcriber)
        await asyncio.sleep(30)
        scene.instances[0].leave(name, page)
        await asyncio.sleep(120)
        assert (await scene.found(name)).absences == 0

    scene.play(story)


def test_an_outage_makes_nobody_absent() -> None:
    scene = Scene()

    async def story() -> None:
        here, gone = await scene.interview(), await scene.interview()
        scene.instances[0].enter(here, Socket(scene.clock))
        await asyncio.sleep(5)
        scene.server.down = True
        await asyncio.sleep(60)
        scene.server.down = False
        for _ in range(300):
            await asyncio.sleep(0.2)
            assert (await scene.found(here)).absences == 0
        assert (await scene.found(gone)).status == "disconnected"

    scene.play(story)


@pytest.mark.parametrize(("latency_s", "calls"), [(0.0, PARTS), (0.1, 12), (0.5, 5), (0.75, 5)])
def test_a_pulse_is_told_in_parts_and_of_those_that_are_late_some_together(
    latency_s: float, calls: int
) -> None:
    scene = Scene(latency_s)

    async def story() -> None:
        await asyncio.sleep(30)
        asked = scene.stores[0].asked
        starts = [at for at, (_, part) in enumerate(asked) if part[0] == 0]
        assert len(starts) >= 5
        for start, following in pairwise(starts):
            pulse = asked[start:following]
            assert len(pulse) <= calls
            assert [number for _, part in pulse for number in part] == list(range(PARTITIONS))
            assert all(len(part) <= LATE_PARTS * PARTITIONS // PARTS for _, part in pulse)
            assert pulse[-1][0] - pulse[0][0] >= SPREAD_S * (1 - 1 / PARTS) - 0.001
            assert asked[following][0] - pulse[0][0] <= 1.25 * PULSE_S + latency_s

    scene.play(story)


@pytest.mark.parametrize("latency_s", [0.0, 0.5])
@pytest.mark.parametrize("partition", [0, PARTITIONS // 2, PARTITIONS - 1])
def test_a_slow_redis_and_a_call_now_and_then_that_fails_make_nobody_absent(
    partition: int, latency_s: float
) -> None:
    scene = Scene(latency_s)

    async def story() -> None:
        name = await scene.interview(partition)
        socket, store = Socket(scene.clock), scene.stores[0]
        scene.instances[0].enter(name, socket)
        for _ in range(30):
            store.fails = partition
            failing = len(store.asked)
            while not any(partition in part for _, part in store.asked[failing:]):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            await asyncio.sleep(latency_s)
            store.fails = None
            await asyncio.sleep(15)
            assert (await scene.found(name)).absences == 0
        scene.instances[0].leave(name, socket)
        await asyncio.sleep(LAPSES + 3 * PULSE_S)
        assert (await scene.found(name)).absences == 1

    scene.play(story)


def test_a_part_that_is_always_refused_silences_no_other() -> None:
    scene = Scene()

    async def story() -> None:
        numbers = range(0, PARTITIONS, PARTITIONS // PARTS)
        names = [await scene.interview(number) for number in numbers]
        for name in names:
            scene.instances[0].enter(name, Socket(scene.clock))
        scene.stores[0].fails = numbers[3]
        await asyncio.sleep(120)
        missed = [
            number
            for number, name in zip(numbers, names, strict=True)
            if (await scene.found(name)).absences
        ]
        assert missed == [numbers[3]]
        scene.instances[1].enter(names[3], Socket(scene.clock))
        await asyncio.sleep(2 * PULSE_S)
        assert (await scene.found(names[3])).status == "live"

    scene.play(story)


def test_a_part_that_all_are_refused_keeps_nobody_else_from_being_missed() -> None:
    scene = Scene()

    async def story() -> None:
        name, refused = await scene.interview(0), await scene.interview(PARTITIONS - 1)
        socket = Socket(scene.clock)
        scene.instances[0].enter(name, socket)
        for store in scene.stores:
            store.refuses = PARTITIONS - 1
        await asyncio.sleep(30)
        scene.instances[0].leave(name, socket)
        await asyncio.sleep(LAPSES)
        assert (await scene.found(name)).status == "disconnected"
        assert (await scene.found(refused)).status == "live"  # nobody can know

    scene.play(story)


def test_a_part_that_was_refused_for_a_while_makes_nobody_absent() -> None:
    """What one told just before it, the other did not: 13.5 s pass for one, 16.5 for the other."""
    scene = Scene()
    scene.clock.chance, period = 0.75, 4.5

    async def story() -> None:
        name = await scene.interview(7)
        scene.running.pop().cancel()
        await asyncio.sleep(1.5)
        scene.running.append(asyncio.create_task(scene.instances[1].run()))
        scene.instances[1].enter(name, Socket(scene.clock))
        await asyncio.sleep(6 * period - 1.5 + 0.05)
        for store in scene.stores:
            store.refuses = 7
        await asyncio.sleep(3 * period - 0.1)
        for store in scene.stores:
            store.refuses = None
        await asyncio.sleep(30)
        assert (await scene.found(name)).absences == 0

    scene.play(story)


def test_what_a_pulse_found_before_a_part_of_it_failed_waits_for_a_better_one() -> None:
    scene = Scene()
    scene.instances.pop()

    async def story() -> None:
        name = await scene.interview(0)
        socket, store = Socket(scene.clock), scene.stores[0]
        scene.instances[0].enter(name, socket)
        await asyncio.sleep(30)
        scene.instances[0].leave(name, socket)
        while name not in store.lapsed:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        store.fails = PARTITIONS - 1  # which comes at the end of this very pulse
        await asyncio.sleep(2 * SPREAD_S)
        assert (await scene.found(name)).absences == 0
        store.fails = None
        await asyncio.sleep(LAPSES)
        assert (await scene.found(name)).absences == 1

    scene.play(story)


def test_an_outage_that_each_call_notices_late_makes_nobody_absent() -> None:
    """Two instances whose pulses lie apart: what one told just before it, the other did not."""
    scene = Scene()

    async def story() -> None:
        names = [await scene.interview(number) for number in range(0, PARTITIONS, 8)]
        scene.running.pop().cancel()
        await asyncio.sleep(1.5)
        scene.running.append(asyncio.create_task(scene.instances[1].run()))
        for name in names:
            scene.instances[1].enter(name, Socket(scene.clock))
        await asyncio.sleep(28.51)
        for store in scene.stores:
            store.hangs_until = scene.clock.monotonic() + 12
        for _ in range(40):
            await asyncio.sleep(1)
            assert not any([(await scene.found(name)).absences for name in names])

    with capture_logs() as logs:
        scene.play(story)
    assert [line["event"] for line in logs] == ["presence not told"] * 2  # one of each instance


@pytest.mark.parametrize("how", ["fails", "refuses"])
def test_those_who_left_are_told_again_where_that_failed_and_only_there(how: str) -> None:
    scene = Scene(0.5)
    scene.instances.pop()

    async def story() -> None:
        sound, refused = await scene.interview(0), await scene.interview(PARTITIONS - 1)
        store, presence = scene.stores[0], scene.instances[0]
        early, late = Socket(scene.clock), Socket(scene.clock)
        for name in (sound, refused):
            presence.enter(name, early)
            presence.enter(name, late)
        await asyncio.sleep(30)
        early.silent_since = scene.clock.monotonic() - 5
        late.silent_since = scene.clock.monotonic()
        for name in (sound, refused):
            presence.leave(name, late)
        setattr(store, how, PARTITIONS - 1)
        store.asked.clear()
        while not store.asked or store.asked[-1][1][-1] != PARTITIONS - 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for name in (sound, refused):
            presence.leave(name, early)
        await asyncio.sleep(3 * PULSE_S)
        store.told.clear()
        await asyncio.sleep(3 * PULSE_S)
        assert {each.interview_id for each in store.told} == {refused}
        setattr(store, how, None)
        await asyncio.sleep(2 * PULSE_S)
        last = store.told[-1]
        assert (last.interview_id, last.present) == (refused, False)
        store.told.clear()
        await asyncio.sleep(2 * PULSE_S)
        assert store.told == []
        ago_ms = (scene.clock.monotonic() - late.silent_since) * 1000
        assert scene.server.interviews[refused].heard >= scene.clock.now() - ago_ms - 2

    scene.play(story)


def test_those_who_are_there_again_are_seen_to_at_once_and_before_the_missing() -> None:
    scene = Scene()
    scene.instances.pop()

    async def story() -> None:
        names = [await scene.interview() for _ in range(64)]
        await asyncio.sleep(LAPSES)
        missing = [await scene.interview() for _ in range(3_000)]
        scene.server.wire = Far()
        await asyncio.sleep(LAPSE_S + PULSE_S)  # from here on it works at those
        for name in names:
            assert (await scene.found(name)).status == "disconnected"
            scene.instances[0].enter(name, Socket(scene.clock))
        await asyncio.sleep(1.25 * PULSE_S + SPREAD_S + 5)
        for name in names:
            assert (await scene.found(name)).status == "live"
        left = [(await scene.found(name)).status == "live" for name in missing]
        assert any(left)  # which are not through yet

    scene.play(story)


def test_who_comes_back_while_a_pulse_still_goes_on_was_not_away() -> None:
    scene = Scene()

    async def story() -> None:
        name = await scene.interview(0)
        socket, store = Socket(scene.clock), scene.stores[0]
        scene.running.pop().cancel()
        scene.instances[0].enter(name, socket)
        await asyncio.sleep(30)
        scene.instances[0].leave(name, socket)
        while name not in store.lapsed:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert store.asked[-1][1][0] == 0
        scene.instances[0].enter(name, socket)
        await asyncio.sleep(LAPSES)
        assert (await scene.found(name)).absences == 0

    scene.play(story)


def test_who_slept_misses_nobody_it_could_not_hear_of() -> None:
    """As where one machine runs all instances, and is suspended: they wake one by one."""
    scene = Scene()

    async def story() -> None:
        name = await scene.interview()
        scene.instances[1].enter(name, Socket(scene.clock))
        await asyncio.sleep(30)
        for task in scene.running:
            task.cancel()
        await asyncio.sleep(60)
        scene.running[0] = asyncio.create_task(scene.instances[0].run())
        await asyncio.sleep(2 * PULSE_S)
        scene.running[1] = asyncio.create_task(scene.instances[1].run())
        await asyncio.sleep(LAPSES)
        assert (await scene.found(name)).absences == 0

    scene.play(story)


def test_what_was_lost_waits_for_its_candidate_since_it_was_stored() -> None:
    scene = Scene()

    async def story() -> None:
        begun = scene.begun()
        name = begun.interview_id
        scene.archive.restores[name] = Restore(session=begun, version=3, head=ORIGIN, tick=0)
        await asyncio.sleep(300)
        waiting = (await scene.sessions[0].load(name)).session
        assert (waiting.status, waiting.elapsed_ms) == ("disconnected", 0)
        scene.instances[1].enter(name, Socket(scene.clock))
        await asyncio.sleep(2 * PULSE_S)
        back = await scene.found(name)
        assert back.status == "live"
        assert back.elapsed(scene.clock.now()) <= 2_000 * PULSE_S

    scene.play(story)


def test_a_paused_interview_is_rebuilt_as_it_was() -> None:
    scene = Scene()

    async def story() -> None:
        pause = Received(command=c.InterviewPause(id="p"), at=scene.clock.now())
        paused = transition(scene.begun(), pause).session
        name = paused.interview_id
        scene.archive.restores[name] = Restore(session=paused, version=3, head=ORIGIN, tick=0)
        await asyncio.sleep(3 * 86_400)
        verdict = await scene.sessions[0].command(name, c.InterviewResume(id="r"))
        assert verdict.accepted is not None
        resumed = await scene.found(name)
        assert (resumed.status, resumed.elapsed(scene.clock.now())) == ("live", 0)

    run_virtual(story())  # no instance beats for days


def test_what_is_overdue_in_postgres_is_brought_back_and_ended() -> None:
    scene = Scene()

    async def story() -> None:
        begun = scene.begun()
        scene.archive.restores[begun.interview_id] = Restore(
            session=begun, version=3, head=ORIGIN, tick=0
        )
        await asyncio.sleep(2 * EVERY_S)
        ended = await scene.found(begun.interview_id)
        assert (ended.status, ended.elapsed_ms) == ("abandoned", 0)

    async def main() -> None:
        store, sessions = Twin(scene.server), scene.sessions[0]
        sweeper = Sweeper(store, sessions, Idle(), scene.clock, idle_ms=10**9)
        expiry = Expiry(scene.archive, sessions, scene.clock)
        running = [asyncio.create_task(each.run()) for each in (sweeper, expiry)]
        await story()
        for task in running:
            assert task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    run_virtual(main())


class Idle:
    """Generates nothing and stores nothing; see `server.sweeper.Follow`."""

    def run(self, interview_id: str) -> None:
        assert interview_id

    def store(self, partition: int) -> None:
        assert partition >= 0
