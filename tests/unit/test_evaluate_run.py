"""What `viva evaluate` makes of recordings, whom it interviews, and how it is told what to do."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from msgspec.structs import replace

from ai.bank.guides import plan_guide
from ai.prompts import build_prompt
from loadtest.commands.evaluate import run
from loadtest.evaluate.author import Scripted, Written, sayings
from loadtest.evaluate.bookings import TYPES, Selection, book
from loadtest.evaluate.judge import Verdict, judge
from loadtest.evaluate.page import page
from loadtest.evaluate.personas import PERSONAS
from loadtest.evaluate.purse import Purse
from loadtest.evaluate.recording import Recording
from loadtest.fakeopenai import FakeOpenAI, Options
from loadtest.fakeopenai.interviewer import speak
from protocol.guide import Intent
from protocol.plan import Plan
from protocol.scalars import Kind
from server import cli
from tests.support.recordings import good
from tests.support.speeches import REQUEST, turn

LEADING = "Don't you think that a cache is better?"


def recordings() -> list[Recording]:
    return [
        good(mode="assessment", persona=name, score=score, private=f"{name} Quillfeather")
        for name, score in (("strong", 5), ("middling", 3), ("weak", 1))
    ]


def told(recording: Recording, text: str) -> Recording:
    """Let the first follow-up be `text`."""
    place = next(n for n, t in enumerate(recording.turns) if t.kind == "probe")
    recording.turns[place] = replace(recording.turns[place], text=text)
    return recording


def own(recorded: list[Recording]) -> list[Recording]:
    for place, recording in enumerate(recorded):
        recording.interview = {**recording.interview, "id": f"i{place}"}
        assert recording.report is not None
        recording.report = replace(
            recording.report, interview_id=f"i{place}", report_id=f"r{place}"
        )
        recording.seen = [
            seen if type(seen.message).__name__ != "ReportReady"
            else replace(seen, message=replace(seen.message, report_id=f"r{place}"))  # type: ignore[type-var]
            for seen in recording.seen
        ]  # fmt: skip
    return recorded


def by_name(verdict: Verdict, name: str) -> Any:
    return next(result for result in verdict.results if result.name == name)


# --- the verdict ----------------------------------------------------------------------------------


def test_what_is_good_passes() -> None:
    verdict = judge(own(recordings()))
    assert [(r.name, r.failures) for r in verdict.results if r.failures] == []
    assert verdict.ok
    assert [one.scores for one in verdict.interviews] == [(5, 5), (3, 3), (1, 1)]


def test_without_interviews_nothing_is_good() -> None:
    assert not judge([]).ok


def test_one_failure_of_what_must_be_fails_the_run() -> None:
    verdict = judge([*own(recordings())[1:], told(good(), LEADING)])
    result = by_name(verdict, "no-leading-question")
    assert (result.ok, result.passed, len(result.failures)) == (False, 2, 1)
    assert "no-leading-question" in verdict.interviews[-1].failed
    assert not verdict.ok


def test_what_should_be_is_held_to_its_share() -> None:
    long = "And so on it went with them. " * 30
    runs = [good(), good(), good(), told(good(), long)]
    assert by_name(judge(runs, least=0.75), "short-enough").ok
    assert not by_name(judge(runs, least=0.8), "short-enough").ok


def test_what_nobody_could_show_is_counted_apart() -> None:
    verdict = judge([good()])
    nothing = by_name(verdict, "unclear-speech-told")
    assert (nothing.looked_at, nothing.ok) == (0, True)


# --- the page -------------------------------------------------------------------------------------


def test_the_page_stands_alone_and_tells_all() -> None:
    runs = [
        *own(recordings())[1:],
        told(good(), "<script>alert(1)</script> Isn't it so, surely you?"),
    ]
    runs[-1].name = "<b>strong</b>"
    verdict = judge(runs)
    shown = page(verdict)
    assert not re.search(r"<script|<b>|\bsrc=|https?://|<link", shown)
    assert "&lt;b&gt;strong&lt;/b&gt;" in shown
    for result in verdict.results:
        assert f"<td>{result.name}</td>" in shown
    assert "prefers-color-scheme: dark" in shown
    assert shown.count("<svg") == 2
    assert "checks fail" in shown
    assert "Every check is met" in page(judge(own(recordings())))


def test_figures_survive_json() -> None:
    verdict = judge(recordings())
    assert msgspec.json.decode(msgspec.json.encode(verdict), type=Verdict) == verdict


def test_a_recording_survives_json() -> None:
    recording = good(hint=True, drop=True)
    again = msgspec.json.decode(msgspec.json.encode(recording), type=Recording)
    assert again == recording


# --- who is interviewed ---------------------------------------------------------------------------


def test_the_whole_has_each_type_and_each_persona_in_both_modes() -> None:
    for source in ("offline", "fake"):
        first, second = book(Selection(), source)
        having = {(b.type, b.mode) for b in first}
        assert having == {(kind, mode) for kind in TYPES for mode in ("practice", "assessment")}
        kinds = {(b.persona, b.mode) for b in first}
        assert kinds == {(name, mode) for name in PERSONAS for mode in ("practice", "assessment")}
        names = [b.name for b in (*first, *second)]
        assert len(names) == len(set(names))
        users = {b.user for b in first}
        assert {b.user for b in second} <= users


@pytest.mark.anyio
async def test_the_same_persona_says_the_same_to_the_same_question() -> None:
    author, other = Scripted(1), Scripted(2)
    for persona in PERSONAS.values():
        said = [await author.answer(persona, "Why?", f"core-{n}/0", "coding") for n in (1, 2, 1)]
        assert said[0] == said[2]
    strong = PERSONAS["strong"]
    ours, theirs = [await a.answer(strong, "", "core-1/0", "case") for a in (author, other)]
    assert ours != theirs
    injecting = await author.answer(PERSONAS["injecting"], "", "core-1/0", "case")
    assert any(order in injecting for order in sayings().injections)


@pytest.mark.anyio
async def test_a_model_that_plays_a_candidate_is_asked_once_a_question() -> None:
    options = Options(tokens_per_second=0, first_token_s=0)
    async with FakeOpenAI(options).running() as fake, aiohttp.ClientSession() as http:
        author = Written(http, base_url=fake.url, key="k", model="m")
        strong = PERSONAS["strong"]
        question = f"{'Tell it from its beginning to its end. ' * 3}What is a queue?"
        said = [
            await author.answer(strong, f"{lead} {question}", "core-1/0", "technical")
            for lead in ("Thank you.", "All right.")
        ]
        assert said[0] == said[1] != ""
        assert len(fake.bill.calls) == 1
        silent = await author.answer(PERSONAS["silent"], question, "core-1/0", "technical")
        assert silent in sayings().silent
        injecting = await author.answer(PERSONAS["injecting"], question, "core-1/0", "technical")
        assert any(order in injecting for order in sayings().injections)
        assert len(fake.bill.calls) == 2


@pytest.mark.anyio
async def test_money_is_held_before_an_interview_begins() -> None:
    purse = Purse(0.25, 0.10)
    assert await purse.hold()
    assert await purse.hold()
    waiting = asyncio.ensure_future(purse.hold())
    await asyncio.sleep(0)
    assert not waiting.done()  # two may still cost all of it
    await purse.settle(0.02)
    assert await waiting
    await purse.settle(0.10)
    await purse.settle(0.10)
    assert not await purse.hold()
    assert purse.spent_usd == pytest.approx(0.22)


# --- the scripted interviewer ---------------------------------------------------------------------


def asked(
    kind: Kind,
    question_id: str | None,
    *,
    mode: Any = "assessment",
    answer: str = "",
    intent: Intent | None = None,
) -> str:
    """What the scripted interviewer says to the prompt that viva makes."""
    plan = Plan(type="behavioral", role="Engineer", mode=mode, duration_minutes=15)
    guide = plan_guide("i", plan)
    said = answer or "I asked both teams first."
    turns = (
        turn(1, "interviewer", "question", guide.questions[0].text, question_id="core-1"),
        turn(2, "candidate", "answer", said, question_id="core-1"),
    )
    request = replace(
        REQUEST,
        plan=plan,
        guide=guide,
        kind=kind,
        question_id=question_id,
        turns=turns,
        turn=3,
        intent=intent,
    )
    prompt = build_prompt(request)
    return speak({"instructions": prompt.instructions, "input": prompt.input}, 1)


@pytest.mark.parametrize("mode", ["assessment", "practice"])
def test_the_scripted_interviewer_asks_what_was_prepared(mode: Any) -> None:
    plan = Plan(type="behavioral", role="Engineer", mode=mode, duration_minutes=15)
    for question in plan_guide("i", plan).questions:
        assert asked("question", question.question_id, mode=mode).endswith(question.text)


def test_the_scripted_interviewer_does_each_task() -> None:
    assert "?" in asked("question", "warmup")
    assert asked("question", "candidate-questions").endswith("about the team?")
    assert "recruiter" in asked("reply", "candidate-questions")
    plan = Plan(type="behavioral", role="Engineer", mode="practice", duration_minutes=15)
    question = plan_guide("i", plan).questions[0].text
    assert asked("reply", "core-1", mode="practice", intent="clarify").endswith(question)
    assert "Goodbye" in asked("closing", None)
    assert "smallest case" in asked("hint", "core-1", mode="practice")
    plan = Plan(type="behavioral", role="Engineer", mode="assessment", duration_minutes=15)
    probes = [probe.text for probe in plan_guide("i", plan).questions[0].probes]
    assert asked("probe", "core-1").replace("I asked both teams first", "{echo}") in probes
    rude = asked("probe", "core-1", answer="What a stupid and useless question that is.")
    assert "stupid" not in rude


# --- the command ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--kinds", "strong,bored"], "bored"),
        (["--types", "chess"], "chess"),
        (["--modes", "exam"], "exam"),
        (["--source", "model"], "OPENAI_API_KEY"),
        (["--url", "http://127.0.0.1:1"], "VIVA_JWT_SECRET"),
        (["--html", "none/x.html"], "none/x.html cannot be written"),
        (["--json", "."], ". cannot be written"),
        (["--keep", f"{__file__}/kept"], "kept cannot be a directory"),
    ],
)
def test_what_cannot_be_run_is_said(
    argv: list[str],
    named: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def had(*_: Any) -> tuple[Verdict, list[Recording]]:
        pytest.fail("it was run")

    monkeypatch.setattr("loadtest.commands.evaluate._run", had)
    for name in ("OPENAI_API_KEY", "VIVA_JWT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    assert run(cli.parser().parse_args(["evaluate", *argv])) == 2
    assert named in capsys.readouterr().err


def test_a_run_is_written_down_and_ends_by_its_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [good(), told(good(mode="assessment"), LEADING)]

    async def had(*_: Any) -> tuple[Verdict, list[Recording]]:
        return judge(runs), runs

    monkeypatch.setattr("loadtest.commands.evaluate._run", had)
    out = {name: tmp_path / name for name in ("page.html", "figures.json", "kept")}
    argv = ["evaluate", "--html", str(out["page.html"]), "--json", str(out["figures.json"])]
    args = cli.parser().parse_args([*argv, "--keep", str(out["kept"])])
    assert run(args) == 1
    assert "FAIL no-leading-question" in capsys.readouterr().out
    assert json.loads(out["figures.json"].read_text())["ok"] is False
    assert out["page.html"].read_text().startswith("<!doctype html>")
    kept = {path.suffix for path in out["kept"].iterdir()}
    assert kept == {".json", ".md", ".html", ".pdf"}


def test_findings_that_cannot_be_kept_are_told_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept"

    async def had(*_: Any) -> tuple[Verdict, list[Recording]]:
        kept.write_text("meanwhile it is a file")
        return judge(own(recordings())), []

    monkeypatch.setattr("loadtest.commands.evaluate._run", had)
    assert run(cli.parser().parse_args(["evaluate", "--keep", str(kept)])) == 2
    told = capsys.readouterr()
    assert "checks could be made, 0 failed" in told.out
    assert "the findings could not be kept" in told.err
