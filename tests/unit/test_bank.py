"""The question bank: its data, what it refuses, and what it says in whole interviews."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ai.bank.agenda import MIXED, agenda, profile_of
from ai.bank.compose import compose, questions_in
from ai.bank.entries import Bank, Intent, Question
from ai.bank.guides import plan_guide
from ai.bank.loading import BankError, load_bank, read_bank
from ai.bank.roles import families_of, load_families
from ai.bank.survey import warnings
from ai.lacks import read_answer
from ai.speech import TurnRequest
from protocol.commands import AnswerSubmit, Consent, DurableCommand, HintRequest, InterviewStart
from protocol.effects import Keep, Run
from protocol.machine import Finished, Received, transition
from protocol.plan import Plan, Weight
from protocol.probing import REPLIES, Lack, intent_of, prepared
from protocol.scalars import Difficulty, InterviewType, Kind, Level, Mode
from protocol.session import OpenTurn, Session, Turn

TYPES = get_args(InterviewType)
DIFFICULTIES = get_args(Difficulty)
LEVELS = get_args(Level)
NAME = "0190a5c0-0000-7000-8000-00000000000a"
FILES = Path(str(sys.modules["ai.bank.loading"].__file__)).parent / "questions"


def interview(
    plan: Plan, answers: "Answers", name: str = NAME, asked: frozenset[str] = frozenset()
) -> list[Turn]:
    """A whole interview with the bank as interviewer; ``answers`` gives each answer's text."""
    guide = plan_guide(name, plan, asked)
    session = Session(interview_id=name, user_id="u", created_at=1, plan=plan, guide=guide)
    happened: Any = InterviewStart(id="c", consent=Consent(version="1", at=1))
    turns: list[Turn] = []
    for number in range(200):
        lacks = _read(session, happened)
        done = transition(session, Received(command=happened, at=number, lacks=lacks))
        session = done.session
        turns += [effect.turn for effect in done.effects if isinstance(effect, Keep)]
        while any(isinstance(effect, Run) for effect in done.effects):
            opened = session.open
            assert opened is not None
            text = compose(request(session, turns))
            finished = Finished(turn=opened.turn, attempt=1, text=text, at=number, source="bank")
            done = transition(session, finished)
            session = done.session
            turns += [effect.turn for effect in done.effects if isinstance(effect, Keep)]
        if session.over:
            return turns
        happened = answers(session, turns, f"c{number}")
    raise AssertionError("the interview never ends")


def _read(session: Session, command: DurableCommand) -> tuple[Lack, ...] | None:
    if session.open is None or session.guide is None or not isinstance(command, AnswerSubmit):
        return None
    planned = session.guide.question(session.open.question_id or "")
    return read_answer(session.plan, planned, command.text or "")


def request(session: Session, turns: list[Turn]) -> TurnRequest:
    opened = session.open
    assert opened is not None
    return TurnRequest(
        interview_id=session.interview_id,
        user_id="u",
        turn=opened.turn,
        attempt=1,
        kind=opened.kind,
        question_id=opened.question_id,
        intent=opened.intent,
        lacks=session.lacks,
        phase=session.phase,
        plan=session.plan,
        turns=tuple(turns),
        guide=session.guide,
    )


Answers = Callable[[Session, list[Turn], str], DurableCommand]


def saying(text: str) -> Answers:
    def answer(_session: Session, _turns: list[Turn], name: str) -> DurableCommand:
        return AnswerSubmit(id=name, text=text)

    return answer


def test_there_are_questions_for_everybody() -> None:
    bank = load_bank()
    questions = [question for group in bank.questions.values() for question in group]
    assert len(questions) >= 240
    assert len({question.id for question in questions}) == len(questions)
    assert len({question.text for question in questions}) == len(questions)
    assert set(TYPES) - set(bank.questions) == {"mixed"}
    for kind, group in bank.questions.items():
        assert len(group) >= 30, kind
        spread = Counter(question.difficulty for question in group)
        assert all(spread[difficulty] >= 5 for difficulty in DIFFICULTIES), kind
        levels = Counter(level for question in group for level in question.levels or LEVELS)
        assert all(levels[level] >= 15 for level in LEVELS), kind
    families = Counter(role for question in questions for role in question.roles)
    assert families.keys() == load_families().keys()
    assert sum(count >= 10 for count in families.values()) >= 12


def test_the_bank_gives_no_cause_for_warnings() -> None:
    assert warnings(load_bank()) == []


def test_probes_are_after_different_things() -> None:
    intents = Counter(
        probe.intent
        for group in load_bank().questions.values()
        for question in group
        for probe in question.probes
    )
    assert intents.keys() == set(get_args(Intent))


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_no_question_comes_twice(kind: InterviewType, difficulty: Difficulty) -> None:
    for minutes in (15, 30, 60):
        plan = Plan(type=kind, role="Nurse", difficulty=difficulty, duration_minutes=minutes)
        for name in (NAME, NAME.replace("a", "b")):
            turns = interview(plan, saying("I measured it and it got better."), name)
            said = [turn.text for turn in turns if turn.speaker == "interviewer"]
            asked = [turn.text for turn in turns if turn.kind == "question"]
            assert len(asked) == len(plan_guide(name, plan).questions) + 2
            assert len(set(said)) == len(said)
            assert all(text.strip() == text and "{" not in text for text in said)


@pytest.mark.parametrize("kind", TYPES)
def test_no_insult_is_said_back(kind: InterviewType) -> None:
    for number in range(6):
        name = NAME.replace("a", str(number))
        plan = Plan(type=kind, role="Baker", duration_minutes=30)
        rude = "What a stupid question, I decided that we and the customers call it nonsense."
        turns = interview(plan, saying(rude), name)
        said = " ".join(turn.text for turn in turns if turn.speaker == "interviewer")
        assert "stupid" not in said
        assert "nonsense" not in said
        civil = interview(plan, saying("What a good question, I decided that with care."), name)
        assert len(civil) == len(turns)


def test_nobody_is_thanked_for_thoughts_that_were_not_told() -> None:
    thanked = {"I don't know.": 0, "I measured it and it got better.": 0}
    for answer in thanked:
        for number in range(10):
            plan = Plan(type="behavioral", role="Baker", duration_minutes=15)
            closing = interview(plan, saying(answer), f"{NAME}{number}")[-1]
            assert closing.kind == "closing"
            thanked[answer] += "thoughts on" in closing.text or "go about" in closing.text
    assert thanked["I don't know."] == 0
    assert thanked["I measured it and it got better."] > 0


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("minutes", [15, 20, 30, 45, 60])
def test_a_guide_fits_its_time(kind: InterviewType, minutes: int) -> None:
    """By what its questions take, with a fifth for the warm-up and the candidate's own."""
    full = Counter[bool]()
    for role in ("Product manager", "Backend engineer", "Nurse"):
        for mode, difficulty in product(get_args(Mode), DIFFICULTIES):
            plan = Plan(
                type=kind, role=role, mode=mode, difficulty=difficulty, duration_minutes=minutes
            )
            questions = plan_guide(NAME, plan).questions
            assert 1 <= len(questions) <= plan.main_questions
            left = 4 * minutes // 5 - sum(question.minutes for question in questions)
            assert left >= 0
            shortest = min(question.minutes for question in _of_its_type(plan))
            full[len(questions) == plan.main_questions or left < shortest] += 1
            assert {question.bank_id for question in questions} <= {
                question.id for question in _of_its_type(plan)
            }
    assert not full[False]


@pytest.mark.parametrize("kind", sorted(set(TYPES) - {"mixed"}))
def test_a_competency_that_the_plan_names_is_looked_at_first(kind: InterviewType) -> None:
    for name in {question.competency for question in load_bank().questions[kind]}:
        for role in ("Backend engineer", "Nurse"):
            plan = Plan(type=kind, role=role, competencies=(name,), duration_minutes=45)
            guide = plan_guide(NAME, plan)
            assert guide.questions[0].competency == name
            assert guide.missed == ()
            weighing = replace(plan, competencies=(), weights=(Weight(competency=name, weight=2),))
            assert plan_guide(NAME, weighing).questions[0].competency == name


def test_competencies_are_looked_at_in_their_order_and_what_is_missed_is_told() -> None:
    names = ("Leadership skills", "C++", "prioritization", "Focus group", "technical judgement")
    plan = Plan(type="behavioral", role="Nurse", competencies=names, duration_minutes=30)
    guide = plan_guide(NAME, plan)
    told = [question.competency for question in guide.questions]
    assert told[:3] == ["leadership", "prioritisation", "technical judgement"]
    assert len(told) == 4
    assert guide.missed == ("C++", "Focus group")
    short = plan_guide(NAME, replace(plan, duration_minutes=15))
    assert [question.competency for question in short.questions] == told[:2]
    assert short.missed == ("C++", "Focus group", "technical judgement")


def test_communication_is_looked_at_in_any_interview() -> None:
    for kind in TYPES:
        plan = Plan(type=kind, role="Nurse", competencies=("Communication",), duration_minutes=15)
        assert plan_guide(NAME, plan).missed == ()


def test_what_is_known_comes_again_for_a_competency_that_has_nothing_new() -> None:
    databases = {q.id for q in load_bank().questions["technical"] if q.competency == "databases"}
    plan = Plan(type="technical", role="Backend engineer", competencies=("databases",))
    first, asked = plan_guide(NAME, plan).questions[0].bank_id, frozenset[str]()
    for _ in databases:
        assert first in databases - asked
        asked |= {first}
        first = plan_guide(NAME, plan, asked).questions[0].bank_id
    assert first in databases
    plan = Plan(type="behavioral", role="Backend engineer", competencies=("judgement",))
    known = {q.id for q in load_bank().questions["behavioral"] if q.competency == "judgement"}
    assert plan_guide(NAME, plan).questions[0].bank_id in known
    near = plan_guide(NAME, plan, frozenset(known)).questions[0]
    assert near.competency == "technical judgement"


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_the_difficulty_is_kept_as_far_as_the_bank_goes(difficulty: Difficulty) -> None:
    known = {
        question.id: question for group in load_bank().questions.values() for question in group
    }
    for kind, role in product(TYPES, ("Software engineer", "Data engineer", "Frontend developer")):
        plan = Plan(type=kind, role=role, difficulty=difficulty)
        asked = {
            known[question.bank_id].difficulty for question in plan_guide(NAME, plan).questions
        }
        assert {difficulty, *asked} != {"easy", "hard"}
        assert difficulty in asked


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_a_question_gives_way_to_none_that_fits_the_plan_less(difficulty: Difficulty) -> None:
    known = {
        question.id: question for group in load_bank().questions.values() for question in group
    }
    for kind, role in product(set(TYPES) - {"mixed"}, ("Data engineer", "Sales lead", "Nurse")):
        plan = Plan(type=kind, role=role, difficulty=difficulty, duration_minutes=60)
        distance, left = profile_of(plan).distance, _of_its_type(plan)
        room = plan.question_minutes
        for planned in plan_guide(NAME, plan).questions:
            question = known[planned.bank_id]
            assert distance(question) == min(distance(q) for q in left if q.minutes <= room)
            left.remove(question)
            room -= question.minutes


def _of_its_type(plan: Plan) -> list[Question]:
    kinds = MIXED if plan.type == "mixed" else (plan.type,)
    return [question for kind in kinds for question in load_bank().questions[kind]]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("minutes", [15, 30, 45])
def test_an_interview_looks_at_several_competencies(kind: InterviewType, minutes: int) -> None:
    for role in ("Product manager", "Backend engineer", "Nurse"):
        for mode in get_args(Mode):
            plan = Plan(type=kind, role=role, mode=mode, duration_minutes=minutes)
            questions = plan_guide(NAME, plan).questions
            names = [question.competency.casefold() for question in questions]
            assert len(set(names)) >= min(3, len(names))


def test_another_competency_does_not_come_before_another_type_or_what_is_new() -> None:
    plan = Plan(type="mixed", role="Engineer", duration_minutes=30)
    kinds = {q.id: kind for kind, group in load_bank().questions.items() for q in group}
    asked: set[str] = set()
    for number in range(8):
        ids = [q.bank_id for q in plan_guide(f"{NAME}{number}", plan, frozenset(asked)).questions]
        assert [kinds[name] for name in ids] == list(MIXED)[: len(ids)]
        assert asked.isdisjoint(ids)
        asked.update(ids)


def test_a_turn_is_the_same_wherever_it_is_spoken() -> None:
    script = (
        "from tests.unit.test_bank import *;"
        "print([t.text for t in interview(Plan(type='mixed', role='Cook'), saying('We cooked.'))])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            cwd=Path(__file__).parents[2],
        ).stdout
        for seed in ("0", "1")
    }
    assert len(said) == 1
    assert b"cooked" in next(iter(said))


def test_a_probe_follows_from_the_answer() -> None:
    plan = Plan(type="technical", role="Engineer")
    answers = ("We put a cache in front of the database.", "I don't know.", "")
    probes = [
        next(t.text for t in interview(plan, saying(answer)) if t.kind == "probe")
        for answer in answers
    ]
    assert probes[0] not in probes[1:]
    quoted = interview(plan, saying("Somebody painted the harbour wall bright orange."))
    assert any("harbour" in turn.text for turn in quoted if turn.kind == "probe")


@pytest.mark.parametrize(
    ("text", "none"),
    [
        ("No, thanks.", True),
        ("I don't know.", True),
        ("Pass.", True),
        ("Please tell me what comes next", False),
    ],
)
def test_who_has_nothing_to_ask_hears_that_this_is_fine(text: str, *, none: bool) -> None:
    turns = interview(Plan(type="technical", role="Engineer", duration_minutes=15), saying(text))
    assert (turns[-2].kind, turns[-2].text in load_bank().phrases.replies.none) == ("reply", none)


@pytest.mark.parametrize("mode", get_args(Mode))
def test_a_word_or_two_are_not_said_back(mode: Mode) -> None:
    quoted = Counter[str]()
    for kind, said in product(TYPES, ("Yes", "It depends", "We depend on Kafka", "分かりました")):
        plan = Plan(type=kind, role="Backend engineer", mode=mode, duration_minutes=45)
        for number in range(2):
            turns = interview(plan, saying(f"{said}."), f"{NAME}{number}")
            quoted[said] += sum(f"“{said}”" in turn.text for turn in turns if turn.kind == "probe")
    assert quoted["Yes"] == quoted["It depends"] == 0
    assert quoted["We depend on Kafka"]
    assert quoted["分かりました"]  # it has no spaces


def test_hints_come_in_order_and_end() -> None:
    plan = Plan(type="behavioral", role="Engineer")

    def asks(session: Session, _turns: list[Turn], name: str) -> DurableCommand:
        if session.hints < 2:
            return HintRequest(id=name)
        return AnswerSubmit(id=name, text="I asked them.")

    hints = [turn.text for turn in interview(plan, asks) if turn.kind == "hint"]
    assert len(hints) >= 4
    assert len(set(hints)) == len(hints)


@settings(max_examples=30, deadline=None)
@given(answer=st.text(max_size=300), role=st.text(min_size=1, max_size=40))
def test_whatever_is_answered_is_only_ever_quoted(answer: str, role: str) -> None:
    def fit(text: str) -> str:
        return text.encode("utf-8", "ignore").decode().replace("\0", "")

    plan = Plan(type="mixed", role=fit(role) or "r", duration_minutes=15)
    for turn in interview(plan, saying(fit(answer))):
        if turn.speaker == "interviewer":
            assert "\0" not in turn.text
            assert not any(ord(char) < 32 for char in turn.text)
            assert len(turn.text) < 1_500


@pytest.mark.parametrize(
    "answer",
    ["{role} {echo} {0}", "%s %(x)s", "\u202e" * 40, "日本語" * 90, "\n" * 5_000 + "I built it."],
)
def test_hostile_answers_change_nothing(answer: str) -> None:
    turns = interview(Plan(type="technical", role="{echo}", duration_minutes=15), saying(answer))
    assert turns[-1].kind == "closing"


def copied(folder: Path) -> Path:
    for file in FILES.glob("*.toml"):
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ('type = "technical"', 'kind = "technical"', 1, "kind"),
        ('difficulty = "easy"', 'difficulty = "trivial"', 5, "difficulty"),
        ("hints = [", "hint = [", 14, "hint"),
        ("the cause?", "the {nonsense} cause?", 7, "nonsense"),
        ('competency = "debugging"', 'competency = "debugging"\nroles = ["cook"]', 7, "'cook'"),
        ('competency = "debugging"', 'competency = "x"\nroles = ["qa", "qa"]', 7, "twice"),
        ('competency = "debugging"', 'competency = "x"\nlevels = ["boss"]', 7, "boss"),
        ('competency = "debugging"', 'competency = "x"\nminutes = 21', 7, "minutes"),
        ('competency = "debugging"', 'competency = "Communication"', 6, "apart"),
        ("what do you do next?", "what next? * ", 10, "text"),
        ("what do you do next?", "what do *you* do?", 10, "spoken"),
        ('"debugger"', '"de*bugger"', 10, "last character"),
        ('1 = "Tries', '2 = "Tries', 19, "`2`"),
        ('1 = "Tries', "1 = Tries", 19, "line 19"),
        ('type = "technical"', 'type = "mixed"', 1, "mixed"),
        ('type = "technical"', 'type = "chess"', 1, "chess"),
    ],
)
def test_a_bad_file_is_refused_by_name_and_line(
    tmp_path: Path, old: str, new: str, line: int, told: str
) -> None:
    broken = copied(tmp_path) / "technical_easy.toml"
    text = broken.read_text(encoding="utf-8")
    assert old in text
    broken.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(BankError) as caught:
        read_bank(tmp_path)
    assert str(caught.value).startswith(f"technical_easy.toml:{line}: ")
    assert told in str(caught.value)


def test_every_fault_of_a_folder_is_told(tmp_path: Path) -> None:
    copied(tmp_path)
    for name in ("coding.toml", "phrases.toml", "case.toml"):
        file = tmp_path / name
        file.write_text(file.read_text(encoding="utf-8").replace("?", "? #", 2), encoding="utf-8")
    (tmp_path / "screening.toml").write_bytes(b'type = "screening"\n\xff')
    with pytest.raises(BankError) as caught:
        read_bank(tmp_path)
    assert {fault.file for fault in caught.value.faults} == {
        "case.toml",
        "coding.toml",
        "phrases.toml",
        "screening.toml",
    }


def test_a_lead_that_is_to_quote_has_a_place_for_it(tmp_path: Path) -> None:
    file = copied(tmp_path) / "phrases.toml"
    text = file.read_text(encoding="utf-8")
    lead = load_bank().phrases.onward_echo[0]
    file.write_text(text.replace(lead, lead.replace("{echo}", "that")), encoding="utf-8")
    line = text[: text.index(lead)].count("\n") + 1
    with pytest.raises(BankError, match=rf"phrases.toml:{line}: onward_echo: lacks {{echo}}"):
        read_bank(tmp_path)


def test_an_id_is_used_once(tmp_path: Path) -> None:
    twin = (copied(tmp_path) / "technical_easy.toml").read_text(encoding="utf-8")
    (tmp_path / "technical_easy2.toml").write_text(twin, encoding="utf-8")
    with pytest.raises(BankError, match=r"technical_easy2.toml:4: .*technical-debugging-routine"):
        read_bank(tmp_path)


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BankError, match=r"phrases.toml:1: cannot be read"):
        read_bank(tmp_path)
    with pytest.raises(BankError, match="nowhere:1: "):
        read_bank(tmp_path / "nowhere")
    copied(tmp_path)
    (tmp_path / "case.toml").unlink()
    for file in tmp_path.glob("case_*.toml"):
        file.unlink()
    with pytest.raises(BankError, match="'case'"):
        read_bank(tmp_path)


@pytest.mark.parametrize(
    ("role", "families"),
    [
        ("Senior Backend Engineer", {"backend"}),
        ("Full-stack developer", {"backend", "frontend"}),
        ("Product Designer", {"design"}),
        ("Product manager, payments", {"product"}),
        ("Engineering Manager", {"engineering_manager"}),
        ("Data  Scientist", {"machine_learning"}),
        ("Data engineer", {"data"}),
        ("ML Engineer (NLP)", {"machine_learning"}),
        ("iOS developer", {"mobile"}),
        ("Site Reliability Engineer", {"devops"}),
        ("DevSecOps", {"devops", "security"}),
        ("QA / test automation engineer", {"qa"}),
        ("Account executive", {"sales"}),
        ("Customer support specialist", {"support"}),
        ("Accountant", {"finance"}),
        ("Nurse", set[str]()),
        ("Curious", set[str]()),
    ],
)
def test_a_role_is_recognised(role: str, families: set[str]) -> None:
    assert families_of(role) == families


def made(name: str, **fields: Any) -> Question:
    plain: dict[str, Any] = {"roles": (), "levels": ()}
    return replace(load_bank().questions["coding"][0], id=name, **{**plain, **fields})


def test_the_agenda_goes_by_difficulty_then_role_then_level() -> None:
    easy, medium, hard = DIFFICULTIES
    coding = (
        made("foreign", difficulty=medium, roles=("mobile",)),
        made("any-hard", difficulty=hard),
        made("own-staff", difficulty=medium, roles=("backend",), levels=("staff",)),
        made("own-mid", difficulty=medium, roles=("qa", "backend"), levels=("mid",)),
        made("own-easy", difficulty=easy, roles=("backend",)),
        made("any-medium", difficulty=medium),
    )
    bank = Bank({"coding": coding, "case": (made("case", difficulty=medium),)}, load_bank().phrases)
    plan = Plan(type="coding", role="Backend engineer")

    def order(asked: frozenset[str] = frozenset()) -> list[str]:
        return [question.id for question in agenda(bank, NAME, plan, asked)]

    assert order() == [
        "own-mid",
        "own-staff",
        "any-medium",
        "own-easy",
        "any-hard",
        "foreign",
        "case",
    ]
    assert order(frozenset({"own-mid", "case", "no-such"})) == [
        "own-staff",
        "any-medium",
        "own-easy",
        "any-hard",
        "foreign",
        "own-mid",
        "case",
    ]


@pytest.mark.parametrize("kind", TYPES)
def test_nobody_is_asked_the_same_again_while_others_are_left(kind: InterviewType) -> None:
    plan = Plan(type=kind, role="Backend engineer", duration_minutes=30)
    asked: frozenset[str] = frozenset()
    for number in range(5):
        turns = interview(plan, saying("We did it."), f"{NAME}{number}", asked)
        heard = questions_in(turns, plan.role)
        assert heard == {q.bank_id for q in plan_guide(f"{NAME}{number}", plan, asked).questions}
        assert asked.isdisjoint(heard)
        asked |= heard


@pytest.mark.parametrize("kind", TYPES)
def test_an_assessment_asks_everybody_the_same_whatever_they_were_asked_before(
    kind: InterviewType,
) -> None:
    for role in ("Engineer", "Backend engineer", "Sales manager"):
        plan = Plan(type=kind, role=role, mode="assessment", duration_minutes=60)
        guide = plan_guide(NAME, plan)
        for question in guide.questions:
            assert plan_guide("another", plan, frozenset({question.bank_id})) == guide


def test_who_knows_all_of_a_type_is_asked_of_it_again() -> None:
    new, *known = (question.id for question in load_bank().questions["coding"])
    plan = Plan(type="coding", role="Backend engineer")
    first, *others = plan_guide(NAME, plan, frozenset(known)).questions
    assert first.bank_id == new
    assert others
    assert {question.bank_id for question in others} < set(known)
    tired = frozenset(question.id for question in load_bank().questions["situational"])
    mixed = plan_guide(
        NAME, Plan(type="mixed", role="Backend engineer", duration_minutes=60), tired
    )
    assert tired.isdisjoint(question.bank_id for question in mixed.questions)


TELLING: dict[InterviewType, str] = {
    "behavioral": "Last year I had to mend a queue. I wrote a test, I replaced a part, I measured.",
    "technical": "Queues are fine, and calls are fine, and the team uses both, as it is usual.",
}
"""Answers without a result, and without a reason."""


@pytest.mark.parametrize("mode", get_args(Mode))
@pytest.mark.parametrize("kind", TELLING)
def test_the_bank_speaks_a_probe_of_the_kind_that_was_chosen(
    mode: Mode, kind: InterviewType
) -> None:
    """What the machine chose by the answer is what the bank finds in the turns."""
    plan = Plan(type=kind, role="Backend engineer", mode=mode, duration_minutes=60)
    known = {question.id: question for question in load_bank().questions[kind]}
    guide, spoken, certain = plan_guide(NAME, plan), probes_asked(plan, TELLING[kind]), 0
    assert len(spoken) == len(guide.questions)
    for planned, said in zip(guide.questions, spoken, strict=True):
        lacks = read_answer(plan, planned, TELLING[kind])
        chosen = prepared(planned, intent_of(lacks, mode))
        own = known[planned.bank_id].probes
        matched = {probe.intent for probe in own if _is_from(probe.text, said)}
        if any(probe.intent == chosen[0] and not probe.cues for probe in own):
            certain += 1
            assert matched == {chosen[0]}
        if mode == "assessment":
            assert matched <= set(chosen)
    assert certain


def _is_from(template: str, said: str) -> bool:
    first, echo, last = template.partition("{echo}")
    return said.startswith(first) and said.endswith(last) if echo else said == template


def probes_asked(plan: Plan, text: str) -> list[str]:
    return [turn.text for turn in interview(plan, saying(text)) if turn.kind == "probe"]


@pytest.mark.parametrize(
    ("text", "section"),
    [
        ("I don't know.", "blank_probes"),
        ("This is a stupid question, you idiot.", "rude_probes"),
        (
            "Pizza at the lake is lovely, and the dog and all of us swam, and then we ate pizza "
            * 2,
            "astray_probes",
        ),
    ],
)
def test_who_does_not_answer_is_brought_back_to_the_question_once(text: str, section: str) -> None:
    plan = Plan(type="technical", role="Backend engineer", mode="assessment")
    guide, turns = plan_guide(NAME, plan), interview(plan, saying(text))
    leads = getattr(load_bank().phrases, section)
    probes = [turn for turn in turns if turn.kind == "probe"]
    assert len(probes) == len(guide.questions)
    for planned, probe in zip(guide.questions, probes, strict=True):
        assert any(probe.text.startswith(lead) for lead in leads), probe.text
        assert (planned.text in probe.text) == (section != "blank_probes")
    blank = load_bank().phrases.onward_blank
    onward = [
        turn.text for turn in turns if turn.kind == "question" and turn.question_id != "core-1"
    ]
    assert all(any(lead in text for lead in blank) for text in onward[1:-1])


ASKED_BACK = {
    "hearing_replies": "Sorry, could you say that again?",
    "meaning_replies": "Do you mean my own part or that of the team?",
}


def puzzled(text: str) -> Answers:
    """Asks back twice whatever is asked, and then answers."""

    def answer(session: Session, _turns: list[Turn], name: str) -> DurableCommand:
        puzzles = session.replies < 2
        return AnswerSubmit(id=name, text=text if puzzles else "I asked them, as usual.")

    return answer


@pytest.mark.parametrize("section", ASKED_BACK)
@pytest.mark.parametrize("mode", get_args(Mode))
def test_who_asks_back_hears_the_question_again_each_time_in_other_words(
    section: str, mode: Mode
) -> None:
    plan = Plan(type="behavioral", role="Löwenbändiger {echo}", mode=mode)
    turns = interview(plan, puzzled(ASKED_BACK[section]))
    leads, guide = getattr(load_bank().phrases, section), plan_guide(NAME, plan)
    for planned in guide.questions:
        again = [t for t in turns if (t.kind, t.question_id) == ("reply", planned.question_id)]
        assert [t.text.endswith(f" {planned.text}") for t in again] == [True, True]
        assert len({t.text for t in again}) == 2
        assert all(any(t.text.startswith(lead) for lead in leads) for t in again)
    warmup, *again = (t for t in turns if t.question_id == "warmup" and t.speaker == "interviewer")
    assert [t.text.endswith(f" {warmup.text}") for t in again] == [True, True]
    assert sum(turn.kind == "probe" for turn in turns) == len(guide.questions)


def test_a_follow_up_that_was_not_heard_is_said_again() -> None:
    plan = Plan(type="technical", role="Engineer")

    def answer(_session: Session, turns: list[Turn], name: str) -> DurableCommand:
        unheard = turns[-1].kind == "probe"
        return AnswerSubmit(id=name, text="Pardon?" if unheard else "We put a cache before it.")

    turns = interview(plan, answer)
    probes = [place for place, turn in enumerate(turns) if turn.kind == "probe"]
    assert len(probes) == plan.main_questions
    for place in probes:
        assert turns[place + 2].kind == "reply"
        assert turns[place + 2].text.endswith(f" {turns[place].text}")


def test_nobody_is_thanked_for_what_they_asked_back() -> None:
    plan = Plan(type="behavioral", role="Baker", duration_minutes=15)
    for number in range(10):
        closing = interview(plan, saying("What do you mean?"), f"{NAME}{number}")[-1]
        assert "thoughts on" not in closing.text
        assert "go about" not in closing.text


def test_nobody_is_promised_a_repetition_that_will_not_come() -> None:
    plan = Plan(type="behavioral", role="Baker", duration_minutes=15)
    turns = interview(plan, saying("Sorry, could you repeat the question?"))
    replies = [t for t in turns if (t.kind, t.question_id) == ("reply", "candidate-questions")]
    leads = load_bank().phrases.hearing_replies
    put_again = [any(turn.text.startswith(lead) for lead in leads) for turn in replies]
    assert put_again == [True] * REPLIES + [False]


def next_said(plan: Plan, turns: list[Turn], kind: Kind) -> str:
    """What the bank says to the first main question next."""
    opened = OpenTurn(
        turn=len(turns) + 1,
        speaker="interviewer",
        kind=kind,
        question_id="core-1",
        started_at=1,
    )
    guide = plan_guide(NAME, plan)
    session = Session(
        interview_id=NAME, user_id="u", created_at=1, plan=plan, guide=guide, open=opened
    )
    return compose(request(session, turns))


def told_on(turns: list[Turn], *more: tuple[Kind, str]) -> list[Turn]:
    """``turns`` and more of them on the first main question."""
    told = list(turns)
    for kind, text in more:
        told.append(
            replace(
                turns[-1],
                turn=len(told) + 1,
                kind=kind,
                speaker="candidate" if kind == "answer" else "interviewer",
                text=text,
                outcome="final",
            )
        )
    return told


def test_what_was_said_before_a_hint_stays_though_the_hint_is_not_understood() -> None:
    plan = Plan(type="technical", role="Engineer", duration_minutes=15)
    said = "We painted the harbour wall with a queue."
    asked = interview(plan, saying(said))[:3]
    hinted = told_on(asked, ("answer", said), ("hint", "Think of lions."))
    puzzled = told_on(hinted, ("answer", "What do you mean?"), ("reply", "Of course."))
    quoted = next_said(plan, told_on(puzzled, ("answer", "")), "probe")
    assert "harbour" in quoted
    assert "mean" not in quoted


def test_a_question_that_was_cut_is_put_again_whole() -> None:
    plan = Plan(type="technical", role="Engineer", duration_minutes=15)
    asked = interview(plan, saying("I like it."))[:3]
    planned = plan_guide(NAME, plan).questions[0].text
    for heard in (asked[-1].text[:9], "", "Well then, tell me"):
        cut = replace(asked[-1], text=heard, outcome="interrupted")
        unheard = told_on([*asked[:-1], cut], ("answer", "Pardon?"))
        assert next_said(plan, unheard, "reply").endswith(planned)
        again = told_on(unheard, ("reply", planned), ("answer", "I don't know."))
        assert "cut short" not in next_said(plan, again, "probe")


def test_who_talks_for_very_long_is_asked_for_the_heart_of_it() -> None:
    plan = Plan(type="technical", role="Backend engineer")
    text = "I would use a queue, because the second service is slower, if it is down we wait. " * 40
    leads = load_bank().phrases.long_probes
    probes = probes_asked(plan, text)
    assert probes
    assert all(any(probe.startswith(lead) for lead in leads) for probe in probes)
