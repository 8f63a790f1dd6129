"""What a server owes a candidate and does not do: each is an error, whatever the thresholds say."""

import asyncio
import time
from typing import Any

import msgspec
import pytest

from loadtest.fakeopenai.faults import Fault
from loadtest.load.crowd import OWED_S, Crowd
from loadtest.load.scenario import Provider
from loadtest.stamps import stamp
from protocol import events as e
from protocol.text import sha256
from tests.unit.test_load_interview import SPEAKER, Stage

pytestmark = pytest.mark.anyio


def begun(**how: Any) -> Stage:
    stage = Stage(**how)
    (start,) = stage.line.of("interview.start")
    stage.accept(start["id"])
    stage.tell(e.InterviewStarted(at=1))
    return stage


def silent_s(stage: Stage, after_s: float = 100.0) -> float:
    """For how long nothing has come, seen from so much later; to the second."""
    return round(stage.interview.silent_s(time.monotonic() + after_s))


def turn(
    stage: Stage, number: int, text: str, source: Any = "model", *, whole: bool = True
) -> None:
    stage.tell(e.TurnStarted(turn=number, attempt=1, speaker="interviewer", kind="hint", at=1))
    stage.tell(e.TurnDelta(turn=number, attempt=1, offset=0, text=text))
    if whole:
        stage.tell(
            e.TurnCompleted(
                turn=number, attempt=1, length=len(text), sha256=sha256(text), outcome="final",
                source=source, at=1,
            )
        )  # fmt: skip


async def test_words_are_owed_until_the_candidate_has_the_word() -> None:
    stage = begun()
    assert silent_s(stage) == 100, "the first words"
    turn(stage, 1, stamp(), whole=False)
    assert silent_s(stage) == 100, "the rest of them: the stream stands still"
    turn(stage, 1, "")  # repeated, in part: what matters is that the turn is over
    stage = begun()
    turn(stage, 1, stamp())
    assert silent_s(stage) == 100, "the word is not given to the candidate"
    stage.tell(e.TurnStarted(turn=2, attempt=1, speaker="candidate", kind="answer", at=1))
    assert silent_s(stage) == 0, "the candidate thinks"


async def test_each_word_and_each_event_is_heard() -> None:
    stage = begun()
    turn(stage, 1, stamp(), whole=False)
    await asyncio.sleep(0.05)
    before = stage.interview.silent_s(time.monotonic())
    assert before >= 0.05
    stage.tell(e.TurnDelta(turn=1, attempt=1, offset=len(stamp()), text="more"))
    assert stage.interview.silent_s(time.monotonic()) < before


async def test_nothing_is_owed_before_the_start_nor_to_who_stalls_or_is_over() -> None:
    assert silent_s(Stage(ending=True)) == 0
    assert silent_s(begun(stalls=True)) == 0
    stage = begun()
    stage.ask()
    stage.tell(e.InterviewEnded(reason="completed"))
    assert silent_s(stage) == 0
    assert not stage.crowd.tally.errors


async def test_who_heard_nothing_for_long_when_the_run_ends_is_an_error_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = begun()
    turn(stage, 1, stamp(), whole=False)
    stage.crowd.guests.add(stage.interview)
    now = time.monotonic()
    monkeypatch.setattr(stage.crowd, "now", lambda: now + OWED_S - 1)
    Crowd.settle(stage.crowd)
    assert not stage.crowd.tally.errors
    monkeypatch.setattr(stage.crowd, "now", lambda: now + OWED_S + 1)
    Crowd.settle(stage.crowd)
    Crowd.settle(stage.crowd)
    assert stage.crowd.tally.errors == {"silence": 1}


@pytest.mark.parametrize("reason", ["abandoned", "expired", "terminated"])
async def test_an_interview_that_is_ended_for_its_candidate_is_an_error(reason: Any) -> None:
    stage = begun()
    stage.tell(e.InterviewEnded(reason=reason))
    assert stage.crowd.tally.errors == {f"ended {reason}": 1}


@pytest.mark.parametrize(
    ("provider", "own", "errors"),
    [
        (SPEAKER, True, {"bank": 1}),
        (SPEAKER, False, {}),  # of somebody else's model nobody knows
        (Provider(source="bank"), True, {}),
        (msgspec.structs.replace(SPEAKER, faults=(Fault(kind="quota"),)), True, {}),
    ],
)
async def test_the_question_bank_in_place_of_a_model_without_faults_is_an_error(
    provider: Provider,
    own: bool,  # noqa: FBT001
    errors: dict[str, int],
) -> None:
    stage = begun(provider=provider, own=own)
    turn(stage, 1, "Why?", "bank")
    assert stage.crowd.tally.errors == errors
    assert stage.crowd.tally.counts["bank_turns"] == 1


async def test_what_was_seen_is_kept_past_a_snapshot_as_far_as_it_was_stored() -> None:
    stage = begun()
    stage.ask()
    first = stage.interview.view.turns[0]
    stage.tell(e.Stored(id=f"{stage.seq - 1}-{stage.seq - 1}"))
    turn(stage, 3, "Not stored yet.")
    assert [seen.turn for seen in stage.interview.seen] == [1, 3]
    stage.connect()  # its snapshot has no turns at all
    assert stage.interview.seen == [first]


async def test_what_a_snapshot_told_is_not_looked_for_before_it_is_known_to_be_stored() -> None:
    stage = begun()
    stage.ask()
    assert stage.interview.certain
    stage.connect()
    assert not stage.interview.certain
    turn(stage, 1, stamp())
    assert stage.interview.certain, "it leaves once the end of this turn is stored, and all before"
