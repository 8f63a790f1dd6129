"""What answers lack, as far as words tell."""

from typing import get_args

import pytest

from ai.bank.guides import plan_guide
from ai.bank.loading import load_bank
from ai.lacks import LONG_WORDS, read_answer
from protocol.guide import GuideQuestion
from protocol.plan import Plan
from protocol.scalars import InterviewType

NAME = "0190a5c0-0000-7000-8000-00000000000a"
BEHAVIORAL = Plan(type="behavioral", role="Backend engineer")
TECHNICAL = Plan(type="technical", role="Backend engineer")
STORY = (
    "Last year our payments service lost orders and the deadline was close. I had to find a cause "
    "with one colleague. I measured the queue, I wrote a test that failed, and then I replaced the "
    "client library. As a result the losses dropped to none, and I learned to test failures first."
)
REASONED = (
    "I would start with a queue between them, because the second service is slower than the first. "
    "If it is down, the messages wait, and the trade-off is that readers see old data for a while."
)
PIZZA = (
    "Pizza is the best food there is, and the weather at the lake was so lovely on Sunday that all "
    "of us went swimming twice with the dog and ate pizza again."
)


def question(plan: Plan) -> GuideQuestion:
    return plan_guide(NAME, plan).questions[0]


@pytest.mark.parametrize(
    "text", ["", " \n", "…", "I don't know.", "No idea, sorry.", "Weiß nicht", "分かりません"]
)
def test_nothing_is_no_answer(text: str) -> None:
    assert read_answer(TECHNICAL, question(TECHNICAL), text) == ("answer",)


def test_a_whole_answer_lacks_nothing() -> None:
    assert read_answer(BEHAVIORAL, question(BEHAVIORAL), STORY) == ()
    assert read_answer(TECHNICAL, question(TECHNICAL), REASONED) == ()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (STORY.partition(" As a result")[0], "result"),
        (STORY[: STORY.index(" I measured")] + STORY[STORY.index(" As a result") :], "action"),
        (STORY[STORY.index("I measured") :], "situation"),
    ],
)
def test_a_story_without_a_part_lacks_it(text: str, part: str) -> None:
    assert read_answer(BEHAVIORAL, question(BEHAVIORAL), text) == (part,)


def test_an_opinion_without_a_reason_lacks_it() -> None:
    text = (
        "I prefer queues to calls. They are simple, they are quick, and everybody here uses them."
    )
    found = read_answer(TECHNICAL, question(TECHNICAL), text)
    assert "reasoning" in found
    assert "result" not in found


def test_a_mixed_plan_is_read_by_each_question_s_own_type() -> None:
    plan = Plan(type="mixed", role="Backend engineer", duration_minutes=60)
    kinds = {q.id: kind for kind, group in load_bank().questions.items() for q in group}
    found = {
        kinds[q.bank_id]: read_answer(plan, q, STORY) for q in plan_guide(NAME, plan).questions
    }
    assert found["behavioral"] == ()
    silent = "We used queues, and the queues were fine for our team, and that was it, more or less."
    for planned in plan_guide(NAME, plan).questions:
        told = kinds[planned.bank_id] == "behavioral"
        assert ("action" in read_answer(plan, planned, silent)) == told


def test_what_is_about_something_else_lacks_relevance() -> None:
    """Where not a single word fits; a word by chance gives the candidate the benefit of it."""
    found: list[bool] = []
    for kind in get_args(InterviewType):
        plan = Plan(type=kind, role="Backend engineer", duration_minutes=60)
        for planned in plan_guide(NAME, plan).questions:
            found.append("relevance" in read_answer(plan, planned, PIZZA))
            assert "relevance" not in read_answer(plan, planned, STORY), planned.bank_id
            assert "relevance" not in read_answer(plan, planned, f"{planned.text} {PIZZA}")
    assert sum(found) >= 0.7 * len(found)


@pytest.mark.parametrize(
    "text", ["You stupid bot!", "This is a waste of my time.", "Fuck off, idiot"]
)
def test_an_attack_is_none_of_the_answer_s_parts(text: str) -> None:
    assert read_answer(BEHAVIORAL, question(BEHAVIORAL), text) == ("courtesy",)


def test_who_tells_of_an_attack_does_not_attack() -> None:
    text = f"A customer told me to shut up and called me an idiot in front of everybody. {STORY}"
    assert read_answer(BEHAVIORAL, question(BEHAVIORAL), text) == ()


def test_a_very_long_answer_lacks_focus() -> None:
    text = f"{STORY} " * (LONG_WORDS // len(STORY.split()) + 1)
    assert read_answer(BEHAVIORAL, question(BEHAVIORAL), text) == ("focus",)


def test_blanks_ahead_of_an_answer_hide_nothing_of_it() -> None:
    assert read_answer(BEHAVIORAL, question(BEHAVIORAL), "\n" * 5_000 + STORY) == ()
    assert read_answer(BEHAVIORAL, question(BEHAVIORAL), "\n" * 5_000) == ("answer",)


def test_a_short_answer_lacks_detail() -> None:
    assert "detail" in read_answer(TECHNICAL, question(TECHNICAL), "A queue, because it waits.")


@pytest.mark.parametrize("language", ["de", "en"])
def test_another_language_is_not_judged_by_english_words(language: str) -> None:
    plan = Plan(type="behavioral", role="Backend engineer", language=language)
    german = "Wir hatten damals einen Ausfall, und ich habe die Warteschlange neu gebaut. " * 3
    assert read_answer(plan, question(plan), german) == ()


def test_the_warm_up_is_about_anything() -> None:
    assert "relevance" not in read_answer(TECHNICAL, None, PIZZA)
