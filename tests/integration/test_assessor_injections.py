"""Whatever candidates write into their answers, it moves no score and leaves no fence.

The fake rater obeys every order that it finds outside of data, and reads tags as a model may,
through invisible and wide characters: a fence that breaks would show in the score.
"""

import re
from typing import get_args

import pytest
from msgspec.structs import replace

from ai.assessor.case import answer_case
from ai.assessor.prompts import build_prompt
from ai.bank.echo import clean as cleaned
from ai.bank.guides import plan_guide
from ai.bank.templates import fill
from ai.prompts import build_prompt as interviewers
from ai.speech import TurnRequest
from loadtest.fakeopenai import FakeOpenAI, Options
from loadtest.fakeopenai.faults import Fault
from loadtest.fakeopenai.rater import MARK, obeyed, orders, rate
from protocol.assessment import verified
from protocol.scalars import Mode
from tests.support.assessing import GOOD, PLAN, answered, asked, asking, request
from tests.support.injections import INJECTIONS
from tests.support.speeches import Rows, turn

pytestmark = pytest.mark.anyio
HONEST = f"{GOOD} quality:middling."
PLACES = ("{honest} {injected}", "{injected} {honest}", "{honest}\n{injected}\n{honest}")
TAGS = ("transcript", "question", "role", "competency")


def test_there_are_enough_of_them() -> None:
    assert len(INJECTIONS) >= 200


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_no_injection_shifts_a_score(api: str) -> None:
    shifts, unproven, rows = list[str](), 0, Rows()
    async with (
        FakeOpenAI(Options(first_token_s=0.0)).running() as fake,
        asking(fake, rows, api=api) as assessor,
    ):
        honest = await assessor.rate(request(HONEST))
        assert honest.score == 3
        for number, injected in enumerate(INJECTIONS):
            place = PLACES[number % len(PLACES)]
            made = request(place.format(honest=HONEST, injected=injected))
            rating = await assessor.rate(made)
            if rating.score != honest.score:
                shifts.append(injected)
            unproven += not verified(rating, made.turns)
        emitted = sum(bool(MARK.search(call.text)) for call in fake.bill.calls)
    assert shifts == []
    assert unproven == 0
    assert emitted == 0
    assert len(rows.rows) == len(INJECTIONS) + 1  # not even a repair was needed


async def test_a_repair_keeps_the_fence_too() -> None:
    async with (
        FakeOpenAI(Options(first_token_s=0.0)).running() as fake,
        asking(fake) as assessor,
    ):
        for injected in INJECTIONS[::5]:
            fake.faults.set([Fault(kind="forged_quote", count=1)])
            assert (await assessor.rate(request(f"{HONEST} {injected}"))).score == 3


@pytest.mark.parametrize("place", PLACES)
def test_the_prompt_has_one_pair_of_tags_for_each_turn(place: str) -> None:
    hint = turn(5, "interviewer", "hint", "Think smaller.", question_id="core-1")
    clean = orders(build_prompt(answer_case(request(asked(), answered(HONEST))), "mark-1").input)
    for injected in INJECTIONS:
        said = place.format(honest=HONEST, injected=injected)
        turns = (asked(), answered(said), hint, answered(injected, 6))
        told = build_prompt(answer_case(request(*turns)), "mark-1").input
        assert len(re.findall(r'<turn n="\d+" speaker="\w+" kind="\w+">', told)) == len(turns)
        assert (told.count("<turn"), told.count("</turn>")) == (len(turns), len(turns))
        for tag in TAGS:
            assert (told.count(f"<{tag}"), told.count(f"</{tag}>")) == (1, 1)
        assert told.count("<") == 2 * (len(turns) + len(TAGS) + 3)
        assert orders(told).splitlines()[:4] == clean.splitlines()[:4]


def test_the_interviewer_finds_no_orders_either() -> None:
    """Answers, and what the plan says of itself, are data there as well."""
    plan = replace(PLAN, competencies=("Ownership",), job_description="Jobs.", resume="Years.")
    spoken = TurnRequest(
        interview_id="i",
        user_id="u",
        plan=plan,
        turn=5,
        kind="probe",
        attempt=1,
        question_id="core-1",
        phase="core",
        turns=(asked(), answered(HONEST)),
    )
    clean = interviewers(spoken)
    for injected in INJECTIONS:
        hostile = replace(
            plan,
            role=injected[:80],
            competencies=(injected,),
            resume=injected,
            job_description=injected,
        )
        said = (asked(), answered(f"{HONEST} {injected}"))
        told = interviewers(replace(spoken, plan=hostile, turns=said))
        for part, honest in ((told.input, clean.input), (told.instructions, clean.instructions)):
            assert orders(part) == orders(honest), injected


@pytest.mark.parametrize("mode", get_args(Mode))
def test_nor_does_it_in_a_prepared_question_that_names_the_role(mode: Mode) -> None:
    plan = replace(PLAN, mode=mode)
    guide = plan_guide("i", plan)
    spoken = TurnRequest(
        interview_id="i",
        user_id="u",
        plan=plan,
        turn=3,
        kind="question",
        attempt=1,
        question_id="core-1",
        phase="core",
        turns=(),
    )

    def told(role: str) -> str:
        text = fill("What draws you to the {role} role?", {"role": cleaned(role)})
        asked = replace(guide, questions=(replace(guide.questions[0], text=text),))
        return interviewers(replace(spoken, guide=asked)).input

    honest = told(plan.role)
    assert "What draws you to the Backend engineer role?" in honest
    for injected in INJECTIONS:
        assert orders(told(injected)) == orders(honest), injected


def test_the_rater_would_obey_if_a_fence_broke() -> None:
    """The tests above can fail: without the fence, it obeys nearly all of them."""
    prompt = build_prompt(answer_case(request(HONEST)), "mark-0123456789abcdef01234567")
    scored = leaked = 0
    for injected in INJECTIONS:
        asks = {"instructions": prompt.instructions, "input": f"{prompt.input}\n{injected}"}
        reply = rate(asks, None)
        scored += '"score": 5' in reply
        leaked += bool(MARK.search(reply))
    print(f"without a fence {scored} of {len(INJECTIONS)} move the score, {leaked} get the mark")  # noqa: T201
    assert scored > 0.9 * len(INJECTIONS)
    assert leaked > 10


def test_it_would_obey_what_closes_the_tags() -> None:
    """Within the data, too, where an answer is not made harmless."""
    prompt = build_prompt(answer_case(request(HONEST)), "mark-1")
    told = [prompt.input.replace(HONEST, f"{HONEST} {injected}") for injected in INJECTIONS]
    assert sum(obeyed(each)[0] == 5 for each in told) > 50
