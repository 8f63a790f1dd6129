"""The agenda: what comes after a turn.

    warm-up question, answer; per main question, while there is time: answer, probe, answer;
    invitation to ask, answer, reply; closing; completed.

What a probe is for, and whether there is another one, is chosen by `protocol.probing`. Who asks
back in place of an answer gets a reply too, which puts the question again; then the answer.

While the interview is paused, what was begun is finished and nothing new begins.
"""

from protocol import events as e
from protocol.effects import Store
from protocol.probing import REPLIES, asks_back, intent_of, is_due, prepared, recovers
from protocol.scalars import EndReason
from protocol.session import OpenTurn, Session
from protocol.step import Step
from protocol.turns import answer, ask, begin


def proceed(step: Step, finished: OpenTurn | None) -> None:
    """Begin what comes after the turn that was ``finished`` last."""
    match finished and finished.kind:
        case "question" | "probe" | "hint":
            begin(step, "candidate", "answer", finished and finished.question_id)
        case "reply" if finished and finished.intent:
            begin(step, "candidate", "answer", finished.question_id)
        case "closing":
            end(step, "completed")
        case _ if step.session.status == "paused":
            pass  # `interview.resume` proceeds
        case "reply":
            close(step)
        case _:
            _after_answer(step)


def go_on(step: Step) -> None:
    """Begin what waited while the interview was paused."""
    if step.session.open is None:
        close(step) if step.session.last == "reply" else _after_answer(step)


def close(step: Step) -> None:
    """Begin the interviewer's last turn."""
    step.enter("wrap_up")
    ask(step, "closing")


def end(step: Step, reason: EndReason) -> None:
    """End the interview. An answer that is open is kept as far as it was given."""
    turn = step.session.open
    if turn is not None:
        answer(step, turn.spoken, "interrupted")
    step.stop_clock(step.at)
    step.enter("closed")
    step.emit(e.InterviewEnded(reason=reason))
    step.change(status=reason, ended_at=step.at, rests_since=None)
    step.effects.append(Store())


def _after_answer(step: Step) -> None:
    session = step.session
    invited, over = session.phase == "candidate_questions", session.remaining(step.at) == 0
    back = not over and session.replies < REPLIES
    if back and asks_back(session.lacks or (), invited=invited):
        _put_again(step)
    elif invited:
        ask(step, "reply", "candidate-questions")
    elif over:
        close(step)
    elif session.question and is_due(
        session.probes,
        session.plan.probe_cap,
        recovering=session.recovering,
        lacks=session.lacks,
    ):
        _probe(step)
    elif _goes_on(session, step.at):
        step.enter("core")
        step.change(question=session.question + 1, probes=0, recovering=False, hints=0, replies=0)
        ask(step, "question", f"core-{session.question + 1}")
    else:
        step.enter("candidate_questions")
        step.change(replies=0)
        ask(step, "question", "candidate-questions")


def _put_again(step: Step) -> None:
    """Reply to who asks back with what was asked; their answer is still to come."""
    session = step.session
    question_id = f"core-{session.question}" if session.question else "warmup"
    if session.phase == "candidate_questions":
        question_id = "candidate-questions"
    step.change(replies=session.replies + 1)
    ask(step, "reply", question_id, "clarify")


def _goes_on(session: Session, at: int) -> bool:
    """Whether there is another main question, and half of the time at least that it may take.

    Behind an answer that cannot be finished its follow-up and the candidate's own questions fall
    away, and the answer is rated all the same.
    """
    half = session.planned_ms(f"core-{session.question + 1}") / 2
    return session.question < session.main_questions and session.remaining(at) >= half


def _probe(step: Step) -> None:
    """Follow up on what the last answer lacks, as far as it was read."""
    session, intent = step.session, None
    question_id = f"core-{session.question}"
    if session.lacks is not None:
        intent = intent_of(session.lacks, session.plan.mode)
        if not recovers(session.lacks):
            question = session.guide.question(question_id) if session.guide else None
            intent = prepared(question, intent)[0]
    step.change(probes=session.probes + 1, recovering=recovers(session.lacks or ()))
    ask(step, "probe", question_id, intent)
