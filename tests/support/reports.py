"""Interviews that have been rated, for the tests of reports and for looking at them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

from protocol.assessment import (
    Anchors,
    Caveat,
    Evidence,
    Guide,
    GuideQuestion,
    Method,
    Rating,
    Report,
    Score,
    StarPart,
    locate,
)
from protocol.plan import Plan
from protocol.scalars import Kind, Mode, NoticeCode, Outcome, Source, Speaker, Status
from protocol.session import Session, Turn
from protocol.text import sha256
from server.reporting import compose_report

START = 1_767_258_000_000
"""2026-01-01, 09:00 UTC."""
RUBRIC = "8f1c2a9be77d40d1"
PROMPT = sha256("the prompt of the assessor")


class Rated(NamedTuple):
    """An interview and what was concluded of it."""

    report: Report
    turns: tuple[Turn, ...]


class Script:
    """Writes an interview down, turn after turn."""

    def __init__(self, *, pace_ms: int = 400) -> None:
        self.turns: list[Turn] = []
        self.at = START
        self._pace = pace_ms

    def say(
        self,
        speaker: Speaker,
        kind: Kind,
        question_id: str | None,
        text: str,
        *,
        outcome: Outcome = "final",
        source: Source | None = None,
    ) -> int:
        length = 2_000 + self._pace * len(text.split())
        if speaker == "interviewer" and source is None:
            source = "model"
        turn = Turn(
            turn=len(self.turns) + 1,
            speaker=speaker,
            kind=kind,
            question_id=question_id,
            text=text,
            sha256=sha256(text),
            outcome=outcome,
            source=source,
            started_at=self.at,
            ended_at=self.at + length,
        )
        self.turns.append(turn)
        self.at += length + 900
        return turn.turn

    def ask(self, question_id: str, text: str, kind: Kind = "question", **more: Source) -> int:
        return self.say("interviewer", kind, question_id, text, source=more.get("source"))

    def answer(self, question_id: str | None, text: str, outcome: Outcome = "final") -> int:
        return self.say("candidate", "answer", question_id, text, outcome=outcome)


def guide(*competencies: str) -> Guide:
    return Guide(
        version=RUBRIC,
        questions=tuple(
            GuideQuestion(
                question_id=f"core-{place}",
                bank_id=f"bank-{place}",
                competency=competency,
                text=f"Tell me about {competency}.",
                anchors=Anchors(
                    one="Speaks in general terms; no case of their own.",
                    three="A case of their own, with their part in it.",
                    five="A case with their own part, the trade-offs weighed, and a result.",
                ),
            )
            for place, competency in enumerate(competencies, start=1)
        ),
    )


def rate(
    turns: Sequence[Turn],
    question_id: str,
    competency: str,
    score: Score | None,
    *quotes: str,
    rationale: str = "",
    missing: str = "",
    star: tuple[StarPart, ...] = (),
    caveats: tuple[Caveat, ...] = (),
    method: Method = "model",
    samples: tuple[Score | None, ...] = (),
) -> Rating:
    read = tuple(
        turn
        for turn in turns
        if turn.speaker == "candidate"
        and question_id in (turn.question_id, "communication")
        and turn.text.strip()
    )
    found = [locate(quote, read) for quote in quotes]
    assert all(found), quotes
    given = [sample for sample in samples if sample is not None]
    anchor = None if score is None else min((1, 3, 5), key=lambda a: abs(a - score))
    texts = guide(competency).questions[0].anchors
    return Rating(
        question_id=question_id,
        competency=competency,
        turns=tuple(turn.turn for turn in read),
        score=score,
        anchor=anchor,
        anchor_text={1: texts.one, 3: texts.three, 5: texts.five}[anchor] if anchor else "",
        evidence=tuple(cast("list[Evidence]", found)),
        star=star,
        rationale=rationale,
        missing=missing,
        caveats=caveats,
        method=method,
        model="" if method == "offline" else "gpt-5.2-2025-12-11",
        prompt_sha256="" if method == "offline" else PROMPT,
        rubric=RUBRIC,
        samples=samples,
        spread=max(given) - min(given) if given else 0,
    )


def session(
    turns: Sequence[Turn],
    *,
    mode: Mode = "practice",
    role: str = "Backend engineer",
    status: Status = "completed",
    noticed: tuple[NoticeCode, ...] = (),
) -> Session:
    ended = turns[-1].ended_at if turns else START
    return Session(
        interview_id="019b7c3e-5a00-7cc3-98d1-2f4f6a1be001",
        user_id="u-1",
        created_at=START,
        plan=Plan(type="behavioral", role=role, level="senior", mode=mode, duration_minutes=30),
        status=status,
        phase="closed",
        elapsed_ms=ended - START,
        turn=len(turns),
        noticed=noticed,
        ended_at=ended,
    )


def composed(
    turns: Sequence[Turn],
    plan: Guide,
    ratings: Sequence[Rating],
    communication: Rating | None = None,
    *,
    held: Session | None = None,
    method: Method = "model",
    disconnections: int = 0,
    cost_micro_usd: int = 0,
    earlier: Mapping[Mode, int] | None = None,
) -> Rated:
    held = held or session(turns)
    report = compose_report(
        report_id="019b7c4f-0000-7e55-8a7e-0c1d2e3f4a5b",
        session=held,
        turns=turns,
        guide=plan,
        ratings=ratings,
        communication=communication,
        method=method,
        created_at=(held.ended_at or START) + 8_000,
        disconnections=disconnections,
        cost_micro_usd=cost_micro_usd,
        earlier=earlier or {},
        notes=(),
    )
    return Rated(report, tuple(turns))


# --- samples -------------------------------------------------------------------------------------

OUTAGE = (
    "Our payment service began to time out on a Friday evening, and I was on call. I saw that the "
    "connection pool was exhausted, so I cut the pool's wait from thirty seconds to two and turned "
    "retries off at the gateway. Within eleven minutes the error rate fell from 18 % to 0.3 %. "
    "Afterwards I wrote the review, and we added an alert on pool saturation that has fired twice "
    "since, both times before any customer noticed."
)
CONFLICT = (
    "A colleague wanted to rewrite the scheduler in Rust. I thought it was too early, so we agreed "
    "to measure first. It turned out that the hot path was a missing index, and we dropped the "
    "rewrite."
)
MORE = (
    "I would say he was a little disappointed, but he presented the numbers himself in the end, "
    "which I had suggested, so that it was his finding as well."
)
MENTORING = "Well, we generally pair a lot in our team, and people learn from each other that way."


def _opened(source: Source = "model") -> Script:
    script = Script()
    script.ask(
        "warmup",
        "Hello, and welcome. To begin with: what are you working on these days?",
        source=source,
    )
    script.answer(
        "warmup", "I keep the payments platform of a mid-sized shop running, with five others."
    )
    return script


def rich() -> Rated:
    """A practice interview with a hint, an interruption and a few caveats."""
    script = _opened()
    script.ask(
        "core-1", "Tell me about an outage that you had to deal with. What did you do yourself?"
    )
    script.answer("core-1", OUTAGE)
    script.ask("core-1", "How did you know that the pool was the cause?", "probe")
    script.answer(
        "core-1",
        "The wait times in the pool's metrics rose a minute before the first errors, and the "
        "database itself was idle.",
    )
    script.ask(
        "core-2", "When did you last disagree with a colleague about a design?", source="cache"
    )
    script.answer("core-2", CONFLICT)
    script.ask("core-2", "And how did he take it?", "probe")
    script.answer("core-2", MORE)
    script.ask("core-3", "How have you helped somebody in your team to grow?", source="bank")
    script.answer("core-3", "Hm, let me think.", outcome="interrupted")
    script.ask(
        "core-3",
        "It may help to think of one person, and of what they could do afterwards.",
        "hint",
    )
    script.answer("core-3", MENTORING)
    script.ask("core-4", "Tell me about a decision you made without all the facts.")
    script.answer("core-4", "I can't think of one.")
    script.say("interviewer", "question", None, "What would you like to know from me?")
    script.answer(None, "How is on-call organised in your team?")
    script.say("interviewer", "closing", None, "Thank you for your time. Your report follows.")
    turns = script.turns
    ratings = [
        rate(
            turns,
            "core-1",
            "Incident response",
            5,
            "I cut the pool's wait from thirty seconds to two and turned retries off",
            "Within eleven minutes the error rate fell from 18 % to 0.3 %",
            "The wait times in the pool's metrics rose a minute before the first errors",
            rationale="Names their own actions in order, why each was chosen, and what it changed, "
            "in numbers. The follow-up shows how the cause was told apart from its symptoms.",
            star=("situation", "task", "action", "result"),
            samples=(5, 5, 4),
        ),
        rate(
            turns,
            "core-2",
            "Handling disagreement",
            4,
            "so we agreed to measure first",
            "he presented the numbers himself in the end, which I had suggested",
            rationale="Turned a dispute of opinions into a measurement and let them keep face.",
            missing="What it cost to wait, and what would have changed their mind.",
            star=("situation", "action", "result"),
            caveats=("low_transcription_confidence",),
            samples=(4, 4, 4),
        ),
        rate(
            turns,
            "core-3",
            "Mentoring",
            2,
            "we generally pair a lot in our team",
            rationale="Describes a habit of the team, not a person they helped.",
            missing="One person, what they did for them, and what that person can do now.",
            caveats=("short_answer", "hints_used", "spread"),
            samples=(1, 2, 3),
        ),
        rate(
            turns,
            "core-4",
            "Judgement",
            None,
            missing="A decision of their own: what was unknown, what they did, how it ended.",
            caveats=("short_answer",),
        ),
    ]
    communication = rate(
        turns,
        "communication",
        "Communication",
        4,
        "I saw that the connection pool was exhausted, so I cut",
        rationale="Answers in the order things happened, cause before effect; rarely digresses.",
        samples=(4, 4, 4),
    )
    return composed(
        turns,
        guide("Incident response", "Handling disagreement", "Mentoring", "Judgement"),
        ratings,
        communication,
        disconnections=1,
        cost_micro_usd=23_417,
    )


def assessment() -> Rated:
    """An assessment whose time ran out."""
    script = _opened()
    script.ask("core-1", "Tell me about an outage that you had to deal with.")
    script.answer("core-1", OUTAGE)
    script.ask("core-2", "When did you last disagree with a colleague about a design?")
    script.answer("core-2", CONFLICT, outcome="interrupted")
    turns = script.turns
    ratings = [
        rate(
            turns,
            "core-1",
            "Incident response",
            4,
            "I cut the pool's wait from thirty seconds to two",
            rationale="Acted on a cause they had found, and followed it up with an alert.",
            missing="How the cause was told apart from its symptoms.",
            star=("situation", "action", "result"),
            samples=(4, 4, 5),
        ),
        rate(
            turns,
            "core-2",
            "Handling disagreement",
            3,
            "I thought it was too early, so we agreed to measure first",
            rationale="A case of their own, with the way it was settled.",
            missing="The other's view, and what became of the two of them.",
            star=("situation", "action"),
            caveats=("interrupted",),
            samples=(3, 3, 3),
        ),
    ]
    return composed(
        turns,
        guide("Incident response", "Handling disagreement", "Mentoring", "Judgement"),
        ratings,
        held=session(
            turns,
            mode="assessment",
            role="Staff engineer, payments",
            noticed=("time_low", "time_up"),
        ),
        cost_micro_usd=11_020,
    )


def offline() -> Rated:
    """An interview that no model took part in."""
    script = _opened("bank")
    script.ask("core-1", "Tell me about an outage that you had to deal with.", source="bank")
    script.answer("core-1", OUTAGE)
    script.ask("core-2", "How have you helped somebody in your team to grow?", source="bank")
    script.answer("core-2", MENTORING)
    script.say("interviewer", "closing", None, "Thank you for your time.", source="bank")
    turns = script.turns
    ratings = [
        rate(
            turns,
            "core-1",
            "Incident response",
            4,
            "I cut the pool's wait from thirty seconds to two",
            "Within eleven minutes the error rate fell from 18 % to 0.3 %",
            rationale="Has a situation, actions in the first person and a number as a result.",
            star=("situation", "action", "result"),
            method="offline",
        ),
        rate(
            turns,
            "core-2",
            "Mentoring",
            1,
            "we generally pair a lot in our team",
            rationale="No action in the first person and no result was found.",
            missing="What you did yourself, and what came of it.",
            caveats=("short_answer",),
            method="offline",
        ),
    ]
    return composed(turns, guide("Incident response", "Mentoring"), ratings, method="offline")


def nearly_empty() -> Rated:
    """An interview that was left at once."""
    script = Script()
    script.ask("warmup", "Hello, and welcome. What are you working on?")
    return composed(
        script.turns,
        guide("Incident response", "Mentoring"),
        [],
        held=session(script.turns, status="abandoned"),
    )


HOSTILE = (
    '<script>alert(1)</script> "><img src=x onerror=alert(2)> </style><style>*{display:none} '
    "# not a heading\n\n> [click](javascript:alert(3)) `code` **bold** | cell | ]]> &amp; "
    "\u202eright to left\u202c \u200b zero width " + "unbreakable" * 40
)
SCRIPTS = (
    "Ελληνικά, русский, Tiếng Việt, العربية مرحبا بالعالم, עברית שלום, हिन्दी नमस्ते, ไทย สวัสดี, "
    "日本語のテスト、中文测试、한국어 시험, 🎉🚀👩‍👩‍👧 ½ → ≤ €"
)


def hostile() -> Rated:
    """Words chosen to break a page, and many scripts."""
    script = Script()
    script.ask("core-1", "</title></script><h1>asked</h1>")
    script.answer("core-1", HOSTILE)
    script.ask("core-2", SCRIPTS)
    script.answer("core-2", SCRIPTS)
    turns = script.turns
    ratings = [
        rate(
            turns,
            "core-1",
            "<b>Bold</b> & 'quoted' \"competency\" of a rather long name that wraps",
            1,
            "<script>alert(1)</script>",
            "[click](javascript:alert(3)) `code` **bold** | cell | ]]> &amp;",
            "unbreakable" * 40,
            rationale="</p><script>alert('rationale')</script>",
            missing="{{ template }} %s \\ \x07",
            caveats=(
                "interrupted",
                "low_transcription_confidence",
                "short_answer",
                "hints_used",
                "spread",
            ),
        ),
        rate(turns, "core-2", "日本語 العربية", 5, SCRIPTS, rationale=SCRIPTS),
    ]
    plan = guide(*(rating.competency for rating in ratings))
    return composed(turns, plan, ratings, held=session(turns, role="<i>Engineer</i> 工程师"))


SAMPLES = {
    "rich": rich,
    "assessment": assessment,
    "offline": offline,
    "empty": nearly_empty,
    "hostile": hostile,
}
