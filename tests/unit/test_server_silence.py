"""Silence over the twin, in virtual time: the sweeper ends the wait, and a late answer is kept."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from ai.lacks import read_answer
from protocol import commands as c
from protocol.clock import QUIET_MS, SILENT_MS
from protocol.codec import event_body
from protocol.events import TurnDelta
from protocol.ids import ORIGIN
from protocol.machine import Finished, Input, Received, transition
from protocol.scalars import Role
from protocol.session import Session
from server.hub import Hub
from server.sessions import Sessions
from server.sweeper import HEARD_S, SWEEP_S, Sweeper
from server.voice import AGAIN_S, SPEAKING_S, Voice
from storage.errors import BackendDownError
from storage.live import Acquired, Append, Restore, State
from storage.twin import Twin, TwinNotifier, TwinServer
from tests.support.clocks import LoopClock
from tests.support.interviews import session
from tests.support.speeches import Rows, interviewer
from tests.support.virtual_time import run_virtual


class NoArchive:
    async def rebuild(self, interview_id: str) -> Restore | None:
        raise AssertionError(f"{interview_id} is in Redis")


class Nobody:
    """Generates no turns and stores nothing."""

    def run(self, interview_id: str) -> None:
        assert interview_id

    def store(self, partition: int) -> None:
        assert partition >= 0


class Scene:
    """An interview whose first main question is to be answered."""

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.server = server = TwinServer(self.clock.now)
        self.store = Twin(server)
        hub = Hub(self.store, TwinNotifier(server), self.clock)
        speaker = interviewer(None, Rows())
        self.sessions = Sessions(
            self.store, NoArchive(), hub, self.clock, speaker, idle_ms=10**7, read=read_answer
        )
        self.sweeper = Sweeper(self.store, self.sessions, Nobody(), self.clock, idle_ms=10**7)
        self.name = ""

    async def begin(self) -> None:
        at = self.clock.now()
        begun = replace(session(), created_at=at)
        consent = c.Consent(version="1", at=at)
        inputs: tuple[Input, ...] = (
            Received(command=c.InterviewStart(id="s", consent=consent), at=at),
            Finished(turn=1, attempt=1, text="Who are you?", at=at, source="bank"),
            Received(command=c.AnswerSubmit(id="a", text="I build queues."), at=at),
            Finished(turn=3, attempt=1, text="Why?", at=at, source="bank"),
        )
        for happened in inputs:
            begun = transition(begun, happened).session
        self.name = begun.interview_id
        await self.store.create(Restore(session=begun, version=0, head=ORIGIN, tick=0))

    async def state(self) -> State:
        state = await self.store.load(self.name, turns=True)
        assert isinstance(state, State)
        return state

    async def session(self) -> Session:
        return (await self.state()).session

    def play(self, story: Coroutine[Any, Any, None]) -> None:
        async def main() -> None:
            sweeping = asyncio.create_task(self.sweeper.run())
            try:
                await self.begin()
                await story
                assert not sweeping.done()
            finally:
                sweeping.cancel()
                await asyncio.gather(sweeping, return_exceptions=True)

        run_virtual(main())


def test_an_answer_typed_for_long_cuts_the_question_whether_there_is_one() -> None:
    scene = Scene()

    async def story() -> None:
        await asyncio.sleep(SILENT_MS / 1000 + 2 * SWEEP_S)
        opened = (await scene.session()).open
        assert opened is not None
        assert (opened.turn, opened.kind, opened.intent) == (5, "probe", "clarify")
        acquired = await scene.store.acquire(scene.name, "runner")
        assert isinstance(acquired, Acquired)
        body = event_body(TurnDelta(turn=5, attempt=1, offset=0, text="Take your"))
        said = Append(id=scene.name, fence=acquired.fence, ordinal=1, handle="", body=body)
        await scene.store.append([said])
        typed = "I chose a queue, as the two services differ in speed."
        verdict = await scene.sessions.command(scene.name, c.AnswerSubmit(id="t", text=typed))
        assert verdict.accepted is not None
        probe, answer = (await scene.state()).turns[-2:]
        assert (probe.text, probe.outcome) == ("Take your", "interrupted")
        assert (answer.text, answer.question_id, answer.outcome) == (typed, "core-1", "final")
        after = await scene.session()
        assert (after.open and after.open.kind, after.probes) == ("probe", 2)
        again = await scene.sessions.command(scene.name, c.AnswerSubmit(id="t", text=typed))
        assert again.duplicate

    scene.play(story())


def test_words_that_were_spoken_are_read_when_silence_ends_them() -> None:
    scene = Scene()

    async def story() -> None:
        await asyncio.sleep(100)
        spoken = c.SpeechFinal(id="f", utterance_id="u", revision=1, text="I don't know.")
        verdict = await scene.sessions.command(scene.name, spoken)
        assert verdict.accepted is not None
        await asyncio.sleep(QUIET_MS / 1000 - 2)
        assert (await scene.session()).turn == 4
        await asyncio.sleep(2 + 2 * SWEEP_S)
        after = await scene.session()
        assert (after.turn, after.lacks, after.silent) == (5, ("answer",), False)
        assert (await scene.state()).turns[-1].text == "I don't know."

    scene.play(story())


@pytest.mark.parametrize("text", [None, ""])
def test_words_that_were_spoken_are_read_where_none_were_typed(text: str | None) -> None:
    scene = Scene()

    async def story() -> None:
        said = "I chose a queue, as the two services differ in speed."
        spoken = c.SpeechFinal(id="f", utterance_id="u", revision=1, text=said)
        await scene.sessions.command(scene.name, spoken)
        lacks = scene.sessions.lacks(await scene.session())
        assert lacks
        assert "answer" not in lacks
        await scene.sessions.command(scene.name, c.AnswerSubmit(id="a", text=text))
        after = await scene.session()
        assert (after.turn, after.lacks) == (5, lacks)

    scene.play(story())


def test_a_request_that_was_spoken_is_met_with_the_question() -> None:
    scene = Scene()

    async def story() -> None:
        spoken = c.SpeechFinal(id="f", utterance_id="u", revision=1, text="Could you repeat that?")
        await scene.sessions.command(scene.name, spoken)
        await asyncio.sleep(QUIET_MS / 1000 + 2 * SWEEP_S)
        opened = (await scene.session()).open
        assert opened is not None
        assert (opened.turn, opened.kind, opened.question_id) == (5, "reply", "core-1")

    scene.play(story())


def test_who_speaks_without_a_pause_is_not_taken_for_silent() -> None:
    scene = Scene()

    async def story() -> None:
        voice = Voice(scene.name, "candidate", scene.store, scene.sessions, scene.clock)
        publishing: list[asyncio.Task[None]] = []
        began = (await scene.state()).version
        for revision in range(120):  # ten minutes
            partial = c.SpeechPartial(
                utterance_id="u", revision=revision, text=f"and then {revision}"
            )
            voice.offer(partial, lambda: publishing.append(asyncio.create_task(voice.publish())))
            await asyncio.sleep(5)
        await asyncio.gather(*publishing)
        state = await scene.state()
        assert (state.session.turn, state.head) == (4, ORIGIN), "nothing was told of it"
        assert state.version - began == 600 / SPEAKING_S
        await asyncio.sleep(SILENT_MS / 1000 + 2 * SWEEP_S)
        assert (await scene.session()).turn == 5

    scene.play(story())


@pytest.mark.parametrize(
    ("role", "utterance", "text", "signs"),
    [
        ("candidate", "u", "and then", 1),  # the same again is what engines send in a silence
        ("transcriber", "u", "", 0),
        ("transcriber", "u", "  ", 0),
        ("transcriber", c.TYPING, "", 0),
        ("candidate", c.TYPING, "", 6),
        ("transcriber", c.TYPING, "about typing", 1),
    ],
)
def test_only_new_words_and_typing_are_signs_of_an_answer(
    role: Role, utterance: str, text: str, signs: int
) -> None:
    scene = Scene()

    async def story() -> None:
        voice = Voice(scene.name, role, scene.store, scene.sessions, scene.clock)
        for revision in range(6):
            partial = c.SpeechPartial(utterance_id=utterance, revision=revision, text=text)
            voice.offer(partial, lambda: None)
            await voice.publish()
            await asyncio.sleep(SPEAKING_S)
        assert (await scene.state()).version == signs
        typing = utterance == c.TYPING and not text
        assert scene.server.calls["publish"] == (0 if typing else 6), "nobody is told of typing"

    scene.play(story())


def test_an_answer_that_nobody_could_hear_is_waited_for() -> None:
    """Redis was away for so long that no sign could be noted: the candidate may well be talking."""
    scene = Scene()

    async def story() -> None:
        voice = Voice(scene.name, "candidate", scene.store, scene.sessions, scene.clock)
        spoken = c.SpeechFinal(id="f", utterance_id="u", revision=1, text="It began")
        await scene.sessions.command(scene.name, spoken)
        await asyncio.sleep(10)
        scene.server.down = True
        await asyncio.sleep(QUIET_MS / 1000)
        scene.server.down = False
        await asyncio.sleep(HEARD_S - 5)
        assert (await scene.session()).turn == 4
        partial = c.SpeechPartial(utterance_id="v", revision=1, text="and went on")
        voice.offer(partial, lambda: None)
        await voice.publish()
        await asyncio.sleep(QUIET_MS / 1000 - 2)
        assert (await scene.session()).turn == 4
        await asyncio.sleep(2 + 2 * SWEEP_S)
        assert (await scene.session()).turn == 5

    scene.play(story())


def test_a_sign_that_was_lost_is_given_with_the_next_words() -> None:
    scene = Scene()

    async def story() -> None:
        asked: list[float] = []

        class Down:
            async def apply(self, _interview_id: str, happened: Input) -> None:
                asked.append(happened.at)
                raise BackendDownError("Redis")

        sessions: Any = Down()
        voice = Voice(scene.name, "candidate", scene.store, sessions, scene.clock)
        for revision in (1, 2):
            partial = c.SpeechPartial(utterance_id="u", revision=revision, text=f"so {revision}")
            voice.offer(partial, lambda: None)
            with capture_logs() as logs:
                await voice.publish()
            assert [log["event"] for log in logs] == ["speaking not noted"]
            await asyncio.sleep(AGAIN_S)
        assert len(asked) == 2

    scene.play(story())
