"""The interview as a pure function: ``transition(session, input) -> (session, effects)``.

Every rule about what may follow what stands in this file. An interview is *created*, *live*,
*paused* or over, and while it is not over at most one turn is open. The turns follow an agenda:

    warm-up question, answer; per main question: answer, probe, answer;
    invitation to ask, answer, reply; closing; completed.

A candidate may interrupt the interviewer (what was heard stays), ask for a hint in practice mode
(the answer so far is kept as a turn of its own), pause, resume and end at any time. While paused,
what was begun is finished and nothing new begins.

The interviewer's words are generated elsewhere: the machine asks for them (`Run`) and is told how
that went (`Finished`, `Lost`). It reads no clock, every input carries its time; so a transition can
be retried on any instance, replayed, and tested by the million.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from msgspec import Struct
from msgspec.structs import replace

from protocol import commands as c
from protocol import events as e
from protocol.effects import Effect, Emit, Keep, Reject, Run, Stop, Store
from protocol.limits import LIMITS, SEGMENTS_PER_ANSWER
from protocol.plan import PROBES_PER_QUESTION
from protocol.scalars import EndReason, Kind, NoticeCode, Outcome, Phase, Source, Speaker, Status
from protocol.session import OpenTurn, Session, Turn
from protocol.text import sha256

HINTS_PER_QUESTION = 2
TIME_LOW_MS = 5 * 60_000


class Received(Struct, frozen=True, kw_only=True):
    """A durable command arrived.

    ``logged`` is the logged text of the interviewer's open turn, for the commands that cut it.
    """

    command: c.DurableCommand
    at: int
    logged: str = ""


class Finished(Struct, frozen=True, kw_only=True):
    """The interviewer's turn was generated to its end; ``text`` is all of it."""

    turn: int
    attempt: int
    text: str
    at: int
    source: Source
    outcome: Outcome = "final"


class Lost(Struct, frozen=True, kw_only=True):
    """An attempt at the interviewer's turn will never end; the next one takes its place."""

    turn: int
    attempt: int
    reason: str
    at: int


class Noted(Struct, frozen=True, kw_only=True):
    """Something the candidate should know, told once an interview."""

    code: NoticeCode
    message: str
    at: int


class Ticked(Struct, frozen=True, kw_only=True):
    """Time passed; `next_tick` tells when it matters."""

    at: int


Input = Received | Finished | Lost | Noted | Ticked


class Transition(NamedTuple):
    """The state after an input, and what is to be done about it, all or nothing."""

    session: Session
    effects: tuple[Effect, ...]


class Rule(NamedTuple):
    """What an input does in a status, the statuses it may lead to, and how the docs put it."""

    apply: Callable[["_Step", Any], None]
    leads_to: tuple[Status, ...] = ()
    told: str = "applied"


def transition(session: Session, happened: Input) -> Transition:
    """Apply one input to the interview.

    A command that does not fit yields the unchanged session and one `Reject`. An input that came
    too late (a turn that ended otherwise, a notice already given) yields no effects at all.
    """
    key = type(happened.command) if isinstance(happened, Received) else type(happened)
    rule = TABLE[session.status, key]
    step = _Step(session, happened.at)
    try:
        rule.apply(step, happened)
    except _Refusal as refusal:
        return Transition(session, (refusal.reject,))
    return Transition(step.session, tuple(step.effects))


def next_tick(session: Session) -> int | None:
    """Return the Unix time in ms at which `Ticked` changes something, or None while it cannot."""
    if session.running_since is None:
        return None
    for code in _WARNINGS:
        if code not in session.noticed:
            left = session.plan.duration_ms - session.elapsed_ms - _warning_at(code, session)
            return session.running_since + max(0, left)
    return None


class _Refusal(Exception):  # noqa: N818  # carries a decision out of the rules; it is no error
    def __init__(self, code: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(code)
        self.reject = Reject(code, message, retryable)


class _Step:
    """One transition being made: the state so far and the effects it has gathered."""

    def __init__(self, session: Session, at: int) -> None:
        self.session = session
        self.effects: list[Effect] = []
        self.at = at

    def change(self, **fields: Any) -> None:
        self.session = replace(self.session, **fields)

    def emit(self, event: e.Event) -> None:
        self.effects.append(Emit(event))

    def enter(self, phase: Phase) -> None:
        if self.session.phase != phase:
            self.change(phase=phase)
            self.emit(e.PhaseChanged(phase=phase))

    def stop_clock(self) -> None:
        self.change(elapsed_ms=self.session.elapsed(self.at), running_since=None)


# --- what follows what ---------------------------------------------------------------------------


def _proceed(step: _Step, finished: OpenTurn | None) -> None:
    """Begin what comes after the turn that was ``finished`` last."""
    match finished and finished.kind:
        case "question" | "probe" | "hint":
            _begin(step, "candidate", "answer", finished and finished.question_id)
        case "closing":
            _end(step, "completed")
        case _ if step.session.status == "paused":
            pass  # `interview.resume` proceeds
        case "reply":
            _close(step)
        case _:
            _after_answer(step)


def _after_answer(step: _Step) -> None:
    session = step.session
    if session.phase == "candidate_questions":
        _ask(step, "reply", "candidate-questions")
    elif session.remaining(step.at) == 0:
        _close(step)
    elif session.question and session.probes < PROBES_PER_QUESTION:
        step.change(probes=session.probes + 1)
        _ask(step, "probe", f"core-{session.question}")
    elif session.question < session.plan.main_questions:
        step.enter("core")
        step.change(question=session.question + 1, probes=0, hints=0)
        _ask(step, "question", f"core-{session.question + 1}")
    else:
        step.enter("candidate_questions")
        _ask(step, "question", "candidate-questions")


def _close(step: _Step) -> None:
    step.enter("wrap_up")
    _ask(step, "closing")


def _ask(step: _Step, kind: Kind, question_id: str | None = None) -> None:
    _begin(step, "interviewer", kind, question_id)
    step.effects.append(Run(step.session.turn, 1))


def _begin(step: _Step, speaker: Speaker, kind: Kind, question_id: str | None) -> None:
    number = step.session.turn + 1
    turn = OpenTurn(
        turn=number, speaker=speaker, kind=kind, question_id=question_id, started_at=step.at
    )
    step.change(turn=number, open=turn)
    step.emit(
        e.TurnStarted(
            turn=number,
            attempt=1,
            speaker=speaker,
            kind=kind,
            question_id=question_id,
            at=step.at,
        )
    )


def _complete(
    step: _Step, text: str, outcome: Outcome, *, source: Source | None = None, unheard: str = ""
) -> OpenTurn:
    """Finish the open turn with ``text``: it leaves the session and is kept."""
    turn = _opened(step)
    digest = sha256(text)
    step.emit(
        e.TurnCompleted(
            turn=turn.turn,
            attempt=turn.attempt,
            length=len(text),
            sha256=digest,
            outcome=outcome,
            source=source,
            at=step.at,
        )
    )
    kept = Turn(
        turn=turn.turn,
        attempt=turn.attempt,
        speaker=turn.speaker,
        kind=turn.kind,
        question_id=turn.question_id,
        text=text,
        sha256=digest,
        outcome=outcome,
        source=source,
        started_at=turn.started_at,
        ended_at=step.at,
        unheard=unheard,
    )
    step.effects += (Keep(kept), Store())
    step.change(open=None, last=turn.kind)
    return turn


def _answer(step: _Step, text: str, outcome: Outcome) -> OpenTurn:
    """Finish the candidate's open answer: its text is an event of its own."""
    turn = _opened(step)
    if text:
        step.emit(e.TurnDelta(turn=turn.turn, attempt=turn.attempt, offset=0, text=text))
    return _complete(step, text, outcome)


def _cut(step: _Step, logged: str, heard: int | None) -> OpenTurn:
    """Finish the interviewer's open turn early, keeping what was ``heard`` of it."""
    length = len(logged) if heard is None else min(heard, len(logged))
    turn = _complete(step, logged[:length], "interrupted", unheard=logged[length:])
    step.effects.append(Stop(turn.turn))
    return turn


def _end(step: _Step, reason: EndReason) -> None:
    step.stop_clock()
    step.enter("closed")
    step.emit(e.InterviewEnded(reason=reason))
    # No assessor is part of this deployment yet; saying so at once beats a report that never comes.
    report = e.ReportView(code="assessor_unavailable", retryable=True)
    step.emit(e.ReportFailed(code="assessor_unavailable", retryable=True))
    step.change(status=reason, ended_at=step.at, report=report)
    step.effects.append(Store())


def _opened(step: _Step) -> OpenTurn:
    turn = step.session.open
    assert turn is not None, "the rules look for an open turn before they finish it"  # noqa: S101
    return turn


# --- the rules, one a row of the table -----------------------------------------------------------


def _wrong_state(step: _Step, received: Received) -> None:
    name = received.command.__struct_config__.tag
    raise _Refusal("wrong_state", f"{name} does not fit: the interview is {step.session.status}")


def _no_answer(_step: _Step, _received: Received) -> NoReturn:
    raise _Refusal("no_open_answer", "no answer is open; send it again when one is", retryable=True)


def _no_effect(_step: _Step, _late: Input) -> None:
    """Accept what came too late to matter."""


def _start(step: _Step, received: Received) -> None:
    command = received.command
    assert isinstance(command, c.InterviewStart)  # noqa: S101
    step.change(status="live", consent=command.consent, running_since=step.at)
    step.emit(e.InterviewStarted(at=step.at))
    step.effects.append(Store())
    step.enter("warmup")
    _ask(step, "question", "warmup")


def _record(step: _Step, received: Received) -> None:
    command = received.command
    assert isinstance(command, c.SpeechFinal)  # noqa: S101
    turn = step.session.open
    if turn is None or turn.speaker != "candidate":
        _no_answer(step, received)
    recorded = turn.record(command)
    if recorded is None:
        return
    _fits(recorded.spoken, len(recorded.segments))
    step.change(open=recorded)
    step.emit(
        e.SpeechRecorded(
            turn=turn.turn,
            utterance_id=command.utterance_id,
            revision=command.revision,
            text=command.text,
            start_ms=command.start_ms,
            end_ms=command.end_ms,
            confidence=command.confidence,
        )
    )


def _submit_early(step: _Step, received: Received) -> None:
    if step.session.rebuilt:  # its start is lost too, and may be sent by another socket
        _no_answer(step, received)
    _wrong_state(step, received)


def _submit(step: _Step, received: Received) -> None:
    command = received.command
    assert isinstance(command, c.AnswerSubmit)  # noqa: S101
    turn = _candidates_turn(step, received)
    text = turn.spoken if command.text is None else command.text
    _fits(text)
    _proceed(step, _answer(step, text, "final"))


def _cancel(step: _Step, received: Received) -> None:
    command = received.command
    assert isinstance(command, c.TurnCancel)  # noqa: S101
    turn = step.session.open
    if turn is None or command.turn != turn.turn:
        if command.turn > step.session.turn:
            raise _Refusal("wrong_state", f"turn {command.turn} has not begun")
        return  # it is finished
    if turn.speaker != "interviewer":
        raise _Refusal("wrong_state", "only the interviewer's turns can be cancelled")
    if command.attempt > turn.attempt:
        raise _Refusal("wrong_state", f"attempt {command.attempt} has not begun")
    if command.attempt == turn.attempt:
        _proceed(step, _cut(step, received.logged, command.heard))


def _hint(step: _Step, received: Received) -> None:
    session = step.session
    turn = _candidates_turn(step, received)
    if session.plan.mode != "practice":
        raise _Refusal("wrong_state", "hints are for practice interviews")
    if session.hints >= HINTS_PER_QUESTION:
        raise _Refusal("wrong_state", "no hints are left for this question")
    step.change(hints=session.hints + 1)
    _answer(step, turn.spoken, "interrupted")
    _ask(step, "hint", turn.question_id)


def _pause(step: _Step, _received: Received) -> None:
    step.stop_clock()
    step.change(status="paused")
    step.emit(e.InterviewPaused(at=step.at))
    step.effects.append(Store())


def _resume(step: _Step, _received: Received) -> None:
    session = step.session
    step.change(status="live", running_since=step.at)
    step.emit(e.InterviewResumed(at=step.at))
    step.effects.append(Store())
    if session.open is None:
        _close(step) if session.last == "reply" else _after_answer(step)


def _finish_early(step: _Step, received: Received) -> None:
    turn = step.session.open
    if turn is not None and turn.speaker == "interviewer":
        _cut(step, received.logged, None)
    elif turn is not None:
        _answer(step, turn.spoken, "interrupted")
    _end(step, "terminated" if step.session.status == "created" else "completed")


def _generated(step: _Step, finished: Finished) -> None:
    if _current(step, finished.turn, finished.attempt):
        turn = _complete(step, finished.text, finished.outcome, source=finished.source)
        _proceed(step, turn)


def _again(step: _Step, lost: Lost) -> None:
    turn = _current(step, lost.turn, lost.attempt)
    if turn is not None:
        attempt = turn.attempt + 1
        step.change(open=replace(turn, attempt=attempt))
        step.emit(e.TurnReset(turn=turn.turn, attempt=attempt, reason=lost.reason))
        step.effects.append(Run(turn.turn, attempt))


def _note(step: _Step, noted: Noted) -> None:
    if noted.code not in step.session.noticed:
        step.change(noticed=(*step.session.noticed, noted.code))
        step.emit(e.Notice(code=noted.code, message=noted.message))


def _tick(step: _Step, _ticked: Ticked) -> None:
    for code, message in _WARNINGS.items():
        if step.session.remaining(step.at) <= _warning_at(code, step.session):
            _note(step, Noted(code=code, message=message, at=step.at))


_WARNINGS: dict[NoticeCode, str] = {
    "time_low": "The interview's time is nearly over.",
    "time_up": "The planned time is over; this answer is the last.",
}


def _warning_at(code: NoticeCode, session: Session) -> int:
    """Return the milliseconds left on the clock at which a warning is due."""
    return min(TIME_LOW_MS, session.plan.duration_ms // 5) if code == "time_low" else 0


def _current(step: _Step, turn: int, attempt: int) -> OpenTurn | None:
    held = step.session.open
    if held is None or held.speaker != "interviewer":
        return None
    return held if (held.turn, held.attempt) == (turn, attempt) else None


def _candidates_turn(step: _Step, received: Received) -> OpenTurn:
    turn = step.session.open
    if turn is None or turn.speaker != "candidate":
        if turn is not None and step.session.rebuilt:
            _no_answer(step, received)
        name = received.command.__struct_config__.tag
        raise _Refusal("wrong_state", f"{name} does not fit: no answer is open")
    return turn


def _fits(text: str, segments: int = 0) -> None:
    if len(text.encode()) > LIMITS.answer_bytes:
        raise _Refusal("too_large", f"an answer holds at most {LIMITS.answer_bytes} bytes")
    if segments > SEGMENTS_PER_ANSWER:
        raise _Refusal("too_large", f"an answer holds at most {SEGMENTS_PER_ANSWER} segments")


_LIVE: tuple[Status, ...] = ("live", "disconnected")
_OVER: tuple[Status, ...] = ("completed", "abandoned", "expired", "terminated")

_ROWS: tuple[tuple[tuple[Status, ...], type, Rule], ...] = (
    (("created",), c.InterviewStart, Rule(_start, ("live",))),
    (("created",), c.SpeechFinal, Rule(_no_answer, told="`no_open_answer`")),
    (("created",), c.AnswerSubmit, Rule(_submit_early, told="`wrong_state`")),
    (("created",), c.InterviewEnd, Rule(_finish_early, ("terminated",))),
    ((*_LIVE, "paused"), c.TurnCancel, Rule(_cancel, ("completed",))),
    ((*_LIVE, "paused"), c.SpeechFinal, Rule(_record)),
    ((*_LIVE, "paused"), c.AnswerSubmit, Rule(_submit)),
    (_LIVE, c.HintRequest, Rule(_hint)),
    (_LIVE, c.InterviewPause, Rule(_pause, ("paused",))),
    (("paused",), c.InterviewResume, Rule(_resume, ("live",))),
    ((*_LIVE, "paused"), c.InterviewEnd, Rule(_finish_early, ("completed",))),
    ((*_LIVE, "paused"), Finished, Rule(_generated, ("completed",))),
    ((*_LIVE, "paused"), Lost, Rule(_again)),
    (_LIVE, Ticked, Rule(_tick)),
    (("created", *_LIVE, "paused", *_OVER), Noted, Rule(_note)),
    (_OVER, c.TurnCancel, Rule(_cancel)),
)

_COMMANDS: tuple[type, ...] = (
    c.InterviewStart,
    c.SpeechFinal,
    c.AnswerSubmit,
    c.TurnCancel,
    c.HintRequest,
    c.InterviewPause,
    c.InterviewResume,
    c.InterviewEnd,
)
_REFUSED = Rule(_wrong_state, told="`wrong_state`")
_TOO_LATE = Rule(_no_effect, told="no effect")
STATUSES: tuple[Status, ...] = ("created", *_LIVE, "paused", *_OVER)

TABLE: dict[tuple[Status, type], Rule] = {
    **{(status, kind): _REFUSED for status in STATUSES for kind in _COMMANDS},
    **{(status, kind): _TOO_LATE for status in STATUSES for kind in (Finished, Lost, Ticked)},
    **{(status, kind): rule for statuses, kind, rule in _ROWS for status in statuses},
}
"""What each input does in each status, and which statuses it may lead to besides staying."""
