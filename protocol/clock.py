"""The interview's clock: what it brings, and when it stands.

It runs while the interview is live. It stands while the interview is paused, and while nobody is
there who could answer (*disconnected*): as of the last sign of life, though that is noticed later.

An absence is bounded twice. Whoever stays away for the whole grace has abandoned the interview. And
all absences together stop the clock for no longer than one grace: what is beyond it counts, so that
nobody gains time by going away again and again.

Each thing that time brings is one `_Due`: when, and what it does. `next_tick` is the first of them.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from protocol.agenda import close, end, proceed
from protocol.effects import Store
from protocol.events import Notice
from protocol.inputs import Arrived, Left, Noted, Ticked
from protocol.scalars import EndReason, NoticeCode
from protocol.session import OpenTurn, Session, Turn
from protocol.step import Refusal, Step
from protocol.turns import answer

TIME_LOW_MS = 5 * 60_000
OVERTIME_MS = 5 * 60_000
"""How long the last answer may go on when the planned time is over."""
UNSTARTED_MS = 30 * 86_400_000
"""An interview that nobody starts for so long expires."""
PAUSED_MS = 30 * 86_400_000
"""One that stays paused for so long does, too."""
SILENT_MS = 3 * 60_000
"""The least time an answer may lack its first word. Who types is silent, so it is long."""
QUIET_MS = 90_000
"""Silence behind spoken words for so long ends the answer."""

_WARNINGS: dict[NoticeCode, str] = {
    "time_low": "The interview's time is nearly over.",
    "time_up": "The planned time is over; this answer is the last.",
}


class _Due(NamedTuple):
    at: int
    apply: Callable[[Step], None]


def next_tick(session: Session) -> int | None:
    """Return the Unix time in ms at which `Ticked` changes something, or None while it cannot."""
    return min((due.at for due in _dues(session)), default=None)


def last_sign(session: Session, turns: Sequence[Turn]) -> int:
    """Return the time of the newest thing that the session itself tells of, in Unix ms."""
    opened = session.open
    known = (session.running_since, opened and opened.started_at, opened and opened.heard_at)
    return max((*(turn.ended_at for turn in turns[-1:]), *(at for at in known if at)), default=0)


def tick(step: Step, _ticked: Ticked) -> None:
    """Apply what is due, in its order; what it leads to may be due at once."""
    while True:
        due = min(_dues(step.session), key=lambda due: due.at, default=None)
        if due is None or due.at > step.at:
            return
        due.apply(step)


def note(step: Step, noted: Noted) -> None:
    """Tell the candidate something, once an interview."""
    if noted.code not in step.session.noticed:
        step.change(noticed=(*step.session.noticed, noted.code))
        step.emit(Notice(code=noted.code, message=noted.message))


def leave(step: Step, left: Left) -> None:
    """Stop the clock as of the last sign of life: nobody is there."""
    session = step.session
    since = min(step.at, max(left.since, session.running_since or 0))
    step.stop_clock(since)
    step.change(
        status="disconnected",
        rests_since=since,
        grace_ms=left.grace_ms,
        absences=session.absences + 1,
    )
    step.effects.append(Store())


def arrive(step: Step, _arrived: Arrived) -> None:
    """Let the clock run on, unless it is too late for that."""
    if _abandoned(step):
        end(step, "abandoned")
    else:
        _run_on(step)


def return_to(step: Step) -> None:
    """Let the clock run on for a command: whoever sends one is there.

    Raises:
        Refusal: it comes too late; the next tick ends the interview.
    """
    if _abandoned(step):
        raise Refusal("wrong_state", "the interview was left for too long")
    _run_on(step)


def _run_on(step: Step) -> None:
    session = step.session
    gap = max(0, step.at - (session.rests_since or 0))
    given = min(gap, max(0, session.grace_ms - session.absent_ms))
    step.change(
        status="live",
        elapsed_ms=session.elapsed_ms + gap - given,
        absent_ms=session.absent_ms + given,
        running_since=step.at,
        rests_since=None,
    )
    step.effects.append(Store())


def _abandoned(step: Step) -> bool:
    due = next_tick(step.session)
    return due is not None and due <= step.at


# --- what is due when ----------------------------------------------------------------------------


def _dues(session: Session) -> Iterator[_Due]:
    speaking = session.open is not None and session.open.speaker == "interviewer"
    match session.status:
        case "live":
            yield from _warnings(session)
            if session.open is not None and not speaking:
                yield from _patience(session, session.open)
        case "disconnected" if not speaking:
            yield _ending("abandoned", (session.rests_since or 0) + session.grace_ms)
        case "paused" if not speaking and session.rests_since is not None:
            yield _ending("expired", session.rests_since + PAUSED_MS)
        case "created":
            yield _ending("expired", session.created_at + UNSTARTED_MS)
        case _:
            pass


def _ending(reason: EndReason, at: int) -> _Due:
    return _Due(at, partial(end, reason=reason))


def _warnings(session: Session) -> Iterator[_Due]:
    for code, message in _WARNINGS.items():
        if code not in session.noticed:
            at = max(session.running_since or 0, _runs_to(session, -_warning_ms(code, session)))
            yield _Due(at, partial(note, noted=Noted(code=code, message=message, at=at)))


def _warning_ms(code: NoticeCode, session: Session) -> int:
    """Return the milliseconds left on the clock at which a warning is due."""
    return min(TIME_LOW_MS, session.plan.duration_ms // 5) if code == "time_low" else 0


def _patience(session: Session, turn: OpenTurn) -> Iterator[_Due]:
    """Return when an open answer has been waited for long enough."""
    yield _Due(_runs_to(session, OVERTIME_MS), _cut_short)
    heard = max(turn.started_at, turn.heard_at, session.running_since or 0)
    yield _Due(heard + (QUIET_MS if turn.segments else _thinking_ms(session, turn)), _take)


def _thinking_ms(session: Session, turn: OpenTurn) -> int:
    """Return how long an answer may be waited for: as long as its question was given."""
    return max(SILENT_MS, session.planned_ms(turn.question_id))


def _take(step: Step) -> None:
    """Take what was said for the answer, or its absence for one, and go on with the agenda."""
    turn = step.opened
    finished = answer(step, turn.spoken, "final" if turn.segments else "interrupted")
    step.change(silent=not turn.segments)
    proceed(step, finished)


def _cut_short(step: Step) -> None:
    turn = step.opened
    answer(step, turn.spoken, "interrupted")
    close(step)


def _runs_to(session: Session, beyond_ms: int) -> int:
    """Return when the clock shows the planned duration and ``beyond_ms`` more."""
    left = session.plan.duration_ms + beyond_ms - session.elapsed_ms
    return (session.running_since or 0) + left
