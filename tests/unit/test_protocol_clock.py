"""The interview's clock: warnings, silence, absences, and what expires."""

import pytest

from protocol import commands as c
from protocol import events as e
from protocol.clock import (
    OVERTIME_MS,
    PAUSED_MS,
    QUIET_MS,
    SILENT_MS,
    TIME_LOW_MS,
    UNSTARTED_MS,
    last_sign,
)
from protocol.machine import Arrived, Left, Speaking, Ticked, next_tick
from tests.support.stories import AT, Story, begun

MINUTE = 60_000
GRACE = 10 * MINUTE


def tick(story: Story, at: int) -> None:
    story.at = at
    story.take(Ticked(at=at))


def leave(story: Story, since: int, at: int) -> None:
    story.at = at
    story.take(Left(since=since, grace_ms=GRACE, at=at))


def arrive(story: Story, at: int) -> None:
    story.at = at
    story.take(Arrived(at=at))


def codes(story: Story) -> list[str]:
    return [event.code for event in story.events if isinstance(event, e.Notice)]


# --- warnings ------------------------------------------------------------------------------------


def test_warnings_come_once_and_the_last_answer_is_followed_by_the_closing() -> None:
    story = Story()
    story.start()
    planned = story.session.plan.duration_ms
    due = next_tick(story.session) or 0
    assert due == AT + planned - min(TIME_LOW_MS, planned // 5)
    tick(story, due - 1)
    assert story.effects == ()
    tick(story, due)
    assert codes(story) == ["time_low"]
    assert next_tick(story.session) == AT + planned
    tick(story, AT + planned)
    assert codes(story) == ["time_up"]
    assert next_tick(story.session) is None
    story.say()
    story.answer()
    assert (story.session.phase, story.open.kind) == ("wrap_up", "closing")
    story.say()
    assert story.session.status == "completed"


def test_a_late_tick_gives_both_warnings_at_once() -> None:
    story = Story()
    story.start()
    tick(story, AT + 10**9)
    assert codes(story) == ["time_low", "time_up"]


@pytest.mark.parametrize("final", [True, False])
def test_the_last_answer_has_so_much_overtime(final: bool) -> None:  # noqa: FBT001
    story = begun()
    end = AT + story.session.plan.duration_ms
    story.at = end - 1
    story.hear("I was")
    while (due := next_tick(story.session)) and story.open.speaker == "candidate":
        story.at = due - 1
        if due < end + OVERTIME_MS and final:
            story.hear("I was", utterance_id=f"u{due}")
        elif due < end + OVERTIME_MS:
            story.take(Speaking(at=story.at))
        tick(story, due)
    assert story.at == end + OVERTIME_MS
    assert (story.turns[-1].outcome, story.open.kind) == ("interrupted", "closing")
    assert story.turns[-1].text.startswith("I was")


# --- silence -------------------------------------------------------------------------------------


def test_silence_is_waited_for_and_then_taken_for_the_answer() -> None:
    story = begun()
    assert next_tick(story.session) == AT + SILENT_MS
    tick(story, AT + SILENT_MS - 1)
    assert story.effects == ()
    tick(story, AT + SILENT_MS)
    assert (story.turns[-1].text, story.turns[-1].outcome) == ("", "interrupted")
    assert (story.open.speaker, story.open.question_id) == ("interviewer", "core-1")


def test_silence_behind_words_ends_the_answer_sooner() -> None:
    story = begun()
    story.at = AT + 30_000
    story.hear("That is all.")
    assert next_tick(story.session) == AT + 30_000 + QUIET_MS
    story.at += QUIET_MS - 1
    story.hear("Or nearly.", utterance_id="v")
    assert next_tick(story.session) == story.at + QUIET_MS
    tick(story, story.at + QUIET_MS)
    assert (story.turns[-1].text, story.turns[-1].outcome) == ("That is all. Or nearly.", "final")
    assert story.open.speaker == "interviewer"


def test_silence_counts_anew_behind_a_pause() -> None:
    story = begun()
    story.at = AT + SILENT_MS - 1
    story.send(c.InterviewPause(id="p"))
    story.at += 5 * MINUTE
    story.send(c.InterviewResume(id="r"))
    assert next_tick(story.session) == story.at + SILENT_MS


@pytest.mark.parametrize("words", [False, True])
def test_who_is_heard_to_speak_is_not_silent(words: bool) -> None:  # noqa: FBT001
    story = begun()
    if words:
        story.hear("So.")
    patience = QUIET_MS if words else SILENT_MS
    story.at += patience - 1
    story.take(Speaking(at=story.at))
    assert story.effects == ()
    assert next_tick(story.session) == story.at + patience
    story.take(Speaking(at=story.at - 5))
    assert next_tick(story.session) == story.at + patience, "a late sign takes nothing back"
    tick(story, AT + patience)
    assert story.open.speaker == "candidate"
    tick(story, story.at + patience)
    assert story.open.speaker == "interviewer"


# --- absences ------------------------------------------------------------------------------------


def test_the_clock_stands_from_the_last_sign_of_life_on() -> None:
    story = begun()
    leave(story, since=AT + 40_000, at=AT + 60_000)
    assert story.session.status == "disconnected"
    assert story.events == []
    assert story.session.elapsed(AT + 10 * MINUTE) == 40_000
    arrive(story, AT + 5 * MINUTE)
    assert story.session.status == "live"
    assert story.session.elapsed(story.at) == 40_000
    assert story.session.elapsed(story.at + 1_000) == 41_000
    assert (story.session.absences, story.session.absent_ms) == (1, 5 * MINUTE - 40_000)


def test_an_absence_never_takes_back_what_the_clock_showed_before_it_ran() -> None:
    story = begun()
    story.at = AT + MINUTE
    story.send(c.InterviewPause(id="p"))
    story.at = AT + 3 * MINUTE
    story.send(c.InterviewResume(id="r"))
    leave(story, since=AT, at=story.at + 15_000)
    assert story.session.elapsed(story.at) == MINUTE
    assert story.session.rests_since == AT + 3 * MINUTE


@pytest.mark.parametrize("command", ["answer", "hear", "pause", "end"])
def test_a_command_shows_that_somebody_is_there(command: str) -> None:
    story = begun()
    leave(story, since=AT + 10_000, at=AT + 30_000)
    story.at = AT + 2 * MINUTE
    if command == "answer":
        story.answer()
    elif command == "hear":
        story.hear("Still here.")
    elif command == "pause":
        story.send(c.InterviewPause(id="p"))
    else:
        story.send(c.InterviewEnd(id="e"))
    expected = {"pause": "paused", "end": "completed"}.get(command, "live")
    assert story.session.status == expected
    assert story.session.elapsed(story.at) == 10_000


def test_a_command_that_does_not_fit_changes_nothing() -> None:
    story = begun()
    leave(story, since=AT, at=AT + 20_000)
    story.send(c.InterviewResume(id="r"))
    assert story.reject.code == "wrong_state"
    assert story.session.status == "disconnected"


def test_who_stays_away_for_the_grace_has_abandoned_the_interview() -> None:
    story = begun()
    story.hear("I was going to")
    leave(story, since=AT + 10_000, at=AT + 30_000)
    due = AT + 10_000 + GRACE
    assert next_tick(story.session) == due
    tick(story, due - 1)
    assert story.effects == ()
    tick(story, due)
    assert e.InterviewEnded(reason="abandoned") in story.events
    assert (story.session.status, story.session.phase) == ("abandoned", "closed")
    assert (story.turns[-1].text, story.turns[-1].outcome) == ("I was going to", "interrupted")
    assert story.session.elapsed_ms == 10_000


def test_who_comes_too_late_finds_it_abandoned_though_nobody_noticed_yet() -> None:
    story = begun()
    leave(story, since=AT, at=AT + 20_000)
    late = AT + GRACE
    story.at = late
    story.answer()
    assert (story.reject.code, story.reject.retryable) == ("wrong_state", False)
    arrive(story, late)
    assert story.session.status == "abandoned"


def test_nothing_is_abandoned_while_the_interviewer_speaks() -> None:
    story = Story()
    story.start()
    leave(story, since=AT, at=AT + 20_000)
    assert next_tick(story.session) is None
    story.at = AT + 2 * GRACE
    story.say()
    assert story.session.status == "disconnected"
    assert next_tick(story.session) == AT + GRACE
    tick(story, story.at)
    assert story.session.status == "abandoned"


def test_all_absences_together_stop_the_clock_for_one_grace() -> None:
    story = begun()
    at = AT
    for _ in range(3):
        leave(story, since=at, at=at + 15_000)
        at += 4 * MINUTE
        arrive(story, at)
    assert story.session.absent_ms == GRACE
    assert story.session.elapsed(at) == 3 * 4 * MINUTE - GRACE
    assert story.session.absences == 3


def test_the_candidate_is_warned_of_time_that_ran_out_meanwhile() -> None:
    story = begun()
    story.take(Left(since=AT, grace_ms=14 * MINUTE, at=AT + 15_000))
    arrive(story, AT + 13 * MINUTE)
    story.take(Left(since=story.at, grace_ms=14 * MINUTE, at=story.at + 15_000))
    arrive(story, AT + 26 * MINUTE)
    assert story.session.elapsed(story.at) == 12 * MINUTE
    tick(story, story.at)
    assert codes(story) == ["time_low"]


# --- what expires --------------------------------------------------------------------------------


def test_an_interview_that_nobody_starts_expires() -> None:
    story = Story()
    assert next_tick(story.session) == AT + UNSTARTED_MS
    tick(story, AT + UNSTARTED_MS)
    assert story.session.status == "expired"
    assert story.events[-1] == e.InterviewEnded(reason="expired")


def test_a_paused_interview_is_there_for_days() -> None:
    story = begun()
    story.hear("So far")
    story.at = AT + MINUTE
    story.send(c.InterviewPause(id="p"))
    story.at += PAUSED_MS - 1
    story.take(Ticked(at=story.at))
    assert story.effects == ()
    story.send(c.InterviewResume(id="r"))
    assert story.session.elapsed(story.at) == MINUTE
    story.answer("So far, and on.")
    assert story.turns[-1].text == "So far, and on."


def test_a_paused_interview_expires_at_last() -> None:
    story = begun()
    story.hear("So far")
    story.send(c.InterviewPause(id="p"))
    assert next_tick(story.session) == AT + PAUSED_MS
    tick(story, AT + PAUSED_MS)
    assert story.session.status == "expired"
    assert (story.turns[-1].text, story.turns[-1].outcome) == ("So far", "interrupted")


def test_the_last_sign_that_a_session_tells_of() -> None:
    story = begun()
    assert last_sign(story.session, story.turns) == AT
    story.at = AT + 5_000
    story.hear("Words.")
    assert last_sign(story.session, story.turns) == AT + 5_000
    story.at = AT + 9_000
    story.answer()
    assert last_sign(story.session, story.turns) == AT + 9_000
