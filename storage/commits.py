"""From a transition to the commit that makes it durable."""

import msgspec

from protocol.codec import event_body
from protocol.effects import Emit, Keep, Reject, Run, Stop, Store
from protocol.events import TurnReset, TurnStarted
from protocol.machine import Arrived, Input, Left, Lost, Ticked, Transition, next_tick
from protocol.session import Session
from storage.given import changing_text
from storage.live import ANY_ORDINAL, IDLE_MS, Commit, LeaseChange, Presence, State


def commit_of(
    before: State,
    done: Transition,
    happened: Input,
    *,
    now: int,
    fence: str = "",
    ordinal: int = ANY_ORDINAL,
    seen: int = 0,
    idle_ms: int = IDLE_MS,
) -> Commit:
    """Return the commit that makes a transition from ``before`` durable. ``now`` in Unix ms."""
    events: list[str] = []
    turns: list[tuple[str, str]] = []
    opens, kept, run, stop, store = 0, False, None, False, False
    for effect in done.effects:
        match effect:
            case Emit(event):
                events.append(event_body(event).decode())
                if isinstance(event, TurnStarted | TurnReset):
                    opens = len(events)
            case Keep(turn):
                turns.append((str(turn.turn), msgspec.json.encode(turn).decode()))
                kept = kept or turn.speaker == "interviewer"
            case Run():
                run = effect
            case Stop():
                stop = True
            case Store():
                store = True
            case Reject():
                pass
    again = isinstance(happened, Lost)
    lease: LeaseChange = "idle" if kept or stop else ""
    if run is not None:
        lease = "again" if again else "run"
    changed = done.session is not before.session
    return Commit(
        id=done.session.interview_id,
        version=before.version,
        head=str(before.head),
        kind="cancel" if stop else "finish" if fence or _adds_little(done, happened) else "ingest",
        fence=fence,
        ordinal=ordinal,
        session=changing_text(done.session) if changed else "",
        tick=timer_of(done.session, now, idle_ms),
        opens=opens,
        lease=lease,
        running=f"{run.turn}:{run.attempt}" if run else "",
        presence=presence_of(done.session),
        seen=seen,
        store=store,
        events=tuple(events),
        turns=tuple(turns),
    )


def _adds_little(done: Transition, happened: Input) -> bool:
    """Whether a full Redis is no reason to refuse it: who comes back shall be let in.

    What time brings is so, too, unless it asks for words: they would not be taken.
    """
    asks = any(isinstance(effect, Run) for effect in done.effects)
    return isinstance(happened, Arrived | Left | Ticked) and not asks


def presence_of(session: Session) -> Presence:
    """Return whether somebody has to be there."""
    match session.status:
        case "live":
            return "here"
        case "disconnected":
            return "away"
        case _:
            return ""


def timer_of(session: Session, now: int, idle_ms: int = IDLE_MS) -> int:
    """Return when the sweeper shall look at the interview next, in Unix ms."""
    tick = next_tick(session)
    rest = now + idle_ms
    return rest if tick is None else min(tick, rest)
