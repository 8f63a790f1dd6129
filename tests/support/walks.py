"""Random interviews, one transition at a time, with everything checked that must always hold."""

import random
from collections import Counter
from typing import Any

from msgspec.structs import replace

from protocol import commands as c
from protocol import events as e
from protocol.effects import Effect, Emit, Keep, Reject, Run, Stop, Store
from protocol.ids import EventId
from protocol.machine import (
    TABLE,
    Arrived,
    Finished,
    Input,
    Left,
    Lost,
    Noted,
    Rated,
    Received,
    Reported,
    Speaking,
    Ticked,
    next_tick,
    transition,
)
from protocol.plan import Plan
from protocol.probing import REPLIES, Lack
from protocol.scalars import NoticeCode, Outcome, Source
from protocol.session import Session, Turn, snapshot
from protocol.text import sha256
from protocol.view import View

AT = 1_700_000_000_000
TEXTS = ("", "Yes.", "Zwölf 🦁 Löwen", "a\u2028b", "word " * 40)
CODES: tuple[NoticeCode, ...] = (
    "time_low",
    "time_up",
    "budget_low",
    "fallback_in_use",
    "degraded",
)
OUTCOMES: tuple[Outcome, ...] = ("final", "final", "final", "failed")
SOURCES: tuple[Source, ...] = ("model", "cache", "bank")
STEPS_MS = (0, 1, 900, 900, 20_000, 20_000, 20_000, 100_000, 400_000, -500)
LACKS: tuple[tuple[Lack, ...] | None, ...] = (
    None,
    (),
    ("answer",),
    ("hearing",),
    ("meaning",),
    ("result", "detail"),
)
AFTER_THE_END = (e.Notice, e.ReportFailed, e.ReportReady, e.RatingReady)


def kind_of(happened: Input) -> type:
    """The column of the table that an input belongs to."""
    return type(happened.command) if isinstance(happened, Received) else type(happened)


def draw_plan(draw: random.Random) -> Plan:
    return Plan(
        type="technical",
        role="Löwenbändigerin",
        mode=draw.choice(("practice", "assessment")),
        duration_minutes=draw.choice((15, 15, 20, 30, 60)),
    )


class _Told:
    """What the events of one transition have told so far."""

    def __init__(self, before: Session) -> None:
        self.number = before.turn
        self.opened = before.open is not None
        self.over = before.over
        self.completed: e.TurnCompleted | None = None
        self.begun = (0, 0)

    def emit(self, event: e.Event) -> None:
        assert not self.over or isinstance(event, AFTER_THE_END)
        match event:
            case e.TurnStarted():
                assert (event.turn, event.attempt, self.opened) == (self.number + 1, 1, False)
                self.number, self.opened = event.turn, True
                self.begun = (event.turn, event.attempt)
            case e.TurnReset():
                assert (event.turn, self.opened) == (self.number, True)
                self.begun = (event.turn, event.attempt)
            case e.TurnCompleted():
                assert (event.turn, self.opened) == (self.number, True)
                self.completed, self.opened = event, False
            case e.InterviewEnded():
                assert not self.opened
                self.over = True
            case _:
                pass


class Walk:
    """One interview: the session, the turns kept, the log's length, and a client's view of it."""

    def __init__(self, draw: random.Random, seen: "Counter[tuple[str, ...]]") -> None:
        self.draw = draw
        self.seen = seen
        self.at = AT
        self.session = Session(interview_id="i", user_id="u", created_at=AT, plan=draw_plan(draw))
        self.kept: list[Turn] = []
        self.turns: list[e.TurnView] = []
        self.text = ""
        self.seq = 0
        self.view = View()
        self.join()

    # --- what happens ---

    def draw_input(self) -> Input:
        draw = self.draw
        self.at = max(AT, self.at + draw.choice(STEPS_MS))
        if self.session.status in ("created", "paused") and draw.random() < 0.02:
            self.at += 40 * 86_400_000
        opened = self.session.open
        roll = draw.random()
        if self.session.status == "created" and roll < 0.4:
            return self.command(c.InterviewStart(id="s", consent=c.Consent(version="1", at=AT)))
        if opened is not None and opened.speaker == "interviewer" and roll < 0.5:
            return self._generated(opened.turn, opened.attempt)
        if opened is not None and opened.speaker == "candidate" and roll < 0.5:
            return self.command(self._answer())
        if self.session.status == "paused" and roll < 0.6:
            return self.command(c.InterviewResume(id="r"))
        if self.session.status == "disconnected" and roll < 0.3:
            return Arrived(at=self.at)
        return self._anything()

    def command(self, command: c.DurableCommand) -> Received:
        source = self.draw.choice(SOURCES)
        lacks = self.draw.choice(LACKS)
        return Received(command=command, at=self.at, logged=self.text, source=source, lacks=lacks)

    def _generated(self, turn: int, attempt: int) -> Input:
        draw = self.draw
        if draw.random() < 0.3:
            return Lost(turn=turn, attempt=attempt, reason="instance_lost", at=self.at)
        self.stream(draw.choice(TEXTS))
        return Finished(
            turn=turn,
            attempt=attempt,
            text=self.text,
            at=self.at,
            source=draw.choice(SOURCES),
            outcome=draw.choice(OUTCOMES),
        )

    def _answer(self) -> c.DurableCommand:
        draw = self.draw
        turn = draw.choice((None, None, max(1, self.session.turn + draw.choice((-1, 0, 0, 0, 1)))))
        if draw.random() < 0.5:
            return c.SpeechFinal(
                id="f",
                turn=turn,
                utterance_id=draw.choice("uvw"),
                revision=draw.randrange(4),
                text=draw.choice(TEXTS),
                start_ms=draw.choice((None, 0, 5, 9)),
            )
        return c.AnswerSubmit(id="a", turn=turn, text=draw.choice((None, *TEXTS)))

    def _anything(self) -> Input:
        draw, turn = self.draw, self.session.turn
        number = max(1, turn + draw.choice((0, 0, 0, -1, 1)))
        attempt = draw.choice((1, 1, 2, 3))
        if self.session.open is not None and draw.random() < 0.6:
            attempt = self.session.open.attempt
        cancel = c.TurnCancel(
            id="x", turn=number, attempt=attempt, heard=draw.choice((None, 0, 3, 10**6))
        )
        choices: tuple[Input, ...] = (
            self.command(cancel),
            self.command(cancel),
            self.command(c.HintRequest(id="h")),
            self.command(self._answer()),
            self.command(c.InterviewPause(id="p")),
            self.command(c.InterviewResume(id="r")),
            self.command(c.InterviewStart(id="s", consent=c.Consent(version="1", at=AT))),
            Ticked(at=self.at, lacks=draw.choice(LACKS)),
            Left(since=self.at - draw.choice((0, 20_000, 10**7)), grace_ms=1_000_000, at=self.at),
            Arrived(at=self.at),
            Speaking(at=self.at),
            Noted(code=draw.choice(CODES), message="m", at=self.at),
            Lost(turn=number, attempt=attempt, reason="stalled", at=self.at),
            Rated(
                question_id=f"core-{draw.randrange(1, 9)}",
                turn=number,
                ratings=({"score": 3},),
                at=self.at,
            ),
            Reported(
                report_id=draw.choice(("", "r-1", "r-2")),
                code="unavailable",
                retryable=draw.random() < 0.5,
                at=self.at,
            ),
            self._stale(number, attempt),
        )
        if draw.random() < 0.03:
            return self.command(c.InterviewEnd(id="e"))
        return draw.choice(choices)

    def _stale(self, turn: int, attempt: int) -> Input:
        """Mostly the end of a turn that is no more."""
        opened = self.session.open
        if opened and (opened.turn, opened.attempt) == (turn, attempt):
            return self._generated(turn, attempt)
        return Finished(turn=turn, attempt=attempt, text="late", at=self.at, source="model")

    def join(self) -> None:
        """Let a new client take the place of the one so far."""
        self.view = View()
        shown = snapshot(self.session, tuple(self.kept), self.text, self.at)
        self.view.replace(shown, EventId(self.seq, 7))

    def stream(self, text: str) -> None:
        """Log a delta of the interviewer's open turn, as the turn's runner does."""
        opened = self.session.open
        if text and opened is not None and opened.speaker == "interviewer":
            self._log(
                e.TurnDelta(
                    turn=opened.turn, attempt=opened.attempt, offset=len(self.text), text=text
                )
            )

    # --- what must hold ---

    def step(self) -> None:
        if self.draw.random() < 0.2:
            self.stream(self.draw.choice(TEXTS))
        if self.draw.random() < 0.02:
            self.join()
        self.take(self.draw_input())

    def take(self, happened: Input) -> None:
        before = self.session
        done = transition(before, happened)
        assert transition(before, happened) == done, "the same input twice"
        verdict = "applied" if done.session is not before else _verdict(done.effects)
        if verdict == "applied" and not done.effects:
            assert isinstance(happened, Speaking), "nobody learns of it"
        self.seen[before.status, kind_of(happened).__name__, verdict] += 1
        self.seen[before.phase, kind_of(happened).__name__, verdict] += 1
        rule = TABLE[before.status, kind_of(happened)]
        if done.session.status != before.status:
            assert done.session.status in rule.leads_to
            self.seen[before.status, kind_of(happened).__name__, done.session.status] += 1
        if verdict == "refused":
            assert len(done.effects) == 1
            assert done.session is before
            assert isinstance(happened, Received)
            return
        _for_its_turn(before, happened)
        self._effects(before, done.effects)
        self.session = done.session
        self._clock(before)
        self._shape(before)
        self._viewed()
        if verdict == "applied":
            self._ticks()

    def _effects(self, before: Session, effects: tuple[Effect, ...]) -> None:
        """The effects of a transition belong together, and are right one by one."""
        told = _Told(before)
        for effect in effects:
            match effect:
                case Emit(event=event):
                    assert told.completed is None, "a completed turn is kept before anything else"
                    told.emit(event)
                    self._log(event)
                case Keep(turn=turn):
                    assert told.completed is not None
                    self._keep(turn, told.completed)
                    told.completed = None
                    assert Store() in effects
                case Run(turn=turn, attempt=attempt):
                    assert told.begun == (turn, attempt)
                case Stop(turn=turn):
                    assert turn == before.turn
                case Store():
                    pass
                case Reject():
                    raise AssertionError("a rejection stands alone")
        assert told.completed is None

    def _keep(self, turn: Turn, completed: e.TurnCompleted) -> None:
        assert (turn.turn, turn.attempt) == (completed.turn, completed.attempt)
        assert turn.sha256 == completed.sha256 == sha256(turn.text)
        assert len(turn.text) == completed.length
        assert (turn.outcome, turn.source) == (completed.outcome, completed.source)
        assert (turn.source is None) == (turn.speaker == "candidate")
        assert turn.ended_at == completed.at
        self.kept.append(turn)
        self.turns.append(turn.public())

    def _log(self, event: Any) -> None:
        assert event.id == ""
        self.seq += 1
        if isinstance(event, e.TurnDelta):
            self.text += event.text
        elif isinstance(event, e.TurnStarted | e.TurnReset | e.TurnCompleted):
            self.text = ""
        assert self.view.apply(replace(event, id=f"{self.seq}-7"))

    def _clock(self, before: Session) -> None:
        session = self.session
        assert session.elapsed_ms >= before.elapsed_ms >= 0
        assert 0 <= session.remaining(self.at) <= session.plan.duration_ms
        assert (session.running_since is not None) == (session.status == "live")
        assert (session.rests_since is not None) == (session.status in ("paused", "disconnected"))
        assert (session.ended_at is not None) == session.over
        assert before.absent_ms <= session.absent_ms <= session.grace_ms
        assert session.absences - before.absences == (
            (before.status, session.status) == ("live", "disconnected")
        )

    def _shape(self, before: Session) -> None:
        session = self.session
        assert session.probes <= session.plan.probe_cap
        assert session.replies <= REPLIES
        assert not (session.silent and session.lacks != ("answer",))
        assert [turn.turn for turn in self.turns[-2:]] == [
            *range(max(1, len(self.turns) - 1), len(self.turns) + 1)
        ]
        assert session.turn == len(self.turns) + (session.open is not None)
        if session.open is not None:
            assert session.open.turn == session.turn
            assert not session.over
        elif session.status in ("live", "disconnected"):
            raise AssertionError("a live interview waits for somebody")
        elif session.status == "paused":
            assert session.last in ("answer", "reply")
        if before.over:
            told = replace(before, noticed=session.noticed, report=session.report)
            assert session == replace(told, rated=session.rated)

    def _viewed(self) -> None:
        """What a client made of the events is what a snapshot would say."""
        shown = snapshot(self.session, (), self.text, self.at)
        view = self.view
        assert view.phase == shown.phase
        assert view.status == shown.status or {view.status, shown.status} == {
            "live",
            "disconnected",
        }
        assert view.open == shown.open
        assert view.turns == self.turns

    def _ticks(self) -> None:
        """The time at which the machine wants to be woken is the first one that matters."""
        session, due = self.session, next_tick(self.session)
        if due is None:
            assert not transition(session, Ticked(at=self.at + 10**12)).effects
            return
        done = transition(session, Ticked(at=due))
        assert done.effects
        after = next_tick(done.session)
        assert after is None or after > due
        if due > self.at:
            assert not transition(session, Ticked(at=due - 1)).effects


def _for_its_turn(before: Session, happened: Input) -> None:
    """What names the answer that it is for was taken: that one is open."""
    match happened:
        case Received(command=c.SpeechFinal(turn=int(turn)) | c.AnswerSubmit(turn=int(turn))):
            assert before.open is not None
            assert (before.open.turn, before.open.speaker) == (turn, "candidate")
        case _:
            pass


def _verdict(effects: tuple[Effect, ...]) -> str:
    if not effects:
        return "ignored"
    return "refused" if isinstance(effects[0], Reject) else "applied"


def walk(draw: random.Random, seen: "Counter[tuple[str, ...]]", steps: int) -> int:
    """Make one interview and go on a little behind its end; return the transitions made."""
    made, behind = Walk(draw, seen), 0
    for number in range(1, steps + 1):
        made.step()
        behind += made.session.over
        if behind >= 10:
            return number
    return steps
