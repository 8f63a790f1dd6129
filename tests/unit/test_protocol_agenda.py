"""Interviews told step by step: the agenda, barge-in, hints, pauses, time, and what is refused."""

import msgspec
import pytest
from msgspec.structs import replace

from ai.bank.guides import plan_guide
from protocol import commands as c
from protocol import events as e
from protocol.clock import SILENT_MS
from protocol.codec import event_body
from protocol.effects import Run, Stop
from protocol.limits import LIMITS, RECORDED_BYTES, SEGMENTS_PER_ANSWER, UTTERANCE_IDS_BYTES
from protocol.machine import (
    HINTS_PER_QUESTION,
    Finished,
    Lost,
    Ticked,
    next_tick,
)
from protocol.plan import Plan
from protocol.session import snapshot
from tests.support.stories import AT, CONSENT, Story, begun


def test_the_whole_agenda() -> None:
    story = Story()
    story.start()
    assert story.session.consent == CONSENT
    while not story.session.over:
        if story.open.speaker == "interviewer":
            story.say(f"Words of turn {story.session.turn}.")
        else:
            story.answer()
    said = [(turn.kind, turn.question_id) for turn in story.turns if turn.speaker == "interviewer"]
    assert said == [
        ("question", "warmup"),
        ("question", "core-1"),
        ("probe", "core-1"),
        ("question", "core-2"),
        ("probe", "core-2"),
        ("question", "candidate-questions"),
        ("reply", "candidate-questions"),
        ("closing", None),
    ]
    answers = [turn for turn in story.turns if turn.speaker == "candidate"]
    assert [turn.question_id for turn in answers] == [name for _, name in said[:6]]
    assert story.session.status == "completed"
    assert [type(event) for event in story.events] == [
        e.TurnCompleted,
        e.PhaseChanged,
        e.InterviewEnded,
    ]
    assert next_tick(story.session) is None


@pytest.mark.parametrize(("late_ms", "next_up"), [(0, "core-1"), (1, "candidate-questions")])
def test_no_question_begins_with_less_than_half_of_its_time(late_ms: int, next_up: str) -> None:
    story = begun()
    guide = plan_guide("i", Plan(type="system_design", role="r", duration_minutes=15))
    half = guide.questions[0].minutes * 30_000
    story.session = replace(story.session, guide=guide)
    story.at += story.session.plan.duration_ms - half + late_ms
    story.answer()
    assert story.open.question_id == next_up
    story.say()
    story.answer()
    assert story.open.kind == ("probe" if next_up == "core-1" else "reply")


def test_an_answer_is_told_by_its_text_and_has_no_source() -> None:
    story = begun()
    story.answer("Weil 🦁.")
    delta, completed, phase, question = story.events
    assert (delta.turn, delta.attempt, delta.offset, delta.text) == (2, 1, 0, "Weil 🦁.")
    assert (completed.turn, completed.length, completed.source) == (2, 7, None)
    assert phase == e.PhaseChanged(phase="core")
    assert (question.turn, question.kind, question.speaker) == (3, "question", "interviewer")
    assert Run(3, 1) in story.effects


def test_an_empty_answer_has_no_delta() -> None:
    story = begun()
    story.answer(None)
    assert isinstance(story.events[0], e.TurnCompleted)
    assert story.turns[-1].text == ""


def test_segments_make_the_answer_by_start_then_by_arrival() -> None:
    story = begun()
    story.hear("late", utterance_id="d", start_ms=900)
    story.hear("unknown one", utterance_id="x")
    story.hear("early", utterance_id="b", start_ms=0)
    story.hear("unknown two", utterance_id="y")
    story.hear("too", utterance_id="c", start_ms=900)
    story.answer(None)
    assert story.turns[-1].text == "early late too unknown one unknown two"


def test_the_text_of_the_command_stands_in_for_the_segments() -> None:
    story = begun()
    story.hear("spoken")
    story.answer("typed")
    assert story.turns[-1].text == "typed"


def test_an_empty_text_does_not_stand_in_for_segments() -> None:
    story = begun()
    story.hear("spoken", confidence=0.5)
    story.answer("")
    assert (story.turns[-1].text, story.turns[-1].confidence) == ("spoken", 0.5)
    story.say()
    story.answer("")
    assert (story.turns[-1].text, story.turns[-1].outcome) == ("", "final")


def test_a_higher_revision_replaces_and_a_lower_one_has_no_effect() -> None:
    story = begun()
    story.hear("one", utterance_id="a")
    story.hear("two", utterance_id="b")
    story.hear("ONE", utterance_id="a", revision=2)
    assert story.events[0].revision == 2
    for revision in (2, 1, 0):
        story.hear("no", utterance_id="a", revision=revision)
        assert story.effects == ()
    story.answer(None)
    assert story.turns[-1].text == "ONE two"


@pytest.mark.parametrize(
    ("heard", "kept", "unheard"),
    [(None, "Hello 🦁!", ""), (0, "", "Hello 🦁!"), (7, "Hello 🦁", "!"), (10**9, "Hello 🦁!", "")],
)
def test_barge_in_keeps_what_was_heard(heard: int | None, kept: str, unheard: str) -> None:
    story = Story()
    story.start()
    story.send(c.TurnCancel(id="x", turn=1, attempt=1, heard=heard), logged="Hello 🦁!")
    turn = story.turns[-1]
    assert (turn.text, turn.unheard, turn.outcome) == (kept, unheard, "interrupted")
    assert Stop(1) in story.effects
    assert story.open.speaker == "candidate"
    story.send(c.TurnCancel(id="y", turn=1, attempt=1, heard=heard), logged="")
    assert story.effects == ()


def test_what_cannot_be_cancelled() -> None:
    story = Story()
    story.start()
    story.send(c.TurnCancel(id="x", turn=2, attempt=1))
    assert story.reject.code == "wrong_state"
    story.send(c.TurnCancel(id="x", turn=1, attempt=2))
    assert story.reject.code == "wrong_state"
    story.take(Lost(turn=1, attempt=1, reason="stalled", at=AT))
    assert story.events == [e.TurnReset(turn=1, attempt=2, reason="stalled")]
    assert Run(1, 2) in story.effects
    story.send(c.TurnCancel(id="x", turn=1, attempt=1))
    assert story.effects == ()
    story.say()
    story.send(c.TurnCancel(id="x", turn=2, attempt=1))
    assert story.reject.code == "wrong_state"
    assert not story.reject.retryable


def test_hints_keep_the_answer_so_far_and_run_out() -> None:
    story = begun()
    story.answer()
    story.say()
    for _ in range(HINTS_PER_QUESTION):
        story.hear("So far")
        story.send(c.HintRequest(id="h"))
        assert (story.turns[-1].text, story.turns[-1].outcome) == ("So far", "interrupted")
        assert (story.open.kind, story.open.question_id) == ("hint", "core-1")
        story.say("Think of lions.")
        assert (story.open.kind, story.open.question_id) == ("answer", "core-1")
    story.send(c.HintRequest(id="h"))
    assert story.reject.code == "wrong_state"
    story.answer()
    assert (story.open.kind, story.open.question_id) == ("probe", "core-1")


def test_an_assessment_gives_no_hints() -> None:
    story = Story(mode="assessment")
    story.start()
    story.say()
    story.send(c.HintRequest(id="h"))
    assert story.reject.code == "wrong_state"


def test_a_pause_lets_what_was_begun_finish_and_begins_nothing() -> None:
    story = Story()
    story.start()
    story.at += 1_000
    story.send(c.InterviewPause(id="p"))
    assert next_tick(story.session) is None
    story.at += 10**6
    story.say()
    story.answer()
    assert story.session.open is None
    story.send(c.InterviewResume(id="r"))
    assert story.session.elapsed(story.at) == 1_000
    assert story.open.question_id == "core-1"


def test_a_reply_that_ends_in_a_pause_is_followed_by_the_closing() -> None:
    story = begun()
    while story.open.kind != "reply":
        story.say() if story.open.speaker == "interviewer" else story.answer()
    story.send(c.InterviewPause(id="p"))
    story.say()
    assert story.session.open is None
    story.send(c.InterviewResume(id="r"))
    assert (story.session.phase, story.open.kind) == ("wrap_up", "closing")


@pytest.mark.parametrize("status", ["created", "asked", "answering", "paused"])
def test_an_interview_can_be_ended_at_any_time(status: str) -> None:
    story = Story()
    if status != "created":
        story.start()
    if status in ("answering", "paused"):
        story.say()
        story.hear("So far")
    if status == "paused":
        story.send(c.InterviewPause(id="p"))
    story.send(c.InterviewEnd(id="e"), logged="Why")
    reason = "terminated" if status == "created" else "completed"
    assert e.InterviewEnded(reason=reason) in story.events
    assert story.session.status == reason
    kept = {"created": [], "asked": ["Why"]}.get(status, ["Why?", "So far"])
    assert [turn.text for turn in story.turns] == kept
    assert (Stop(1) in story.effects) == (status == "asked")


def test_an_answer_holds_so_much() -> None:
    story = begun()
    story.answer("é" * (LIMITS.answer_bytes // 2) + "x")
    assert (story.reject.code, story.reject.retryable) == ("too_large", False)
    story.hear("é" * (LIMITS.answer_bytes // 2), utterance_id="a")
    story.hear("", utterance_id="b")
    assert story.reject.code == "too_large"  # the space between them is one byte too many
    story.answer(None)
    assert len(story.turns[-1].text.encode()) == LIMITS.answer_bytes


def test_an_answer_holds_so_many_segments() -> None:
    story = begun()
    for number in range(SEGMENTS_PER_ANSWER):
        story.hear("", utterance_id=f"u{number}")
        assert story.events
    story.hear("", utterance_id="one more")
    assert story.reject.code == "too_large"
    story.hear("corrected", utterance_id="u0", revision=2)
    assert story.events


def test_the_largest_answer_that_is_open_fits_into_a_message() -> None:
    story = begun()
    last = 2**53 - 1
    for number in range(SEGMENTS_PER_ANSWER):
        story.hear(
            "\x01" * 31,  # as JSON six bytes each
            utterance_id=f"{number:04}".ljust(128, "u"),
            revision=last,
            start_ms=last,
            end_ms=last,
            confidence=1 / 3,
        )
        assert story.events, "the longest ids in ASCII are taken"
    taken = snapshot(story.session, (), "", AT)
    assert len(msgspec.json.encode(taken)) < LIMITS.message_bytes - 10_000


def test_the_ids_of_an_answer_take_so_much() -> None:
    story, taken = begun(), 0
    while taken == len(story.open.segments):
        taken += 1
        story.hear("", utterance_id=f"{taken}".ljust(128, "🦁"))
    assert story.reject.code == "too_large"
    ids = [segment.utterance_id for segment in story.open.segments]
    room = UTTERANCE_IDS_BYTES - len(msgspec.json.encode(ids))
    assert 0 <= room < 128 * 4


def test_the_revisions_of_an_answer_take_so_much() -> None:
    story, logged, heard = begun(), 0, ""
    for revision in range(1, 1_000):
        said = f"{revision} ".ljust(20_000, "x")
        story.hear(said, revision=revision)
        if not story.events:
            break
        heard = said
        logged += sum(len(event_body(event)) for event in story.events)
    assert (story.reject.code, story.reject.retryable) == ("too_large", False)
    assert 0 <= RECORDED_BYTES - logged < 20_200
    story.hear("", utterance_id="v")
    assert story.events, "what fits is taken"
    story.answer(None)
    assert story.turns[-1].text == f"{heard} "
    story.say()
    story.hear("anew")
    assert story.events, "the next answer has room of its own"


def test_a_revision_without_effect_takes_nothing() -> None:
    story = begun()
    story.hear("newest", revision=2)
    held = story.open
    story.hear("x" * 20_000, revision=1)
    assert story.open == held


@pytest.mark.parametrize("began", [False, True])
def test_speech_without_an_open_answer_may_be_sent_again(began: bool) -> None:  # noqa: FBT001
    story = Story()
    if began:
        story.start()
    story.hear("early")
    assert (story.reject.code, story.reject.retryable) == ("no_open_answer", True)


def test_an_answer_sent_again_waits_for_the_question_of_a_rebuilt_interview() -> None:
    story = Story()
    story.start()
    story.answer()
    assert (story.reject.code, story.reject.retryable) == ("wrong_state", False)
    story.session = replace(story.session, rebuilt=True)
    for command in (c.AnswerSubmit(id="a"), c.HintRequest(id="h")):
        story.send(command)
        assert (story.reject.code, story.reject.retryable) == ("no_open_answer", True)
    anew = Story()
    anew.answer()
    assert (anew.reject.code, anew.reject.retryable) == ("wrong_state", False)
    anew.session = replace(anew.session, rebuilt=True)
    for command in (c.AnswerSubmit(id="a"), c.HintRequest(id="h")):
        anew.send(command)
        assert (anew.reject.code, anew.reject.retryable) == ("no_open_answer", True)
    story.say()
    story.answer()
    assert story.turns[-1].text == "Because."
    story.send(c.InterviewPause(id="p"))
    story.say()
    story.answer()
    story.answer()
    assert (story.reject.code, story.reject.retryable) == ("wrong_state", False)


ANSWERING: tuple[c.SpeechFinal | c.AnswerSubmit | c.HintRequest, ...] = (
    c.SpeechFinal(id="f", utterance_id="u", revision=1, text="t"),
    c.AnswerSubmit(id="a", text="t"),
    c.HintRequest(id="h"),
)
each_command = pytest.mark.parametrize("command", ANSWERING, ids=lambda each: type(each).__name__)
OVER = ("wrong_state", False)
NOT_YET = ("no_open_answer", True)


def refused(story: Story, command: c.DurableCommand) -> tuple[str, bool]:
    before = story.session
    story.send(command)
    assert story.session == before
    return story.reject.code, story.reject.retryable


@each_command
def test_a_command_that_names_its_turn_is_for_no_other(command: c.AnswerSubmit) -> None:
    story = begun()
    story.answer()
    story.say()
    told = {turn: refused(story, replace(command, turn=turn)) for turn in (1, 2, 3, 5, 6)}
    assert told == {1: OVER, 2: OVER, 3: OVER, 5: NOT_YET, 6: NOT_YET}
    story.send(replace(command, turn=4))
    assert story.events


@each_command
def test_a_command_may_come_before_the_turn_it_names(command: c.AnswerSubmit) -> None:
    story = Story()
    assert refused(story, replace(command, turn=2)) == NOT_YET
    story.start()
    told = {turn: refused(story, replace(command, turn=turn)) for turn in (1, 2)}
    assert told == {1: OVER, 2: NOT_YET}


@each_command
def test_a_command_comes_too_late_for_the_turn_it_names(command: c.AnswerSubmit) -> None:
    story = begun()
    story.session = replace(story.session, rebuilt=True)
    story.answer()
    assert refused(story, replace(command, turn=2)) == OVER
    story.send(c.InterviewEnd(id="e"))
    for turn in (2, 3, 4):
        assert refused(story, replace(command, turn=turn)) == OVER


@each_command
def test_a_command_comes_too_late_between_two_turns(command: c.AnswerSubmit) -> None:
    story = begun()
    story.send(c.InterviewPause(id="p"))
    story.answer()
    assert story.session.open is None
    assert refused(story, replace(command, turn=2)) == OVER


def test_an_answer_that_names_its_turn_cuts_no_question_behind_silence() -> None:
    story = begun()
    story.answer()
    story.say()
    story.at += SILENT_MS
    story.take(Ticked(at=story.at))
    assert (story.open.turn, story.open.kind, story.session.silent) == (5, "probe", True)
    told = {turn: refused(story, c.AnswerSubmit(id="a", text="t", turn=turn)) for turn in (4, 5, 6)}
    assert told == {4: OVER, 5: OVER, 6: NOT_YET}
    story.answer()
    assert [turn.text for turn in story.turns[-2:]] == ["", "Because."]


def test_what_comes_too_late_has_no_effect() -> None:
    story = begun()
    for late in (
        Finished(turn=1, attempt=1, text="late", at=AT, source="model"),
        Finished(turn=2, attempt=1, text="no", at=AT, source="model"),
        Lost(turn=1, attempt=1, reason="late", at=AT),
        Lost(turn=2, attempt=1, reason="no", at=AT),
    ):
        before = story.session
        story.take(late)
        assert (story.session, story.effects) == (before, ())
