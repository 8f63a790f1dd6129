"""What answers lack, as far as words tell."""

from typing import get_args

import pytest
from msgspec.structs import replace

from ai.bank.guides import plan_guide
from ai.bank.loading import load_bank
from ai.lacks import LONG_WORDS, read_answer
from protocol.guide import GuideQuestion
from protocol.plan import Plan
from protocol.probing import recovers
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
    "text",
    [
        "",
        " \n",
        "…",
        "I don't know.",
        "No idea, sorry.",
        "Weiß nicht",
        "分かりません",
        "Pass.",
        "Hmm, skip this please",
        "No, not really.",
        "I'd rather pass.",
        "Can we skip this question?",
        "I can't think of an example right now, sorry.",
        "I do not know the answer to this one.",
        "Well, I am not really sure, to be honest.",
        "No idea, I have never done that.",
    ],
)
def test_nothing_is_no_answer(text: str) -> None:
    assert read_answer(TECHNICAL, question(TECHNICAL), text) == ("answer",)


@pytest.mark.parametrize(
    "text",
    [
        "I'd pass the token in a header",
        "I would skip the cache and read from the primary",
        "One pass and a hash map",
        "Skip lists",
        "Not really a conflict, but my manager and I argued about it",
        "I can't remember the exact date, but we lost four percent",
        "I don't know Kafka, but I ran RabbitMQ for years",
        "I am not sure that scales beyond one node",
        "I'm not sure, maybe a message queue",
        "Ich weiß nicht mehr genau, aber wir verloren vier Prozent",
        "It was a waste of time, so I cancelled the meeting",
        "That meeting was bullshit, so I asked for an agenda",
        "We fucked up the migration, so I wrote the review of it",
        "The form is idiot-proof, because it has one field",
        "The customer told me to shut up, so I listened and called back",
        "My boss called me an idiot, so I left",
    ],
)
def test_a_short_answer_is_neither_none_nor_an_attack(text: str) -> None:
    assert not recovers(read_answer(TECHNICAL, question(TECHNICAL), text))


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
    "text",
    [
        "You stupid bot!",
        "This is a waste of my time.",
        "This interview is a waste of time",
        "Fuck off, idiot",
        "Shut up!",
        "What a stupid question. Next one, you useless machine.",
        "I will not answer that, moron.",
    ],
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


@pytest.mark.parametrize(("minutes", "most"), [(3, 450), (5, 450), (9, 810)])
def test_who_was_given_longer_may_say_more(minutes: int, most: int) -> None:
    planned = replace(question(BEHAVIORAL), minutes=minutes)
    words = (f"{STORY} " * 20).split()
    assert read_answer(BEHAVIORAL, planned, " ".join(words[:most])) == ()
    assert read_answer(BEHAVIORAL, planned, " ".join(words[: most + 1])) == ("focus",)


def test_a_short_answer_lacks_detail() -> None:
    assert "detail" in read_answer(TECHNICAL, question(TECHNICAL), "A queue, because it waits.")


@pytest.mark.parametrize("language", ["de", "en"])
def test_another_language_is_not_judged_by_english_words(language: str) -> None:
    plan = Plan(type="behavioral", role="Backend engineer", language=language)
    german = "Wir hatten damals einen Ausfall, und ich habe die Warteschlange neu gebaut. " * 3
    assert read_answer(plan, question(plan), german) == ()


def test_the_warm_up_is_about_anything() -> None:
    assert "relevance" not in read_answer(TECHNICAL, None, PIZZA)
