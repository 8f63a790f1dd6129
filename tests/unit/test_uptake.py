"""What a lead says back of the answer before it: the candidate's words, or nothing."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ai.bank.echo import LENGTH, quote
from ai.bank.guides import plan_guide
from ai.bank.loading import load_bank
from ai.bank.templates import fill
from ai.bank.uptake import Uptake, uptake
from protocol.plan import Plan
from tests.unit.test_bank import interview, saying

PLAN = Plan(type="behavioral", role="Engineer", duration_minutes=60)
TOLD = (
    "We were late by three weeks, so I cut the scope in two and told the client on the same day."
    " It worked: we shipped in May."
)
IDS = tuple(f"0190a5c0-0000-7000-8000-{number:012x}" for number in range(200))


def _found(text: str, plan: Plan = PLAN) -> list[Uptake]:
    found = (uptake(name, number, plan, None, text) for name in IDS for number in range(2, 5))
    return [each for each in found if each is not None]


def test_about_half_of_the_leads_quote_and_to_the_letter() -> None:
    found = _found(TOLD)
    assert 0.4 < len(found) / (3 * len(IDS)) < 0.6
    assert {each.echo for each in found} == {"I cut the scope in two"}
    assert {each.template for each in found} == set(load_bank().phrases.onward_echo)


def test_no_lead_is_heard_twice_in_a_row() -> None:
    for name in IDS:
        leads = [uptake(name, number, PLAN, None, TOLD) for number in range(2, 10)]
        for one, other in itertools.pairwise(leads):
            assert one is None or other is None or one.template != other.template


def test_an_assessment_quotes_nobody() -> None:
    assert _found(TOLD, replace(PLAN, mode="assessment")) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I don't know.",
        "You stupid bot, I decided to stop this.",
        f"{TOLD} What a stupid question.",  # nothing of it, wherever the word stands
        "Shut up, I built it, that is all.",
        "Ich habe das Projekt geleitet und wir haben es gut hinbekommen, weil das Team stark war.",
        "People want to be heard, and then there is a way for all of us.",  # nothing was done
        "I did.",
    ],
)
def test_there_is_not_always_something_to_say_back(text: str) -> None:
    assert _found(text) == []


def test_an_answer_beside_the_question_is_not_said_back() -> None:
    astray = (
        "Pizza at the lake is lovely, and the dog and all of us swam, and then we ate pizza " * 2
    )
    question = plan_guide(IDS[0], PLAN).questions[0]
    assert all(uptake(name, 2, PLAN, question, astray) is None for name in IDS)


def test_another_language_is_not_mixed_with_english() -> None:
    assert _found(TOLD, replace(PLAN, language="de")) == []


@given(st.text(max_size=300))
def test_whatever_was_said_a_phrase_of_it_is_short_and_stays_text(text: str) -> None:
    said = f"{text} so I decided to leave it at {{role}} and {{echo}} then. {TOLD}"
    for name in IDS[:4]:
        found = uptake(name, 2, PLAN, None, said)
        if found is not None:
            assert 0 < len(found.echo) <= LENGTH + 1
            assert not set('\n\0"“”') & set(found.echo)
            whole = fill(found.template, {"echo": found.echo})
            assert found.echo in whole


def test_in_an_interview_of_the_bank_the_last_answer_is_taken_up() -> None:
    quoted = 0
    for name in IDS[:6]:
        turns = interview(PLAN, saying(TOLD), name)
        leads = [
            t.text
            for t in turns
            if t.kind == "question" and re.match(r"core-[2-9]", t.question_id or "")
        ]
        assert leads
        quoted += sum("“I cut the scope in two”" in text for text in leads)
        assert not any("{" in text for text in leads)
        assessed = interview(replace(PLAN, mode="assessment"), saying(TOLD), name)
        assert not any("“" in t.text for t in assessed if t.kind == "question")
    assert quoted > 3


def test_a_run_of_dots_is_read_once() -> None:
    """It was read from each of its dots to its end: this would take hours."""
    assert quote("Then I built " + "." * 1_000_000 + "x and so on", None, load_bank().phrases.words)
