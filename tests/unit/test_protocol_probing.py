"""Which follow-up is asked, and whether one is: by what answers lack."""

from itertools import chain, combinations
from typing import get_args

import pytest
from msgspec.structs import replace

from protocol.commands import AnswerSubmit, InterviewPause, InterviewResume, TurnCancel
from protocol.guide import Anchors, Guide, GuideQuestion, Intent, Probe
from protocol.machine import Received, Ticked, next_tick
from protocol.probing import (
    REPLIES,
    Lack,
    intent_of,
    is_due,
    prepared,
    recovers,
)
from protocol.scalars import Mode
from tests.support.stories import Story, begun

LACKS: tuple[Lack, ...] = get_args(Lack)
INTENTS: tuple[Intent, ...] = get_args(Intent)
MODES: tuple[Mode, ...] = get_args(Mode)
ALL = tuple(chain.from_iterable(combinations(LACKS, size) for size in range(len(LACKS) + 1)))


def question(*intents: Intent, number: int = 1) -> GuideQuestion:
    return GuideQuestion(
        question_id=f"core-{number}",
        bank_id=f"bank-{number}",
        competency="Trust",
        text="Why?",
        probes=tuple(Probe(f"Prepared to {intent}?", intent) for intent in intents),
        anchors=Anchors(one="Little.", three="Some.", five="All."),
    )


def asked(mode: Mode = "practice", *intents: Intent) -> Story:
    """The first main question is to be answered."""
    story = Story(mode=mode)
    guide = Guide(version="v", questions=(question(*intents), question(*intents, number=2)))
    story.session = replace(story.session, guide=guide)
    story.start()
    story.say()
    story.answer("Hello.")
    story.say()
    return story


def answer(story: Story, *lacks: Lack, text: str = "Because.") -> None:
    command = AnswerSubmit(id="a", text=text)
    story.take(Received(command=command, at=story.at, lacks=lacks))


# --- the choice ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lacks", "intent"),
    [
        (("answer",), "clarify"),
        (("hearing",), "clarify"),
        (("meaning",), "clarify"),
        (("courtesy", "detail"), "redirect"),
        (("relevance", "reasoning"), "redirect"),
        (("focus",), "redirect"),
        (("result",), "complete"),
        (("situation", "detail"), "complete"),
        (("reasoning",), "complete"),
        (("detail",), "deepen"),
        ((), "challenge"),
    ],
)
def test_each_lack_has_its_remedy(lacks: tuple[Lack, ...], intent: Intent) -> None:
    assert intent_of(lacks, "practice") == intent


def test_an_assessment_never_challenges() -> None:
    for lacks in ALL:
        chosen = intent_of(lacks, "assessment")
        assert "challenge" not in (chosen, *prepared(None, chosen))
        if lacks:
            assert chosen == intent_of(lacks, "practice")


def test_what_is_prepared_serves_and_nothing_else() -> None:
    for size in range(1, len(INTENTS) + 1):
        for intents in combinations(INTENTS, size):
            for intent in INTENTS:
                kinds = prepared(question(*intents), intent)
                if intent in intents:
                    assert kinds[0] == intent
                assert kinds
                if set(intents) != {"challenge"}:
                    assert set(kinds) <= set(intents)
    assert prepared(question(), "complete")[0] == "complete"


def test_the_cap_holds_whatever_answers_lack() -> None:
    for cap in range(4):
        for probes in range(cap, 5):
            for lacks in (None, *ALL):
                assert not is_due(probes, cap, recovering=True, lacks=lacks)
                assert not is_due(probes, cap, recovering=False, lacks=lacks)


def test_the_second_follow_up_is_for_who_came_back_to_the_question() -> None:
    for lacks in ALL:
        assert is_due(0, 2, recovering=False, lacks=lacks)
        assert not is_due(1, 2, recovering=False, lacks=lacks)
        assert is_due(1, 2, recovering=True, lacks=lacks) != recovers(lacks)
    assert not is_due(1, 2, recovering=True, lacks=None)


# --- in an interview -----------------------------------------------------------------------------


def test_the_probe_says_what_it_is_for() -> None:
    story = asked("practice", "deepen", "complete")
    answer(story, "result")
    assert (story.open.kind, story.open.intent) == ("probe", "complete")
    assert story.session.lacks == ("result",)
    story.say()
    answer(story)
    assert (story.open.kind, story.open.question_id) == ("question", "core-2")


def test_a_kind_that_was_not_prepared_is_replaced_by_the_nearest() -> None:
    story = asked("practice", "deepen", "clarify")
    answer(story, "result")
    assert story.open.intent == "clarify"


def test_what_nobody_read_gets_a_probe_without_a_purpose() -> None:
    story = asked("practice", "deepen")
    story.answer()
    assert (story.open.kind, story.open.intent) == ("probe", None)


@pytest.mark.parametrize("lack", ["answer", "courtesy", "relevance"])
def test_coming_back_to_the_question_leaves_a_probe_for_the_answer(lack: Lack) -> None:
    story = asked("assessment", "deepen", "complete")
    answer(story, lack, text="No.")
    assert story.open.intent == intent_of((lack,), "assessment")
    story.say()
    answer(story, "result")
    assert (story.open.kind, story.open.intent) == ("probe", "complete")
    story.say()
    answer(story, "action")
    assert (story.open.kind, story.open.question_id) == ("question", "core-2")


def test_nobody_is_asked_twice_for_what_they_do_not_know() -> None:
    story = asked("practice", "deepen")
    for _ in range(2):
        answer(story, "answer", text="No idea.")
        story.say()
    assert story.turns[-1].question_id == "core-2"


def test_an_empty_answer_is_none_though_nobody_read_it() -> None:
    story = asked("practice", "deepen")
    story.answer(" \n")
    assert (story.session.lacks, story.open.intent) == (("answer",), "clarify")


def test_what_an_answer_lacks_is_known_behind_a_pause() -> None:
    story = asked("practice", "deepen", "complete")
    story.send(InterviewPause(id="p"))
    answer(story, "result")
    assert story.session.open is None
    story.send(InterviewResume(id="r"))
    assert story.open.intent == "complete"


# --- asking back ---------------------------------------------------------------------------------


@pytest.mark.parametrize("lack", ["hearing", "meaning"])
@pytest.mark.parametrize("mode", MODES)
def test_who_asks_back_gets_the_question_again_and_is_followed_up_for_the_answer(
    lack: Lack, mode: Mode
) -> None:
    story = asked(mode, "deepen", "complete")
    answer(story, lack, text="What do you mean?")
    assert (story.open.kind, story.open.question_id) == ("reply", "core-1")
    story.say("I meant this: why?")
    assert (story.open.kind, story.open.question_id) == ("answer", "core-1")
    assert (story.session.probes, story.session.recovering) == (0, False)
    answer(story, "result")
    assert (story.open.kind, story.open.intent) == ("probe", "complete")
    story.say()
    answer(story, lack, text="What do you mean?")
    assert (story.open.kind, story.open.question_id) == ("reply", "core-1")
    story.say()
    answer(story)
    assert (story.open.kind, story.open.question_id) == ("question", "core-2")


def test_a_question_is_put_again_so_often_and_then_left() -> None:
    story = asked("practice", "deepen")
    for _ in range(REPLIES):
        answer(story, "hearing", text="Pardon?")
        assert story.open.kind == "reply"
        story.say()
    answer(story, "hearing", text="Pardon?")
    assert (story.open.kind, story.open.intent) == ("probe", "clarify")
    story.say()
    answer(story, "meaning", text="What do you mean?")
    assert (story.open.kind, story.open.question_id) == ("question", "core-2")
    story.say()
    answer(story, "hearing", text="Pardon?")
    assert (story.open.kind, story.open.question_id) == ("reply", "core-2")


def test_the_warm_up_is_put_again_too() -> None:
    story = begun()
    answer(story, "hearing", text="Pardon?")
    assert (story.open.kind, story.open.question_id) == ("reply", "warmup")
    story.say()
    answer(story)
    assert (story.open.kind, story.open.question_id) == ("question", "core-1")


def test_who_is_invited_to_ask_does_and_hears_the_invitation_again_where_it_was_not() -> None:
    story = asked()
    while story.open.question_id != "candidate-questions":
        answer(story, "meaning")
        story.say()
    for _ in range(REPLIES - 1):
        answer(story, "hearing", text="Pardon?")
        assert (story.open.kind, story.open.question_id) == ("reply", "candidate-questions")
        story.say()
        assert (story.open.kind, story.open.question_id) == ("answer", "candidate-questions")
    answer(story, "meaning", text="What does the team do?")
    assert (story.open.kind, story.open.intent) == ("reply", None)
    story.say()
    assert story.open.kind == "closing"


def test_nothing_is_put_again_when_the_time_is_over() -> None:
    story = asked()
    story.at += story.session.plan.duration_ms
    answer(story, "hearing", text="Pardon?")
    assert story.open.kind == "closing"


def test_who_asks_back_in_a_pause_gets_the_question_behind_it() -> None:
    story = asked()
    story.send(InterviewPause(id="p"))
    answer(story, "meaning", text="What do you mean?")
    assert story.session.open is None
    story.send(InterviewResume(id="r"))
    assert (story.open.kind, story.open.question_id) == ("reply", "core-1")
    story.send(InterviewPause(id="p"))
    story.say()
    assert (story.open.kind, story.open.question_id) == ("answer", "core-1")


def test_who_cuts_the_question_that_is_put_again_answers_it() -> None:
    story = asked()
    answer(story, "hearing", text="Pardon?")
    turn = story.open.turn
    story.send(TurnCancel(id="x", turn=turn, attempt=1), logged="Of course")
    assert (story.open.kind, story.open.question_id) == ("answer", "core-1")


# --- silence -------------------------------------------------------------------------------------


def silence(story: Story) -> None:
    due = next_tick(story.session)
    assert due is not None
    story.at = due
    story.take(Ticked(at=due))


def test_a_candidate_who_stays_silent_is_asked_again_and_then_the_next_question() -> None:
    story = asked("practice", "deepen")
    silence(story)
    assert (story.open.kind, story.open.intent, story.session.silent) == ("probe", "clarify", True)
    story.say()
    silence(story)
    assert (story.open.kind, story.open.question_id) == ("question", "core-2")


def test_an_answer_that_was_being_typed_meanwhile_is_taken() -> None:
    story = asked("practice", "deepen", "complete")
    silence(story)
    probe = story.session.turn
    command = AnswerSubmit(id="late", text="It took me a while.")
    story.take(Received(command=command, at=story.at, logged="Take your", lacks=("result",)))
    kept = story.turns[-2:]
    assert [(turn.turn, turn.kind, turn.outcome) for turn in kept] == [
        (probe, "probe", "interrupted"),
        (probe + 1, "answer", "final"),
    ]
    assert [turn.text for turn in kept] == ["Take your", "It took me a while."]
    assert kept[1].question_id == "core-1"
    assert (story.open.kind, story.open.intent) == ("probe", "complete")
    assert not story.session.silent


def test_an_answer_comes_too_late_for_a_question_that_was_left() -> None:
    story = asked("practice", "deepen")
    silence(story)
    story.say()
    silence(story)
    answer(story)
    assert story.reject.code == "wrong_state"


def test_only_silence_lets_an_answer_cut_the_interviewer() -> None:
    story = asked("practice", "deepen")
    answer(story, "answer", text="")
    answer(story, text="Now I know.")
    assert story.reject.code == "wrong_state"
    turn = story.open.turn
    story.send(TurnCancel(id="x", turn=turn, attempt=1), logged="Take")
    story.answer("Now I know.")
    assert story.turns[-1].text == "Now I know."
