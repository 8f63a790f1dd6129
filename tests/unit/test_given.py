"""What never changes of a session, kept apart from the rest, and known without being told again."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from msgspec.structs import replace

from protocol.guide import Anchors, Guide, GuideQuestion
from protocol.session import Session
from storage.errors import BadDataError
from storage.given import Given, changing_text, given_of, given_text, read_given, whole
from storage.redis.known import Known
from tests.support.interviews import PLAN, session
from tests.support.strategies import messages

TEXT = msgspec.json.encode(Given(PLAN)).decode()


@settings(deadline=None, database=None, max_examples=200)
@given(messages(Session))
def test_a_session_comes_back_whole(before: Any) -> None:
    after = whole(changing_text(before), read_given(given_text(before)))
    assert after == before
    assert msgspec.json.encode(after) == msgspec.json.encode(before)


def test_what_changes_names_nothing_of_what_never_does() -> None:
    question = GuideQuestion(
        question_id="core-1",
        bank_id="b",
        competency="c",
        text="Why?",
        anchors=Anchors(one="a", three="b", five="c"),
    )
    plan = replace(PLAN, resume="My life. " * 1_000)
    before = replace(session(plan=plan), guide=Guide(version="1", questions=(question,)))
    changing = changing_text(before)
    assert len(changing) < 200
    assert not {"plan", "guide"} & set(msgspec.json.decode(changing))
    after = whole(changing, given_of(before))
    assert after == before
    assert after.plan is before.plan
    assert after.guide is before.guide


@pytest.mark.parametrize("text", ["", "{", "[]", '{"phase":"unknown"}', '{"interview_id":"i"}'])
def test_what_is_no_session_is_told_apart(text: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        whole(text, Given(PLAN))


def test_what_was_learnt_is_known() -> None:
    known = Known()
    assert known.get("a") is None
    learnt = known.learn("a", TEXT.encode())
    assert learnt == Given(PLAN)
    assert known.get("a") is learnt
    known.drop("a")
    known.drop("a")
    assert known.get("a") is None


@pytest.mark.parametrize("text", [b"", b"{}", b'{"plan":{"type":"none"}}', b"\xff"])
def test_what_nobody_can_read_is_not_known(text: bytes) -> None:
    known = Known()
    with pytest.raises(BadDataError):
        known.learn("a", text)
    assert known.get("a") is None


def test_those_used_last_are_known_up_to_a_budget() -> None:
    known = Known(budget=300)
    for name in "abc":
        known.keep(name, Given(PLAN), 100)
    assert known.get("a")
    known.keep("d", Given(PLAN), 100)
    assert [name for name in "abcd" if known.get(name)] == ["a", "c", "d"]
    known.keep("a", Given(PLAN), 200)  # it is counted once, at its new size
    assert [name for name in "abcd" if known.get(name)] == ["a", "d"]
    known.keep("e", Given(PLAN), 301)
    assert not any(known.get(name) for name in "abcde")
    known.keep("f", Given(PLAN), 300)
    assert known.get("f")
