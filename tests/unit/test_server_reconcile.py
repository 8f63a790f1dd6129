"""What becomes of a session whose log lost events that a client holds. Over the twin."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from msgspec.structs import replace

from protocol import commands as c
from protocol.ids import ORIGIN, EventId
from protocol.machine import Finished, Left
from server.hub import Hub
from server.sessions import Sessions, Verdict
from storage.live import Acquired, Commit, Conflict, Restore, State
from storage.twin import Twin, TwinNotifier, TwinServer
from tests.support.clocks import LoopClock
from tests.support.interviews import NOW, session
from tests.support.parts import OneSpeaker
from tests.support.virtual_time import run_virtual

START = c.InterviewStart(id="start", consent=c.Consent(version="1", at=NOW))
ANSWER = c.AnswerSubmit(id="answer", text="Because.")


class Lobby:
    """PostgreSQL was down since the interview was created."""

    def __init__(self) -> None:
        new = replace(session(), phase="lobby")
        self.restore = Restore(session=new, version=0, head=ORIGIN, tick=0)

    async def rebuild(self, interview_id: str) -> Restore | None:
        assert interview_id == self.restore.session.interview_id
        return self.restore


class Scene:
    """An interview whose first question was asked and answered."""

    def __init__(self) -> None:
        clock, archive = LoopClock(), Lobby()
        self.server = TwinServer(clock.now)
        self.store = Twin(self.server)
        hub = Hub(self.store, TwinNotifier(self.server), clock)
        self.sessions = Sessions(self.store, archive, hub, clock, OneSpeaker(), idle_ms=10**7)
        self.name = archive.restore.session.interview_id

    async def begin(self) -> EventId:
        """Return the last event that the client was sent."""
        assert (await self.send(START)).accepted
        await self.ask()
        seen = (await self.send(ANSWER)).accepted
        assert seen is not None
        return seen

    async def send(self, command: c.DurableCommand) -> Verdict:
        return await self.sessions.command(self.name, command)

    async def ask(self) -> None:
        acquired = await self.store.acquire(self.name, "nonce")
        assert isinstance(acquired, Acquired)
        asked = Finished(turn=1, attempt=1, text="Why?", at=NOW, source="model")
        assert isinstance(await self.sessions.apply(self.name, asked, fence=acquired.fence), State)

    def run(self, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
        run_virtual(story())


def _postponed(verdict: Verdict) -> bool:
    reject = verdict.rejected
    return reject is not None and (reject.code, reject.retryable) == ("no_open_answer", True)


@pytest.mark.parametrize("lost", ["everything", "the question and its answer"])
def test_an_answer_sent_again_waits_for_its_question(lost: str) -> None:
    scene = Scene()

    async def story() -> None:
        seen = await scene.begin()
        if lost == "everything":
            scene.server.flush()
            await scene.sessions.rebuild(scene.name)
            assert await scene.sessions.reconcile(scene.name, seen)
            assert _postponed(await scene.send(ANSWER))  # another socket's, before the start's
            assert (await scene.send(START)).accepted
        else:
            scene.server.fail_over(2)
            assert await scene.sessions.reconcile(scene.name, seen)
        assert _postponed(await scene.send(ANSWER))
        await scene.ask()
        assert (await scene.send(ANSWER)).accepted

    scene.run(story)


def test_a_session_that_lost_nothing_refuses_for_good() -> None:
    scene = Scene()

    async def story() -> None:
        seen = await scene.begin()
        assert await scene.sessions.reconcile(scene.name, seen)
        early = (await scene.send(c.AnswerSubmit(id="early", text="What?"))).rejected
        assert early is not None
        assert (early.code, early.retryable) == ("wrong_state", False)

    scene.run(story)


@pytest.mark.parametrize("away", [False, True])
def test_who_is_missed_is_missed_behind_lost_events_too(away: bool) -> None:  # noqa: FBT001
    scene = Scene()

    async def story() -> None:
        await scene.begin()
        if away:
            await scene.sessions.apply(scene.name, Left(since=NOW, grace_ms=10**6, at=NOW))
        partition, held = scene.server.partition(scene.name), scene.server.interviews[scene.name]
        told = partition.presence.copy(), held.away
        assert told == ({} if away else {scene.name: scene.server.clock()}, away)
        assert await scene.sessions.reconcile(scene.name, EventId(10**6, 1))
        assert (await scene.sessions.load(scene.name)).session.rebuilt
        assert (partition.presence, scene.server.interviews[scene.name].away) == told

    scene.run(story)


def test_a_session_that_moves_on_meanwhile_is_looked_at_anew() -> None:
    scene = Scene()

    async def story() -> None:
        await scene.begin()
        real = scene.store.commit

        async def overtaken(commit: Commit) -> Conflict:
            assert commit.id == scene.name
            return Conflict()

        scene.store.commit = overtaken
        assert not await scene.sessions.reconcile(scene.name, EventId(10**6, 1))
        scene.store.commit = real
        for _ in range(2):  # marked once
            assert await scene.sessions.reconcile(scene.name, EventId(10**6, 1))
        state = await scene.sessions.load(scene.name)
        assert state.session.rebuilt
        await scene.send(c.InterviewEnd(id="end"))
        assert await scene.sessions.reconcile(scene.name, EventId(10**6, 1))

    scene.run(story)
