"""A turn is cut while its runner speaks on: what was logged before the cut is kept, all of it."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from msgspec.structs import replace

from protocol import commands as c
from protocol.clock import SILENT_MS
from protocol.codec import event_body
from protocol.events import TurnDelta
from protocol.ids import ORIGIN, EventId
from protocol.machine import Finished, Input, Received, Ticked
from protocol.session import Turn
from server.hub import Hub
from server.sessions import CUT_ROUNDS, Sessions
from storage.live import Acquired, Append, Appended, Astray, Gone, Restore, State
from storage.twin import Twin, TwinNotifier, TwinServer
from tests.support.clocks import LoopClock
from tests.support.interviews import session
from tests.support.speeches import Rows, interviewer
from tests.support.virtual_time import run_virtual

CUTS = {
    "cancel": c.TurnCancel(id="cut", turn=5, attempt=1),
    "end": c.InterviewEnd(id="cut"),
    "late answer": c.AnswerSubmit(id="cut", text="I chose a queue."),
}


class NoArchive:
    async def rebuild(self, interview_id: str) -> Restore | None:
        raise AssertionError(f"{interview_id} is in Redis")


class Runner:
    """Speaks the open turn, a word at a time."""

    def __init__(self, server: TwinServer) -> None:
        self._store = Twin(server)
        self.said: list[str] = []

    async def speak(self, name: str) -> None:
        acquired = await self._store.acquire(name, "runner")
        assert isinstance(acquired, Acquired)
        opened = acquired.state.session.open
        assert opened is not None
        self.said.append(f"word{len(self.said)} ")
        delta = TurnDelta(turn=opened.turn, attempt=1, offset=0, text=self.said[-1])
        append = Append(
            id=name,
            fence=acquired.fence,
            ordinal=len(self.said),
            handle="h",
            body=event_body(delta),
        )
        (appended,) = await self._store.append([append])
        assert isinstance(appended, Appended)


class Slow(Twin):
    """A way to Redis on which the runner logs a word behind each of the next ``races`` readings."""

    def __init__(self, server: TwinServer, runner: Runner) -> None:
        super().__init__(server)
        self._runner = runner
        self.races = self.readings = 0

    async def load(
        self,
        interview_id: str,
        *,
        command: str = "",
        turns: bool = False,
        entries: bool = False,
        seen: EventId | None = None,
    ) -> State | Astray | Gone:
        found = await super().load(
            interview_id, command=command, turns=turns, entries=entries, seen=seen
        )
        if entries:
            self.readings += 1
            if self.races:
                self.races -= 1
                await self._runner.speak(interview_id)
        return found


class Scene:
    """Silence ended the second answer; two words of the probe behind it, turn 5, are out."""

    def __init__(self) -> None:
        clock = LoopClock()
        server = TwinServer(clock.now)
        self.runner = Runner(server)
        self.store = Slow(server, self.runner)
        hub = Hub(self.store, TwinNotifier(server), clock)
        speakers = interviewer(None, Rows())
        self.sessions = Sessions(self.store, NoArchive(), hub, clock, speakers, idle_ms=10**7)
        self._clock = clock
        self.name = ""

    def play(self, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            await self._begin()
            await story()

        run_virtual(main())

    async def _begin(self) -> None:
        at = self._clock.now()
        begun = replace(session(), created_at=at)
        self.name = begun.interview_id
        await self.store.create(Restore(session=begun, version=0, head=ORIGIN, tick=0))
        consent = c.Consent(version="1", at=at)
        inputs: tuple[Input, ...] = (
            Received(command=c.InterviewStart(id="s", consent=consent), at=at),
            Finished(turn=1, attempt=1, text="Who are you?", at=at, source="bank"),
            Received(command=c.AnswerSubmit(id="a", text="I build queues."), at=at),
            Finished(turn=3, attempt=1, text="Why?", at=at, source="bank"),
            Ticked(at=at + SILENT_MS),
        )
        for happened in inputs:
            await self.sessions.apply(self.name, happened)
        for _ in range(2):
            await self.runner.speak(self.name)

    async def cut(self, command: c.DurableCommand, *, races: int) -> Turn:
        """Send ``command``; return the probe as it is kept."""
        self.store.races = races
        verdict = await self.sessions.command(self.name, command)
        assert verdict.accepted is not None
        state = await self.store.load(self.name, turns=True)
        assert isinstance(state, State)
        return state.turns[4]


@pytest.mark.parametrize("races", [0, 1, CUT_ROUNDS - 1])
@pytest.mark.parametrize("cut", CUTS)
def test_what_was_logged_between_the_reading_and_the_cut_is_kept(cut: str, races: int) -> None:
    scene = Scene()

    async def story() -> None:
        kept = await scene.cut(CUTS[cut], races=races)
        assert len(scene.runner.said) == 2 + races
        assert (kept.text, kept.unheard) == ("".join(scene.runner.said), "")
        assert kept.outcome == "interrupted"
        assert scene.store.readings == 1 + races

    scene.play(story)


def test_what_was_not_heard_is_kept_apart_to_its_last_word() -> None:
    scene = Scene()

    async def story() -> None:
        kept = await scene.cut(replace(CUTS["cancel"], heard=8), races=1)
        assert (kept.text, kept.unheard) == ("word0 wo", "rd1 word2 ")

    scene.play(story)


def test_a_runner_that_is_always_faster_is_cut_in_the_end() -> None:
    scene = Scene()

    async def story() -> None:
        kept = await scene.cut(CUTS["cancel"], races=100)
        assert scene.store.readings == CUT_ROUNDS + 1
        assert kept.text == "".join(scene.runner.said[:-1])

    scene.play(story)


def test_a_command_that_cuts_nothing_is_decided_at_once() -> None:
    scene = Scene()

    async def story() -> None:
        scene.store.races = 1
        late = c.TurnCancel(id="late", turn=1, attempt=1)
        assert (await scene.sessions.command(scene.name, late)).accepted is not None
        assert scene.store.readings == 1

    scene.play(story)
