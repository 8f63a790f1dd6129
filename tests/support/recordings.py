"""A recording of an interview in which nothing is wrong, to be broken by tests."""

from collections.abc import Sequence
from typing import Any, Literal

from msgspec.structs import replace

from loadtest.evaluate.recording import Recording, Seen, Sent
from protocol import commands as c
from protocol import events as e
from protocol.assessment import Coverage, Evidence, Rating, Remark, Report, answers_to, composite
from protocol.limits import LIMITS
from protocol.scalars import Kind, Mode, Phase, Speaker
from protocol.session import Turn
from protocol.text import sha256

T0 = 1_795_000_000_000
STEP_MS = 5_000
PRIVATE = "Noor Quillfeather-0a1b2c3d"
INTERVIEW_ID = "01930000-0000-7000-8000-000000000001"
RUBRIC = "r" * 16

_QUESTIONS = (
    "Thank you. Describe a review in which a draft of yours was criticised harder than expected.",
    "Thanks. Describe a request from an important customer that you turned down in the end.",
)
_PROBES = (
    "You said “I rewrote the draft twice”. What did the second version leave out?",
    "You mentioned “I called the customer”. How did that call of yours end?",
)
ANSWERS = (
    "I rewrote the draft twice because three readers stumbled over the same page of it.",
    "I left out the second of the two cases and cut the draft from nine pages to four.",
    "I called the customer and said no to the export since it would have cost us a month.",
    "I offered them a smaller export in its place and they took it within the week.",
)
_ASKED = "How does the team decide what it works on next?"


class _Story:
    """Writes turns, events and commands as they follow from each other."""

    def __init__(self, *, source: Literal["model", "bank"]) -> None:
        self.turns: list[Turn] = []
        self.seen: list[Seen] = []
        self.sent: list[Sent] = []
        self.source: Literal["model", "bank"] = source
        self.at = T0
        self.connection = 0
        self._seq = 0

    def tell(self, message: e.ServerMessage) -> None:
        if isinstance(message, e.Event):
            self._seq += 1
            message = replace(message, id=f"{self._seq}-{self._seq * 7}")
        self.seen.append(Seen((self.at - T0) / 1000, self.connection, message))

    def give(self, command: c.DurableCommand, *, rejected: str = "") -> None:
        sent = Sent(at=(self.at - T0) / 1000, command=command, rejected=rejected)
        sent.accepted = not rejected
        self.sent.append(sent)

    def enter(self, phase: Phase) -> None:
        self.tell(e.PhaseChanged(phase=phase))

    def speak(
        self, speaker: Speaker, kind: Kind, question_id: str | None, text: str, *, cut: int = 0
    ) -> Turn:
        number, began = len(self.turns) + 1, self.at
        self.tell(
            e.TurnStarted(
                turn=number,
                attempt=1,
                speaker=speaker,
                kind=kind,
                question_id=question_id,
                at=began,
            )
        )
        half = len(text) // 2
        for offset, piece in ((0, text[:half]), (half, text[half:])):
            if piece:
                self.at += 500
                self.tell(e.TurnDelta(turn=number, attempt=1, offset=offset, text=piece))
        self.at += STEP_MS
        kept = text[:cut] if cut else text
        source = self.source if speaker == "interviewer" else None
        outcome = "interrupted" if cut else "final"
        self.tell(
            e.TurnCompleted(
                turn=number,
                attempt=1,
                length=len(kept),
                sha256=sha256(kept),
                outcome=outcome,
                source=source,
                at=self.at,
            )
        )
        turn = Turn(
            turn=number,
            speaker=speaker,
            kind=kind,
            question_id=question_id,
            text=kept,
            sha256=sha256(kept),
            outcome=outcome,
            source=source,
            started_at=began,
            ended_at=self.at,
        )
        self.turns.append(turn)
        return turn

    def ask(self, kind: Kind, question_id: str | None, text: str, *, cut: int = 0) -> None:
        self.speak("interviewer", kind, question_id, text, cut=cut)

    def answer(self, question_id: str, text: str, confidence: float | None = None) -> None:
        name = f"c{len(self.sent) + 1}"
        if confidence is None:
            self.give(c.AnswerSubmit(id=name, text=text))
        else:
            final = c.SpeechFinal(
                id=name, utterance_id=name, revision=1, text=text, confidence=confidence
            )
            self.give(final)
            self.give(c.AnswerSubmit(id=f"{name}s"))
        self.speak("candidate", "answer", question_id, text)


def good(
    *,
    mode: Mode = "practice",
    offline: bool = False,
    persona: str = "strong",
    answers: Sequence[str] = ANSWERS,
    confidence: float | None = None,
    hint: bool = False,
    pause: bool = False,
    barge: bool = False,
    puzzled: bool = False,
    drop: bool = False,
    away_s: float = 0.0,
    early: bool = False,
    score: int | None = 5,
    user: str = "",
    private: str = PRIVATE,
) -> Recording:
    """Return a recording that passes every check."""
    story = _Story(source="bank" if offline else "model")
    story.tell(_welcome(recovered=False))
    story.give(c.InterviewStart(id="start", consent=c.Consent(version="1", at=T0)))
    story.tell(e.InterviewStarted(at=T0))
    story.enter("warmup")
    if offline:
        story.tell(e.Notice(code="fallback_in_use", message="The question bank speaks."))
    story.ask("question", "warmup", "Hello, and welcome. What have you been working on lately?")
    story.answer("warmup", f"My name is {private}, and I have worked here for some years now.")
    story.enter("core")
    shown = {"hint": hint, "barge": barge, "puzzled": puzzled}
    _main(story, 0, answers, confidence, mode, **shown, scored=score)
    if drop:
        story.connection += 1
        story.at += int(away_s * 1000)
        story.tell(_welcome(recovered=True))
    if pause:
        story.give(c.InterviewPause(id="pause"))
        story.tell(e.InterviewPaused(at=story.at))
        story.at += STEP_MS
        story.give(c.InterviewResume(id="resume"))
        story.tell(e.InterviewResumed(at=story.at))
    if early:
        story.give(c.InterviewEnd(id="end"))
    else:
        _main(story, 1, answers, confidence, mode, scored=None)
        story.enter("candidate_questions")
        story.ask("question", "candidate-questions", "What would you like to know about the team?")
        story.answer("candidate-questions", _ASKED)
        story.ask("reply", "candidate-questions", "The recruiter will tell you about that.")
        story.enter("wrap_up")
        story.ask("closing", None, "Thank you for your time and your answers. Goodbye to you.")
    story.enter("closed")
    story.tell(e.InterviewEnded(reason="completed"))
    story.tell(e.Stored(id=f"{len(story.seen) + 5}-1"))
    rested_ms = (STEP_MS if pause else 0) + int(away_s * 1000)
    report = _report(
        story, mode, offline=offline, score=score, rested_ms=rested_ms, drop=drop, early=early
    )
    story.tell(e.ReportReady(report_id=report.report_id))
    shown = f"{report.composite:g}" if report.composite is not None else "not rated, offline"
    return Recording(
        name=f"{persona} {mode}{' offline' if offline else ''}",
        persona=persona,
        user=user or f"{persona}-{mode}",
        expected="offline" if offline else "model",
        plan=_plan(mode),
        secrets=(private,),
        seen=story.seen,
        sent=story.sent,
        closes=[1006, 4504] if drop else [4504],
        drops=int(drop),
        away_s=away_s,
        interview={"id": INTERVIEW_ID, "status": "completed", **_plan(mode)},
        turns=story.turns,
        report=report,
        report_for_candidate=200 if mode == "practice" else 403,
        markdown=f"# Interview report\n\n{shown}\n\n## Transcript\n",
        html=f"<!doctype html>\n<html><p>{shown}</p><h2>Transcript</h2></html>",
        pdf=b"%PDF-1.7\n...\n%%EOF\n",
    )


def _main(
    story: _Story,
    place: int,
    answers: Sequence[str],
    confidence: float | None,
    mode: Mode,
    *,
    hint: bool = False,
    barge: bool = False,
    puzzled: bool = False,
    scored: int | None,
) -> None:
    name = f"core-{place + 1}"
    story.ask("question", name, _QUESTIONS[place])
    if hint and mode == "practice":
        story.give(c.HintRequest(id=f"hint-{place}"))
        story.speak("candidate", "answer", name, "")
        story.ask("hint", name, "Start with the smallest case that you know of, and go on.")
    elif hint:
        story.give(c.HintRequest(id=f"hint-{place}"), rejected="wrong_state")
    if puzzled:
        story.answer(name, "Do you mean my own part or that of the team?")
        story.ask("reply", name, f"Say which one you take. I had asked: {_QUESTIONS[place]}")
    story.answer(name, answers[2 * place], confidence)
    cut = 20 if barge else 0
    if barge:
        turn = len(story.turns) + 1
        story.give(c.TurnCancel(id="cancel", turn=turn, attempt=1, heard=cut))
    story.ask("probe", name, _PROBES[place], cut=cut)
    story.answer(name, answers[2 * place + 1], confidence)
    if mode == "practice" and place == 0:
        told: dict[str, Any] = {"question_id": name, "score": scored}
        story.tell(e.RatingReady(turn=3, ratings=[told]))


def _plan(mode: Mode) -> dict[str, Any]:
    return {"type": "behavioral", "role": "Product manager", "mode": mode, "duration_minutes": 15}


def _welcome(*, recovered: bool) -> e.Welcome:
    return e.Welcome(
        interview_id=INTERVIEW_ID,
        role="candidate",
        recovered=recovered,
        head="0-0",
        resume_token="token",
        heartbeat_ms=15_000,
        limits=LIMITS,
    )


def rating(turns: Sequence[Turn], name: str, score: int | None, *, offline: bool) -> Rating:
    """Return a rating of a question that is proven by the first words of its answers."""
    said = answers_to(name, turns)
    proof = [Evidence(turn=t.turn, start=0, end=20, quote=t.text[:20]) for t in said]
    known = None if offline or not said else score
    anchor = None if known is None else known if known % 2 else known - 1
    return Rating(
        question_id=name,
        competency=f"competency {name}",
        turns=tuple(turn.turn for turn in said),
        score=known,
        anchor=anchor,  # type: ignore[arg-type]  # 1, 3 or 5
        anchor_text="" if anchor is None else "What an answer is like.",
        evidence=tuple(proof) if known is not None else (),
        rationale="Computed without a model." if offline else "It is most like the anchor.",
        missing="" if known == 5 else "A result.",
        method="offline" if offline else "model",
        model="" if offline else "m",
        prompt_sha256="" if offline else "a" * 64,
        rubric=RUBRIC,
        samples=() if offline or known is None else (known, known, known),
    )


def _report(
    story: _Story,
    mode: Mode,
    *,
    offline: bool,
    score: int | None,
    rested_ms: int,
    drop: bool,
    early: bool,
) -> Report:
    names = ("core-1",) if early else ("core-1", "core-2")
    ratings = tuple(rating(story.turns, name, score, offline=offline) for name in names)
    rated = [each for each in ratings if each.score is not None]
    answered = sum(bool(each.turns) for each in ratings)
    notes = ["Offline: fixed rules looked at the answers."] if offline else []
    notes += ["1 planned question was not reached."] if early else []
    notes += [f"1 hint was given (turn {t.turn})." for t in story.turns if t.kind == "hint"]
    notes += ["The connection was lost once."] if drop else []
    strong = [each for each in rated if (each.score or 0) >= 4]
    weak = [each for each in ratings if each.turns and (each.score or 0) <= 2]
    return Report(
        report_id=f"report-{mode}",
        interview_id=INTERVIEW_ID,
        created_at=story.at,
        method="offline" if offline else "model",
        mode=mode,
        role="Product manager",
        type="behavioral",
        level="mid",
        ended="completed",
        duration_ms=story.turns[-1].ended_at - T0 - rested_ms,
        coverage=Coverage(
            planned=2,
            asked=len(names),
            answered=answered,
            rated=len(rated),
            competencies=tuple(each.competency for each in ratings),
        ),
        ratings=ratings,
        composite=composite(ratings, planned=2),
        strengths=tuple(
            Remark(text="Good.", competency=r.competency, turns=r.turns) for r in strong
        ),
        gaps=tuple(Remark(text="Bad.", competency=r.competency, turns=r.turns) for r in weak),
        notes=tuple(notes),
        disconnections=int(drop),
        cost_micro_usd=0 if offline else 31_000,
        rubric=RUBRIC,
    )
