"""Presence over the twin, in virtual time: who is missed, who is not, and who comes back."""

import asyncio
from typing import Any

import pytest

from protocol import commands as c
from protocol.ids import ORIGIN
from protocol.machine import Left, Received, next_tick, transition
from protocol.session import Session
from server.expiry import EVERY_S, Expiry
from server.presence import LATEST_S, PULSE_S, SPREAD_S, TOLD_S
from server.sessions import Sessions
from server.sweeper import Sweeper
from storage.errors import BadDataError
from storage.live import Restore
from storage.postgres.archive import LIVE_MS
from storage.twin import Twin
from tests.support.attending import GRACE_MS, LAPSES, Scene, Socket
from tests.support.virtual_time import run_virtual


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
        assert 60_000 - 1_000 * TOLD_S <= away.elapsed_ms <= 60_000
        assert (await scene.found(kept)).status == "live"

    scene.play(story)


def test_an_interview_that_meets_a_fault_keeps_no_other_from_being_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene()
    faulty: list[str] = []
    apply = Sessions.apply

    async def failing(self: Sessions, interview_id: str, *given: Any, **named: Any) -> Any:
        if interview_id in faulty:
            raise ValueError("a marker")
        return await apply(self, interview_id, *given, **named)

    monkeypatch.setattr(Sessions, "apply", failing)

    async def story() -> None:
        names = [await scene.interview(), await scene.interview()]
        for name in names:
            scene.instances[0].enter(name, Socket(scene.clock))
        faulty.append(names[0])
        await asyncio.sleep(60)
        scene.running.pop(0).cancel()
        await asyncio.sleep(LAPSES)
        assert [(await scene.found(name)).status for name in names] == ["live", "disconnected"]
        assert not any(task.done() for task in scene.running)

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


@pytest.mark.parametrize("partition", [6, 7])
@pytest.mark.parametrize("since_s", [0.0, 1.0, 2.0, 3.0, 4.0])
@pytest.mark.parametrize("slept_s", [4.0, 8.0, 12.0, 60.0])
def test_who_slept_misses_nobody_it_could_not_hear_of(
    slept_s: float, since_s: float, partition: int
) -> None:
    """As where one machine runs all instances, and is suspended: they wake one by one."""
    scene = Scene()

    async def story() -> None:
        name = await scene.interview(partition)
        scene.instances[1].enter(name, Socket(scene.clock))
        await asyncio.sleep(40 + since_s)
        for task in scene.running:
            task.cancel()
        await asyncio.sleep(slept_s)
        scene.running[0] = asyncio.create_task(scene.instances[0].run())
        await asyncio.sleep(2 * PULSE_S)
        scene.running[1] = asyncio.create_task(scene.instances[1].run())
        await asyncio.sleep(LAPSES)
        assert (await scene.found(name)).absences == 0

    scene.play(story)


@pytest.mark.parametrize("partition", [6, 7])
def test_who_stays_and_was_missed_all_the_same_is_found_within_two_pulses(partition: int) -> None:
    scene = Scene()

    async def story() -> None:
        name = await scene.interview(partition)
        scene.instances[0].enter(name, Socket(scene.clock))
        await asyncio.sleep(60)
        now = scene.clock.now()
        left = Left(since=now, grace_ms=GRACE_MS, at=now)
        await scene.sessions[1].apply(name, left)
        assert (await scene.found(name)).status == "disconnected"
        await asyncio.sleep(2 * LATEST_S + SPREAD_S)
        assert (await scene.found(name)).status == "live"

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


def test_who_answered_for_longer_than_the_grace_comes_back_to_what_was_lost() -> None:
    scene = Scene()

    async def story() -> None:
        begun = scene.begun()
        name = begun.interview_id
        scene.archive.restores[name] = Restore(session=begun, version=3, head=ORIGIN, tick=0)
        await asyncio.sleep(GRACE_MS / 1000 + 60)
        waiting = (await scene.sessions[0].load(name)).session
        assert next_tick(waiting) == scene.clock.now() + GRACE_MS
        await asyncio.sleep(GRACE_MS / 1000 - 60)
        scene.instances[1].enter(name, Socket(scene.clock))
        await asyncio.sleep(2 * PULSE_S)
        assert (await scene.found(name)).status == "live"

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


@pytest.mark.parametrize("fault", [None, BadDataError("a marker"), TypeError("a marker")])
def test_what_is_overdue_in_postgres_is_brought_back_and_ended(fault: Exception | None) -> None:
    scene = Scene()
    scene.archive.fault = fault  # of one that is told of before

    async def story(begun: Session) -> None:
        scene.archive.restores[begun.interview_id] = Restore(
            session=begun, version=3, head=ORIGIN, tick=0
        )
        await asyncio.sleep(2 * EVERY_S)
        ended = await scene.found(begun.interview_id)
        assert (ended.status, ended.elapsed_ms) == ("abandoned", 0)

    async def main() -> None:
        begun = scene.begun()
        await asyncio.sleep(LIVE_MS / 1000)
        store, sessions = Twin(scene.server), scene.sessions[0]
        sweeper = Sweeper(store, sessions, Idle(), scene.clock, idle_ms=10**9)
        expiry = Expiry(scene.archive, sessions, scene.clock)
        running = [asyncio.create_task(each.run()) for each in (sweeper, expiry)]
        await story(begun)
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
