"""Decisions over the twin: who spoke what is cut, and what a spent interview still takes."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from protocol import commands as c
from protocol.codec import event_body
from protocol.events import TurnDelta
from protocol.ids import ORIGIN
from protocol.scalars import Source
from server.hub import Hub
from server.sessions import Sessions, Verdict
from storage.live import COMMAND_IDS, LAST_IDS, Acquired, Append, Restore, State
from storage.twin import Twin, TwinNotifier, TwinServer
from tests.support.clocks import LoopClock
from tests.support.interviews import NOW, session
from tests.support.speeches import Rows, ScriptedModel, interviewer
from tests.support.virtual_time import run_virtual

START = c.InterviewStart(id="start", consent=c.Consent(version="1", at=NOW))


class NoArchive:
    async def rebuild(self, interview_id: str) -> Restore | None:
        raise AssertionError(f"{interview_id} is in Redis")


class Scene:
    """An interview that was created, on an instance with or without a model."""

    def __init__(self, *, modelled: bool) -> None:
        clock = LoopClock()
        self.server = TwinServer(clock.now)
        self.store = Twin(self.server)
        speakers = interviewer(ScriptedModel() if modelled else None, Rows())
        hub = Hub(self.store, TwinNotifier(self.server), clock)
        self.sessions = Sessions(self.store, NoArchive(), hub, clock, speakers, idle_ms=3_600_000)
        self.session = session()
        self.name = self.session.interview_id

    def play(self, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            restore = Restore(session=self.session, version=0, head=ORIGIN, tick=0)
            await self.store.create(restore)
            await self.decide(START)
            await story()

        run_virtual(main())

    async def decide(self, command: c.DurableCommand) -> Verdict:
        return await self.sessions.command(self.name, command)

    async def say(self, text: str, handle: str) -> None:
        """Log a piece of the open turn, as a runner does."""
        acquired = await self.store.acquire(self.name, "nonce")
        assert isinstance(acquired, Acquired)
        delta = TurnDelta(turn=1, attempt=1, offset=0, text=text)
        append = Append(
            id=self.name, fence=acquired.fence, ordinal=1, handle=handle, body=event_body(delta)
        )
        await self.store.append([append])

    async def source(self) -> Source | None:
        """Who spoke the first turn."""
        state = await self.store.load(self.name, turns=True)
        assert isinstance(state, State)
        return state.turns[0].source


@pytest.mark.parametrize("modelled", [True, False])
@pytest.mark.parametrize("handle", ["bank:3", "resp:r:1:0:3", "", None])
@pytest.mark.parametrize(
    "cut", [c.TurnCancel(id="cut", turn=1, attempt=1), c.InterviewEnd(id="cut")]
)
def test_what_is_cut_names_who_spoke_it(
    cut: c.DurableCommand, handle: str | None, *, modelled: bool
) -> None:
    scene = Scene(modelled=modelled)

    async def story() -> None:
        if handle is not None:
            await scene.say("Why", handle)
        await scene.decide(cut)
        by_bank = handle == "bank:3" or (handle is None and not modelled)
        assert await scene.source() == ("bank" if by_bank else "model")

    scene.play(story)


def test_an_interview_that_used_up_its_ids_can_be_answered_and_ended() -> None:
    scene = Scene(modelled=False)

    async def code(command: c.DurableCommand) -> str:
        rejected = (await scene.decide(command)).rejected
        return rejected.code if rejected else ""

    async def story() -> None:
        held = scene.server.interviews[scene.name]
        held.commands |= {f"used-{number}": "d a1-1" for number in range(COMMAND_IDS - 1)}
        assert len(held.commands) == COMMAND_IDS
        assert await code(c.InterviewPause(id="p")) == "too_many_commands"
        # There is no open answer: each of these is decided, and remembered.
        answers = [await code(c.AnswerSubmit(id=f"a-{number}")) for number in range(LAST_IDS)]
        half = LAST_IDS // 2
        assert answers == ["wrong_state"] * half + ["too_many_commands"] * half
        assert await code(c.InterviewEnd(id="end")) == ""

    scene.play(story)
