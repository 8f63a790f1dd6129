"""Who asks back has not answered, and who answers with a question in it has."""

import pytest
from msgspec.structs import replace

from ai.asking import only_asks, request_in
from ai.lacks import read_answer
from protocol.guide import GuideQuestion, Probe
from protocol.plan import Plan
from protocol.text import sha256
from tests.support.assessing import QUESTION

PLAN = Plan(type="technical", role="Backend engineer")

UNHEARD = [
    "Sorry, could you repeat the question?",
    "Could you please say that again, I did not hear you well",
    (
        "Sorry, my connection dropped for a moment and I only heard the first half of what you "
        "said. Could you please repeat the whole thing once more?"
    ),
    (
        "Sorry, I did not catch all of that because somebody rang at my door. Would you mind "
        "saying it again, a bit slower perhaps, please?"
    ),
    (
        "sorry i did not catch all of that because somebody rang at my door would you mind saying "
        "it again a bit slower perhaps please"
    ),
    "Somebody rang at my door just now. What was the question?",
    "My connection dropped.",
    "Sorry, I missed that.",
    "Sorry, I didn't catch that.",
    "I can't hear you.",
    "Pardon?",
    "Wie bitte?",
    "Können Sie die Frage wiederholen?",
    "もう一度お願いします",
]
UNCLEAR = [
    "What do you mean by that exactly? Do you want a technical example or something about people?",
    "I'm not sure I understand the question.",
    "I don’t know what you mean, could you explain?",  # noqa: RUF001  # as people type it
    "Okay, so it is a cache of a fixed size. Do you mean least recently used?",
    "Should I tell you about work or about my studies?",
    (
        "Before I dive in, can I ask a few things: is it a single tenant application, has anything "
        "been deployed recently, and do we have tracing in place already?"
    ),
    (
        "I have a couple of clarifying questions first. Do we get a shared secret or a signature, "
        "is there an SLA, and how long do they keep trying?"
    ),
    (
        "Let me first ask about requirements: what is the expected traffic, which latency is "
        "acceptable, and do we need to support several languages from day one?"
    ),
    (
        "Sure. First I'd like to understand scale and constraints. Roughly what traffic do we "
        "expect, and is eventual consistency okay, or must every change be visible immediately?"
    ),
    (
        "Could you tell me how churn was measured, whether competitors moved as well, and if "
        "acquisition went down at that point too? I would structure it around those."
    ),
    "Was meinen Sie damit?",
]
ANSWERS = [
    "I would use a queue between the two. Does that make sense?",
    "A hash map?",
    "What about a queue?",
    "How would I test it? With a fuzzer and property tests.",
    "Why? Because it is simple.",
    "Is it a cache problem? I would check the hit rate first.",
    (
        "Could it run on one machine to begin with, or are there reasons to part it right now? I "
        "would begin with one machine and a copy for reads."
    ),
    "If the connection dropped, I would try again with a growing pause between two attempts.",
    "My connection dropped during the demo, so I called them by phone and went on by voice.",
    "We didn't catch that in review, so it reached users.",
    "I would ask the client to repeat the request with the same key.",
    "First I'd like to understand what is slow, so I'd look at the query log.",
    (
        "My manager asked: what do you mean by done? I then wrote down with the team what it takes "
        "until something is done, and put it on the wall."
    ),
    "I say: I'm sorry, I hear you, and I will stay on the line until I know what it is.",
    "I listen, and then I ask: can you explain to me what you see on the screen just now?",
    "I say that I hear you, that I can't speak of it yet, and when I will.",
    "A linter will catch all of those, so I put one into CI.",
    "I'm glad to hear you use Kafka here; we used RabbitMQ.",
    "I found the connection was refused, so I restarted the proxy. Sorry for the short answer.",
    "Tests catch that.",
    "Another linter will catch all of them.",
    "When somebody asks: do you mean this year? I answer with what the contract of this year has.",
    "I'd love to hear what you enjoy most about working here.",
    (
        "A customer said sorry, could you repeat that to my boss, and I did, and then I wrote it "
        "down for both of them, so that nobody had to ask for it again on the next call."
    ),
]


def question(text: str = "Which index helps here?", probe: str = "Why that one?") -> GuideQuestion:
    return replace(QUESTION, bank_id=sha256(text + probe), text=text, probes=(Probe(probe),))


@pytest.mark.parametrize("text", UNHEARD)
def test_who_did_not_hear_the_question_lacks_hearing(text: str) -> None:
    assert read_answer(PLAN, QUESTION, text) == ("hearing",)


@pytest.mark.parametrize("text", UNCLEAR)
def test_who_asks_what_is_meant_lacks_the_meaning(text: str) -> None:
    assert read_answer(PLAN, QUESTION, text) == ("meaning",)


@pytest.mark.parametrize("text", ANSWERS)
def test_an_answer_is_one_though_it_asks_something(text: str) -> None:
    assert request_in(text) is None
    assert not only_asks(text, None)


def test_a_question_of_the_candidates_own_is_no_request_to_hear_one() -> None:
    assert request_in("What was that reorganisation about that I read of?") is None
    assert request_in("What was that?") == "hearing"


def test_only_a_bare_request_is_one_where_the_question_calls_for_words_to_say() -> None:
    calling = question("An angry customer calls. What do you say?")
    said = "Could you explain to me what you see on the screen?"
    assert request_in(said) == "meaning"
    assert request_in(said, calling) is None
    assert request_in("Sorry, could you please repeat the question?", calling) == "hearing"


def test_a_request_at_the_end_of_an_answer_leaves_it_one() -> None:
    answer = "I would put an index on the column that is searched, because the table is large. "
    assert request_in(f"{answer} Could you repeat the second part?") is None


def test_questions_answer_a_question_that_calls_for_them() -> None:
    asked = "What is the traffic? Do we need more than one region?"
    assert read_answer(PLAN, question(), asked) == ("meaning",)
    for calling in ("What would you ask the client?", "What do you want to know first?"):
        for called in (question(calling), question(probe=calling)):
            assert "meaning" not in read_answer(PLAN, called, asked)
            assert read_answer(PLAN, called, "What do you mean?") == ("meaning",)


def test_an_attack_is_no_question_though_it_has_its_mark() -> None:
    assert read_answer(PLAN, QUESTION, "What the fuck do you want?") == ("courtesy",)


def test_who_does_not_know_does_not_ask_back() -> None:
    assert read_answer(PLAN, QUESTION, "I don't know. Is that bad?") == ("answer",)


def test_a_long_answer_with_a_question_in_it_is_not_beside_the_question() -> None:
    text = "Pizza is the best food there is, so we all went swimming with the dog and ate again."
    assert "relevance" in read_answer(PLAN, QUESTION, f"{text} {text}")
    assert "relevance" not in read_answer(PLAN, QUESTION, f"{text} {text} What do you prefer?")
