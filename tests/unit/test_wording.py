"""Shared wordings: what may be shared, what the model is believed, what is spoken of it."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from ai.assessor.ports import AssessmentFailedError
from ai.assessor.replies import FaultyReplyError
from ai.assessor.source import Completion
from ai.bank.guides import plan_guide
from ai.bank.loading import load_bank
from ai.budget import Unlimited
from ai.settings import AiSettings
from ai.speech import TurnRequest
from ai.wording.maker import LINES_AT_ONCE, build_maker, build_prompt, read, usable
from ai.wording.needs import VARIANTS, Need, lines_of, needs_of, shared_language
from ai.wording.voice import shared_text
from loadtest.fakeopenai import worder
from protocol.plan import Plan
from tests.support.assessing import ScriptedSource
from tests.support.speeches import FixedClock, Rows, turn
from tests.support.virtual_time import run_virtual
from tests.unit.test_failures import refusal

INTERVIEW = "0190f7c2-0000-7000-8000-000000000001"
SECRET = "Zaphod Beeblebrox"
PLAN = Plan(
    type="technical",
    role=f"Assistant of {SECRET}",
    competencies=(f"Knowing {SECRET}",),
    duration_minutes=30,
)
ANSWER = turn(2, "candidate", "answer", f"I am {SECRET}, I built queues.", question_id="warmup")
SPARSE = turn(2, "candidate", "answer", "I built queues.", question_id="warmup")
"""Too little to be said back."""
TOLD = (
    "The queue kept failing at night, so I moved it to a server of its own. It worked since then."
)


def asking(question_id: str | None = "core-1", *, plan: Plan = PLAN, **fields: Any) -> TurnRequest:
    return TurnRequest(
        interview_id=INTERVIEW,
        user_id=SECRET,
        turn=3,
        attempt=1,
        kind=fields.pop("kind", "question"),
        question_id=question_id,
        phase="core",
        plan=plan,
        turns=fields.pop("turns", (ANSWER,)),
        guide=plan_guide(INTERVIEW, plan),
        **fields,
    )


def needs(plan: Plan = PLAN) -> tuple[Need, ...]:
    return needs_of(plan, plan_guide(INTERVIEW, plan))


class Kept:
    """Wordings as the fake model makes them; ``lacking`` are occasions that it has none of."""

    def __init__(self, *lacking: str) -> None:
        self.lacking = lacking
        self.asked: list[Need] = []

    async def find(self, interview_id: str, needs: Sequence[Need]) -> Sequence[tuple[str, ...]]:
        assert interview_id == INTERVIEW
        self.asked += needs
        made = read(made_by_the_fake(needs), needs) if needs else {}
        return [() if need.occasion in self.lacking else made[need.key] for need in needs]


def made_by_the_fake(needs: Sequence[Need]) -> Completion:
    return Completion(text=worder.word({"input": build_prompt(needs).input}))


def spoken(request: TurnRequest, *lacking: str) -> str:
    return run_virtual(shared_text(Kept(*lacking), request))


# --- what may be shared ---------------------------------------------------------------------------


def test_an_interview_needs_leads_and_its_questions() -> None:
    found = needs()
    assert [need.occasion for need in found[:5]] == [
        "opening", "into", "onward", "onward_blank", "invitation",
    ]  # fmt: skip
    assert [need.occasion for need in found[5:]] == ["question"] * 4
    assert len({need.key for need in found}) == 9


@pytest.mark.parametrize(
    "personal",
    [{"job_description": "We build queues."}, {"resume": SECRET}, {"language": "en-x-zaphod"}],
)
def test_nothing_of_a_personal_interview_is_shared(personal: dict[str, Any]) -> None:
    plan = replace(PLAN, **personal)
    assert needs(plan) == ()
    assert lines_of(asking(plan=plan)) == ()
    assert needs_of(PLAN, None) == ()


def test_neither_keys_nor_prompts_hold_anything_personal() -> None:
    for mode in ("practice", "assessment"):
        found = needs(replace(PLAN, mode=mode, language="de"))
        prompt = build_prompt(found)
        for text in (prompt.instructions, prompt.input, *(need.key for need in found)):
            for word in (*SECRET.split(), "Assistant", "Knowing", INTERVIEW):
                assert word not in text


@pytest.mark.parametrize(
    ("given", "shared"),
    [
        ("en", "en"), ("EN-us", "en-US"), ("zh-HANT-tw", "zh-Hant-TW"), ("es-419", "es-419"),
        ("klingon", None), ("de-1996", None), ("en-x-jane", None), ("de-DE-phonebk", None),
    ],
)  # fmt: skip
def test_a_language_is_shared_in_one_spelling_and_hides_no_name(
    given: str, shared: str | None
) -> None:
    plan = replace(PLAN, language=given)
    assert shared_language(plan, plan_guide(INTERVIEW, plan)) == shared


def test_an_assessment_asks_in_the_guides_own_words() -> None:
    plan = replace(PLAN, mode="assessment")
    guide = plan_guide(INTERVIEW, plan)
    assert not any(need.text for need in needs(plan)), "its own words need no cache"
    _, line = lines_of(asking(plan=plan))
    assert (line.need, line.text) == (None, guide.questions[0].text)
    german = replace(plan, language="de")
    assert [need.occasion for need in needs(german)[5:]] == ["exact"] * 4


def test_who_does_not_ask_a_prepared_question_shares_nothing() -> None:
    assert lines_of(asking(kind="probe")) == ()
    assert lines_of(asking(None, kind="closing")) == ()
    assert lines_of(asking("core-9")) == ()
    asked_back = turn(2, "candidate", "answer", "Queues. What do you mean by that?")
    assert lines_of(asking(turns=(asked_back,))) == ()


def test_a_question_of_another_version_of_the_bank_is_not_shared() -> None:
    request = asking()
    assert request.guide is not None
    first, *others = request.guide.questions
    other = replace(request.guide, questions=(replace(first, text=first.text + " Why?"), *others))
    assert lines_of(replace(request, guide=other)) == ()
    unknown = replace(request.guide, questions=(replace(first, bank_id="no-such"), *others))
    assert lines_of(replace(request, guide=unknown)) == ()
    assert len(needs_of(PLAN, unknown)) == 8


@pytest.mark.parametrize(
    ("question_id", "answer", "occasions"),
    [
        ("warmup", "", ["opening"]),
        ("core-1", "I built queues.", ["into", "question"]),
        ("core-2", "I built queues.", ["onward", "question"]),
        ("core-2", "I don't know.", ["onward_blank", "question"]),
        (None, "I built queues.", ["invitation"]),
    ],
)
def test_each_question_has_its_lines(
    question_id: str | None, answer: str, occasions: list[str]
) -> None:
    given = (turn(2, "candidate", "answer", answer),) if answer else ()
    lines = lines_of(asking(question_id, turns=given))
    assert [line.need.occasion for line in lines if line.need] == occasions


# --- what the model is believed -------------------------------------------------------------------


def test_the_fake_model_keeps_to_every_question_of_the_bank() -> None:
    bank = [q for group in load_bank().questions.values() for q in group]
    wanted = [
        Need(occasion="question", language="en", bank_id=question.id, text=question.text)
        for question in bank
    ]
    made: dict[str, tuple[str, ...]] = {}
    for place in range(0, len(wanted), 8):
        part = wanted[place : place + 8]
        made |= read(made_by_the_fake(part), part)
    assert {len(texts) for texts in made.values()} == {3}
    assert len(made) == len(bank)


LEAD = Need(occasion="onward", language="en")
INVITATION = Need(occasion="invitation", language="en")
ROLE = Need(occasion="question", language="en", bank_id="b", text="What does a good {role} do?")
PLAIN = Need(
    occasion="question", language="en", bank_id="b", text="Which lock did you choose, why?"
)


@pytest.mark.parametrize(
    ("text", "need", "good"),
    [
        ("Thank you, let us go on.", LEAD, True),
        ("Thank you. Shall we go on?", LEAD, False),
        ("Thank you for being a {role}.", LEAD, False),
        ("**Thank you**, let us go on.", LEAD, False),
        ("Thanks.", LEAD, False),
        ("Thank you. " * 60, LEAD, False),
        ("What would you like to know about the {role} position?", INVITATION, True),
        ("What would you like to know about the position?", INVITATION, False),
        ("What about {role}? And the team?", INVITATION, False),
        ("What makes a {role} good?", ROLE, True),
        ("What makes an engineer good?", ROLE, False),
        ("What makes a {role} of {company} good?", ROLE, False),
        ("What makes a {role good?", ROLE, False),
        ("Which lock was it, and what for?", PLAIN, True),
        ("Which lock was it? What for?", PLAIN, False),
        ("Which {role} lock was it?", PLAIN, False),
        ("Which lock was it? " + "x" * 200, PLAIN, False),
        ("See https://example.org, which lock?", PLAIN, False),
    ],
)
def test_a_variant_has_to_keep_to_its_task(text: str, need: Need, *, good: bool) -> None:
    assert usable(text, need) is good


def _reply(*lines: tuple[int, Sequence[str]]) -> Completion:
    told = [{"task": task, "variants": list(variants)} for task, variants in lines]
    return Completion(text=msgspec.json.encode({"lines": told}).decode())


def test_what_is_wrong_in_a_reply_is_left_out() -> None:
    fine = "Thank you, let us go on."
    reply = _reply((1, [fine, "Bad?", fine, f" {fine}\n"]), (7, [fine]), (2, ["no slot?"]))
    assert read(reply, [LEAD, INVITATION]) == {LEAD.key: (fine,)}
    many = [f"Thank you, that was number {n}." for n in range(99)]
    assert len(read(_reply((1, many)), [LEAD])[LEAD.key]) == VARIANTS["onward"]


@pytest.mark.parametrize(
    ("completion", "code"),
    [
        (Completion(text="sorry"), "schema"),
        (Completion(text='{"lines": [', cut=True), "cut"),
        (_reply(), "unusable"),
        (_reply((1, ["Why?"])), "unusable"),
    ],
)
def test_a_reply_of_no_use_is_refused(completion: Completion, code: str) -> None:
    with pytest.raises(FaultyReplyError) as refused:
        read(completion, [LEAD])
    assert refused.value.code == code


def making(*replies: object) -> set[str]:
    """Return the keys of what is made where the model gives these replies."""
    maker = build_maker(
        AiSettings(api_key="k", retries=0),
        Rows(),
        FixedClock(),
        Unlimited(),
        source=ScriptedSource(*replies),
    )
    return set(run_virtual(maker.make(INTERVIEW, "u1", needs())))


@pytest.mark.parametrize("lost", ["I cannot", refusal(503), refusal(404)])
def test_what_was_made_is_not_lost_with_a_later_call(lost: object) -> None:
    first = needs()[:LINES_AT_ONCE]
    assert making(made_by_the_fake(first), lost) == {need.key for need in first}


def test_a_reply_of_no_use_costs_the_other_lines_nothing() -> None:
    rest = needs()[LINES_AT_ONCE:]
    assert making("I cannot", made_by_the_fake(rest)) == {need.key for need in rest}


@pytest.mark.parametrize(
    ("lost", "code"), [("I cannot", "schema"), (refusal(503), "provider_error")]
)
def test_where_nothing_could_be_made_it_is_told_why(lost: object, code: str) -> None:
    with pytest.raises(AssessmentFailedError, match=code):
        making(lost)


# --- what is spoken -------------------------------------------------------------------------------


def test_a_turn_is_its_lead_and_its_question_and_the_same_everywhere() -> None:
    request = asking("core-2", turns=(SPARSE,))
    text = spoken(request)
    assert text == spoken(replace(request, attempt=2))
    assert request.guide is not None
    assert text.endswith(request.guide.questions[1].text)
    others = {spoken(replace(request, turn=number)) for number in range(3, 60)}
    assert len(others) > 10


def test_the_roles_title_is_filled_in_where_it_is_spoken() -> None:
    text = spoken(asking("warmup", turns=()))
    assert f"the Assistant of {SECRET} position" in text


def test_no_lead_is_heard_twice_while_another_is_left() -> None:
    turns = [SPARSE]
    heard: list[str] = []
    for number in range(VARIANTS["onward"]):
        request = asking("core-2", turns=tuple(turns))
        text = spoken(replace(request, turn=2 * number + 3))
        heard.append(text.split(" thanks")[0])
        turns += [turn(2 * number + 3, "interviewer", "question", text), SPARSE]
    assert len(set(heard)) == VARIANTS["onward"]
    assert spoken(replace(asking("core-2", turns=tuple(turns)), turn=99)), "then one comes again"


@pytest.mark.parametrize("lacking", ["onward", "question"])
def test_what_lacks_a_line_is_not_spoken_from_the_cache(lacking: str) -> None:
    assert spoken(asking("core-2", turns=(SPARSE,)), lacking) == ""


def test_a_lead_that_quotes_the_answer_is_put_together_here_and_shared_with_nobody() -> None:
    told = turn(2, "candidate", "answer", TOLD)
    found = {
        number: lines_of(asking(f"core-{number}", turns=(told,)))
        for number in range(2, len(plan_guide(INTERVIEW, PLAN).questions) + 1)
    }
    quoting = [lines for lines in found.values() if lines[0].need is None]
    assert quoting, "of several leads one quotes"
    for lead, question in quoting:
        assert "I moved it to a server of its own" in lead.text
        assert question.need is not None
        assert "moved" not in question.need.key + question.need.text
    assessed = replace(PLAN, mode="assessment")
    for number in found:
        lead, *_ = lines_of(asking(f"core-{number}", plan=assessed, turns=(told,)))
        assert lead.need is not None
        assert lead.need.occasion == "onward"


def test_what_cannot_be_shared_is_not_looked_for() -> None:
    kept = Kept()
    assert run_virtual(shared_text(kept, asking(kind="probe"))) == ""
    assert kept.asked == []
