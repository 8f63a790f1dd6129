"""The interview as a pure function: ``transition(session, input) -> (session, effects)``.

What may follow what is one table, at the end of this file. An interview is *created*, *live*,
*disconnected*, *paused* or over, and while it is not over at most one turn is open. What comes
after a turn is told by `protocol.agenda`, what time brings by `protocol.clock`.

A candidate may interrupt the interviewer (what was heard stays), ask for a hint in practice mode
(the answer so far is kept as a turn of its own), pause, resume and end at any time. While nobody is
there who could answer, the clock stands; a command shows that somebody is.

The interviewer's words are generated elsewhere: the machine asks for them (`Run`) and is told how
that went (`Finished`, `Lost`). It reads no clock, every input carries its time; so a transition can
be retried on any instance, replayed, and tested by the million.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

import msgspec
from msgspec.structs import replace

from protocol import commands as c
from protocol import events as e
from protocol.agenda import end, go_on, proceed
from protocol.clock import arrive, leave, next_tick, note, return_to, tick
from protocol.codec import event_body
from protocol.effects import Run, Store
from protocol.inputs import (
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
)
from protocol.limits import LIMITS, RECORDED_BYTES, SEGMENTS_PER_ANSWER, UTTERANCE_IDS_BYTES
from protocol.scalars import Status
from protocol.session import OpenTurn, Session
from protocol.step import Refusal, Step, Transition
from protocol.turns import answer, ask, complete, cut

__all__ = [
    "STATUSES",
    "TABLE",
    "Arrived",
    "Finished",
    "Input",
    "Left",
    "Lost",
    "Noted",
    "Rated",
    "Received",
    "Reported",
    "Rule",
    "Speaking",
    "Ticked",
    "Transition",
    "interrupts",
    "next_tick",
    "transition",
]

HINTS_PER_QUESTION = 2


class Rule(NamedTuple):
    """What an input does in a status, the statuses it may lead to, and how the docs put it.

    ``stays``: the status may stay what it is.
    """

    apply: Callable[[Step, Any], None]
    leads_to: tuple[Status, ...] = ()
    told: str = "applied"
    stays: bool = True


def transition(session: Session, happened: Input) -> Transition:
    """Apply one input to the interview.

    A command that does not fit yields the unchanged session and one `Reject`. An input that came
    too late (a turn that ended otherwise, a notice already given) yields no effects at all.
    """
    key = type(happened.command) if isinstance(happened, Received) else type(happened)
    rule = TABLE[session.status, key]
    lacks = happened.lacks if isinstance(happened, Received | Ticked) else None
    step = Step(session, happened.at, lacks)
    try:
        rule.apply(step, happened)
    except Refusal as refusal:
        return Transition(session, (refusal.reject,))
    return Transition(step.session, tuple(step.effects))


def interrupts(session: Session, command: c.DurableCommand) -> bool:
    """Whether ``command`` cuts the interviewer's open turn, so that its logged text is needed.

    An answer does, if it was being typed while silence was taken for it: nothing of it is lost. One
    that names its turn does not: its sender learns that it was late.
    """
    turn = session.open
    if turn is None or turn.speaker != "interviewer":
        return False
    late = isinstance(command, c.AnswerSubmit) and bool(command.text) and command.turn is None
    return isinstance(command, c.TurnCancel | c.InterviewEnd) or (
        late and session.silent and turn.kind == "probe"
    )


# --- the rules, one a row of the table -----------------------------------------------------------


def _wrong_state(step: Step, received: Received) -> None:
    name = received.command.__struct_config__.tag
    raise Refusal("wrong_state", f"{name} does not fit: the interview is {step.session.status}")


def _no_answer(_step: Step, _received: Received) -> NoReturn:
    raise Refusal("no_open_answer", "no answer is open; send it again when one is", retryable=True)


def _no_effect(_step: Step, _late: Input) -> None:
    """Accept what came too late to matter."""


def _start(step: Step, received: Received) -> None:
    command = received.command
    assert isinstance(command, c.InterviewStart)  # noqa: S101
    step.change(status="live", consent=command.consent, running_since=step.at)
    step.emit(e.InterviewStarted(at=step.at))
    step.effects.append(Store())
    step.enter("warmup")
    ask(step, "question", "warmup")


def _record(step: Step, received: Received) -> None:
    command = received.command
    assert isinstance(command, c.SpeechFinal)  # noqa: S101
    turn = _open_answer(step, received)
    if turn is None:
        _no_answer(step, received)
    recorded = turn.record(command)
    if recorded is None:
        return
    event = e.SpeechRecorded(
        turn=turn.turn,
        utterance_id=command.utterance_id,
        revision=command.revision,
        text=command.text,
        start_ms=command.start_ms,
        end_ms=command.end_ms,
        confidence=command.confidence,
    )
    size = turn.recorded_bytes + len(event_body(event))
    _fits(recorded.spoken, [segment.utterance_id for segment in recorded.segments], size)
    heard_at = max(turn.heard_at, step.at)
    step.change(open=replace(recorded, heard_at=heard_at, recorded_bytes=size))
    step.emit(event)


def _hear(step: Step, _speaking: Speaking) -> None:
    """Wait for the end of what is being said or typed: it is no silence, and nothing to be told."""
    turn = step.session.open
    if turn is not None and turn.speaker == "candidate":
        step.change(open=replace(turn, heard_at=max(turn.heard_at, step.at)))


def _answer_early(step: Step, received: Received) -> None:
    _open_answer(step, received)
    if step.session.rebuilt:  # its start is lost too, and may be sent by another socket
        _no_answer(step, received)
    _wrong_state(step, received)


def _submit(step: Step, received: Received) -> None:
    command = received.command
    assert isinstance(command, c.AnswerSubmit)  # noqa: S101
    if interrupts(step.session, command):
        proceed(step, cut(step, received, None))
    turn = _candidates_turn(step, received)
    text = command.text or turn.spoken
    _fits(text)
    proceed(step, answer(step, text, "final"))


def _cancel(step: Step, received: Received) -> None:
    command = received.command
    assert isinstance(command, c.TurnCancel)  # noqa: S101
    turn = step.session.open
    if turn is None or command.turn != turn.turn:
        if command.turn > step.session.turn:
            raise Refusal("wrong_state", f"turn {command.turn} has not begun")
        return  # it is finished
    if turn.speaker != "interviewer":
        raise Refusal("wrong_state", "only the interviewer's turns can be cancelled")
    if command.attempt > turn.attempt:
        raise Refusal("wrong_state", f"attempt {command.attempt} has not begun")
    if command.attempt == turn.attempt:
        proceed(step, cut(step, received, command.heard))


def _hint(step: Step, received: Received) -> None:
    session = step.session
    turn = _candidates_turn(step, received)
    if session.plan.mode != "practice":
        raise Refusal("wrong_state", "hints are for practice interviews")
    if session.hints >= HINTS_PER_QUESTION:
        raise Refusal("wrong_state", "no hints are left for this question")
    step.change(hints=session.hints + 1)
    answer(step, turn.spoken, "interrupted")
    ask(step, "hint", turn.question_id)


def _pause(step: Step, _received: Received) -> None:
    step.stop_clock(step.at)
    step.change(status="paused", rests_since=step.at)
    step.emit(e.InterviewPaused(at=step.at))
    step.effects.append(Store())


def _resume(step: Step, _received: Received) -> None:
    step.change(status="live", running_since=step.at, rests_since=None)
    step.emit(e.InterviewResumed(at=step.at))
    step.effects.append(Store())
    go_on(step)


def _finish_early(step: Step, received: Received) -> None:
    turn = step.session.open
    if turn is not None and turn.speaker == "interviewer":
        cut(step, received, None)
    end(step, "terminated" if step.session.status == "created" else "completed")


def _generated(step: Step, finished: Finished) -> None:
    if _current(step, finished.turn, finished.attempt):
        turn = complete(step, finished.text, finished.outcome, source=finished.source)
        proceed(step, turn)


def _again(step: Step, lost: Lost) -> None:
    turn = _current(step, lost.turn, lost.attempt)
    if turn is not None:
        attempt = turn.attempt + 1
        step.change(open=replace(turn, attempt=attempt))
        step.emit(e.TurnReset(turn=turn.turn, attempt=attempt, reason=lost.reason))
        step.effects.append(Run(turn.turn, attempt))


def _rate(step: Step, rated: Rated) -> None:
    session = step.session
    if rated.question_id in session.rated:
        return
    step.change(rated=(*session.rated, rated.question_id))
    if session.plan.mode == "practice":
        step.emit(e.RatingReady(turn=rated.turn, ratings=list(rated.ratings)))
    step.effects.append(Store())


def _report(step: Step, reported: Reported) -> None:
    view = e.ReportView(
        report_id=reported.report_id or None,
        code=reported.code or None,
        retryable=reported.retryable,
    )
    if view == step.session.report:
        return
    step.change(report=view)
    if reported.report_id:
        step.emit(e.ReportReady(report_id=reported.report_id))
    else:
        step.emit(e.ReportFailed(code=reported.code, retryable=reported.retryable))
    step.effects.append(Store())


def _current(step: Step, turn: int, attempt: int) -> OpenTurn | None:
    held = step.session.open
    if held is None or held.speaker != "interviewer":
        return None
    return held if (held.turn, held.attempt) == (turn, attempt) else None


def _open_answer(step: Step, received: Received) -> OpenTurn | None:
    """Return the answer that is open: no other one, where the command names the turn it is for."""
    command = received.command
    assert isinstance(command, c.SpeechFinal | c.AnswerSubmit | c.HintRequest)  # noqa: S101
    held, named = step.session.open, command.turn
    turn = held if held is not None and held.speaker == "candidate" else None
    if named is None or (turn is not None and named == turn.turn):
        return turn
    if named > step.session.turn:
        _no_answer(step, received)
    raise Refusal("wrong_state", f"turn {named} is not the open answer")


def _candidates_turn(step: Step, received: Received) -> OpenTurn:
    turn = _open_answer(step, received)
    if turn is None:
        if step.session.open is not None and step.session.rebuilt:
            _no_answer(step, received)
        name = received.command.__struct_config__.tag
        raise Refusal("wrong_state", f"{name} does not fit: no answer is open")
    return turn


def _fits(text: str, utterance_ids: Sequence[str] = (), recorded_bytes: int = 0) -> None:
    if len(text.encode()) > LIMITS.answer_bytes:
        raise Refusal("too_large", f"an answer holds at most {LIMITS.answer_bytes} bytes")
    if len(utterance_ids) > SEGMENTS_PER_ANSWER:
        raise Refusal("too_large", f"an answer holds at most {SEGMENTS_PER_ANSWER} segments")
    if len(msgspec.json.encode(utterance_ids)) > UTTERANCE_IDS_BYTES:
        raise Refusal(
            "too_large", f"utterance ids take at most {UTTERANCE_IDS_BYTES} bytes an answer"
        )
    if recorded_bytes > RECORDED_BYTES:
        raise Refusal(
            "too_large", f"recorded speech takes at most {RECORDED_BYTES} bytes an answer"
        )


def _present(rule: Rule) -> Rule:
    """Return what a command does while the interview is disconnected: its sender is there."""

    def apply(step: Step, received: Received) -> None:
        return_to(step)
        rule.apply(step, received)

    return Rule(apply, (*(("live",) if rule.stays else ()), *rule.leads_to), rule.told)


_OVER: tuple[Status, ...] = ("completed", "abandoned", "expired", "terminated")
_TALKING: tuple[Status, ...] = ("live", "disconnected", "paused")

_ROWS: tuple[tuple[tuple[Status, ...], type, Rule], ...] = (
    (("created",), c.InterviewStart, Rule(_start, ("live",))),
    (("created",), c.SpeechFinal, Rule(_no_answer, told="`no_open_answer`")),
    (("created",), c.AnswerSubmit, Rule(_answer_early, told="`wrong_state`")),
    (("created",), c.HintRequest, Rule(_answer_early, told="`wrong_state`")),
    (("created",), c.InterviewEnd, Rule(_finish_early, ("terminated",))),
    (("live", "paused"), c.TurnCancel, Rule(_cancel, ("completed",))),
    (("live", "paused"), c.SpeechFinal, Rule(_record)),
    (("live", "paused"), c.AnswerSubmit, Rule(_submit)),
    (("live",), c.HintRequest, Rule(_hint)),
    (("live",), c.InterviewPause, Rule(_pause, ("paused",), stays=False)),
    (("paused",), c.InterviewResume, Rule(_resume, ("live",))),
    (("live", "paused"), c.InterviewEnd, Rule(_finish_early, ("completed",), stays=False)),
    (("live",), Speaking, Rule(_hear)),
    (_TALKING, Finished, Rule(_generated, ("completed",))),
    (_TALKING, Lost, Rule(_again)),
    (("live",), Left, Rule(leave, ("disconnected",))),
    (("disconnected",), Arrived, Rule(arrive, ("live", "abandoned"))),
    (("live",), Ticked, Rule(tick)),
    (("created", "paused"), Ticked, Rule(tick, ("expired",))),
    (("disconnected",), Ticked, Rule(tick, ("abandoned",))),
    (("created", *_TALKING, *_OVER), Noted, Rule(note)),
    ((*_TALKING, *_OVER), Rated, Rule(_rate)),
    (_OVER, Reported, Rule(_report)),
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
_OCCURRENCES: tuple[type, ...] = (
    Speaking,
    Finished,
    Lost,
    Ticked,
    Left,
    Arrived,
    Rated,
    Reported,
)
_REFUSED = Rule(_wrong_state, told="`wrong_state`")
_TOO_LATE = Rule(_no_effect, told="no effect")
STATUSES: tuple[Status, ...] = ("created", *_TALKING, *_OVER)

_LIVE = {kind: rule for statuses, kind, rule in _ROWS for status in statuses if status == "live"}

TABLE: dict[tuple[Status, type], Rule] = {
    **{(status, kind): _REFUSED for status in STATUSES for kind in _COMMANDS},
    **{(status, kind): _TOO_LATE for status in STATUSES for kind in _OCCURRENCES},
    **{(status, kind): rule for statuses, kind, rule in _ROWS for status in statuses},
    **{("disconnected", kind): _present(_LIVE[kind]) for kind in _COMMANDS if kind in _LIVE},
}
"""What each input does in each status, and which statuses it may lead to besides staying."""
