"""Turns: how one begins, and the ways in which it ends. At most one is open."""

from protocol import events as e
from protocol.effects import Keep, Run, Stop, Store
from protocol.guide import Intent
from protocol.inputs import Received
from protocol.scalars import Kind, Outcome, Source, Speaker
from protocol.session import OpenTurn, Turn
from protocol.step import Step
from protocol.text import sha256


def ask(
    step: Step, kind: Kind, question_id: str | None = None, intent: Intent | None = None
) -> None:
    """Begin a turn of the interviewer; its words are generated elsewhere."""
    begin(step, "interviewer", kind, question_id, intent)
    step.effects.append(Run(step.session.turn, 1))


def begin(
    step: Step,
    speaker: Speaker,
    kind: Kind,
    question_id: str | None,
    intent: Intent | None = None,
) -> None:
    """Open the next turn."""
    number = step.session.turn + 1
    turn = OpenTurn(
        turn=number,
        speaker=speaker,
        kind=kind,
        question_id=question_id,
        intent=intent,
        started_at=step.at,
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


def complete(
    step: Step, text: str, outcome: Outcome, *, source: Source | None = None, unheard: str = ""
) -> OpenTurn:
    """Finish the open turn with ``text``: it leaves the session and is kept."""
    turn = step.opened
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
        confidence=turn.confidence if text == turn.spoken else None,
    )
    step.effects += (Keep(kept), Store())
    step.change(open=None, last=turn.kind)
    return turn


def answer(step: Step, text: str, outcome: Outcome) -> OpenTurn:
    """Finish the candidate's open answer: its text is an event of its own."""
    turn = step.opened
    step.change(lacks=step.lacks if text.strip() else ("answer",), silent=False)
    if text:
        step.emit(e.TurnDelta(turn=turn.turn, attempt=turn.attempt, offset=0, text=text))
    return complete(step, text, outcome)


def cut(step: Step, received: Received, heard: int | None) -> OpenTurn:
    """Finish the interviewer's open turn early, keeping what was ``heard`` of it."""
    logged = received.logged
    length = len(logged) if heard is None else min(heard, len(logged))
    turn = complete(
        step, logged[:length], "interrupted", source=received.source, unheard=logged[length:]
    )
    step.effects.append(Stop(turn.turn))
    return turn
