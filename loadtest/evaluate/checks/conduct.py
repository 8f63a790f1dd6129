"""Whether it was a structured interview: its order, its caps, its clock."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from loadtest.evaluate.checks.base import Catalogue, assesses, practises, stays
from loadtest.evaluate.recording import Recording, is_main
from protocol import commands as c
from protocol import events as e
from protocol.session import Turn

PHASES = ("warmup", "core", "candidate_questions", "wrap_up", "closed")
PROBE_CAP = 2
HINT_CAP = 2
FIRST_WORDS_S = 20.0
OVERTIME_MS = 120_000
"""An answer that was begun in time may be finished."""
DRIFT_MS = 2_000
AWAY_S = 27.0
"""Whoever comes back sooner may not have been missed."""
CATALOGUE = Catalogue("conduct")
_check = CATALOGUE.check


@_check("ended-well")
def ended_well(r: Recording) -> Iterator[str]:
    """The interview ends once, as completed."""
    reasons = [event.reason for event in r.events if isinstance(event, e.InterviewEnded)]
    if reasons != ["completed"]:
        yield f"it ended as {reasons or 'nothing'}"


@_check("nothing-after-the-end")
def nothing_after_the_end(r: Recording) -> Iterator[str]:
    """After the end come only ratings, the report and notices."""
    after = False
    for event in r.events:
        if after and not isinstance(
            event, e.RatingReady | e.ReportReady | e.ReportFailed | e.Notice
        ):
            yield f"{type(event).__name__} came after the end"
        after = after or isinstance(event, e.InterviewEnded)


@_check("consent-first")
def consent_first(r: Recording) -> Iterator[str]:
    """No turn begins before the candidate agreed to the notice."""
    for event in r.events:
        if isinstance(event, e.InterviewStarted):
            return
        if isinstance(event, e.TurnStarted):
            yield f"turn {event.turn} began before the interview did"


@_check("phases-in-order")
def phases_in_order(r: Recording) -> Iterator[str]:
    """Phases follow each other forwards, each entered once."""
    order = {phase: place for place, phase in enumerate(("lobby", "consent", *PHASES))}
    for one, other in pairwise(r.phases):
        if order.get(one, -1) >= order.get(other, -1):
            yield f"{other} came after {one}"


@_check("every-phase", applies=stays)
def every_phase(r: Recording) -> Iterator[str]:
    """Whoever stays goes through every phase, from the warm-up to the close."""
    for phase in PHASES:
        if phase not in r.phases:
            yield f"there was no {phase}"


@_check("turns-counted")
def turns_counted(r: Recording) -> Iterator[str]:
    """Turns are numbered from 1 without a hole."""
    numbers = [turn.turn for turn in r.turns]
    if numbers != list(range(1, len(numbers) + 1)) or not numbers:
        yield f"the turns are {numbers}"


@_check("an-answer-after-each-question")
def an_answer_after_each_question(r: Recording) -> Iterator[str]:
    """After a question, also one put again, a follow-up or a hint the candidate has the word."""
    for one, other in pairwise(r.turns):
        asks = one.kind in ("question", "probe", "hint") or _puts_again(one)
        if asks and other.kind != "answer":
            yield f"turn {other.turn} is a {other.kind} after a {one.kind}"


@_check("answers-belong-to-questions")
def answers_belong_to_questions(r: Recording) -> Iterator[str]:
    """An answer carries the name of the question that it follows."""
    for one, other in pairwise(r.turns):
        if other.kind == "answer" and other.question_id != one.question_id:
            yield f"turn {other.turn} is filed under {other.question_id}, not {one.question_id}"


@_check("begins-with-a-warm-up")
def begins_with_a_warm_up(r: Recording) -> Iterator[str]:
    """The first turn is the interviewer's easy opening question."""
    first = r.turns[0] if r.turns else None
    if first is None or (first.kind, first.question_id) != ("question", "warmup"):
        yield "the first turn is no warm-up question"


@_check("ends-with-a-closing", applies=stays)
def ends_with_a_closing(r: Recording) -> Iterator[str]:
    """The last turn is the interviewer's goodbye, and the only one."""
    closings = [turn.turn for turn in r.turns if turn.kind == "closing"]
    if not r.turns or closings != [r.turns[-1].turn]:
        yield f"goodbye was said in turns {closings} of {len(r.turns)}"


@_check("candidate-may-ask", applies=stays)
def candidate_may_ask(r: Recording) -> Iterator[str]:
    """The candidate is invited to ask, once, and gets a reply."""
    kinds = [t.kind for t in r.spoken if t.question_id == "candidate-questions"]
    if kinds.count("question") != 1 or kinds[-1] != "reply":
        yield f"questions of the candidate were met with {kinds}"


@_check("main-questions-covered", applies=stays)
def main_questions_covered(r: Recording) -> Iterator[str]:
    """All planned main questions are asked, in their order, each once."""
    asked = [turn.question_id for turn in r.main]
    planned = r.report.coverage.planned if r.report else max(1, len(asked))
    if asked != [f"core-{number}" for number in range(1, planned + 1)]:
        yield f"{planned} were planned, asked were {asked}"


@_check("competencies-covered", applies=lambda r: stays(r) and r.report is not None)
def competencies_covered(r: Recording) -> Iterator[str]:
    """Each planned competency has a main question that was asked."""
    report = r.report
    assert report is not None  # noqa: S101  # it applies
    met = {rating.competency.casefold() for rating in report.ratings}
    told = " ".join(report.notes)
    for name in report.coverage.competencies:
        if name.casefold() not in met and "could not be rated" not in told:
            yield f"nothing is said about {name}"


@_check(
    "competencies-differ",
    severity="should",
    applies=lambda r: r.report is not None and len(r.report.ratings) > 1,
)
def competencies_differ(r: Recording) -> Iterator[str]:
    """The main questions look at more than one competency."""
    assert r.report is not None  # noqa: S101  # it applies
    if len({rating.competency.casefold() for rating in r.report.ratings}) < 2:
        yield f"all are about {r.report.ratings[0].competency}"


@_check("questions-differ")
def questions_differ(r: Recording) -> Iterator[str]:
    """No main question is asked twice."""
    for text, times in Counter(t.text.casefold() for t in r.main).items():
        if times > 1:
            yield f"asked {times} times: {text[:80]}"


@_check("probe-cap")
def probe_cap(r: Recording) -> Iterator[str]:
    """A question gets no more follow-ups than the cap allows."""
    for question_id, times in Counter(turn.question_id for turn in r.probes).items():
        if times > PROBE_CAP:
            yield f"{question_id} was followed up {times} times, the cap is {PROBE_CAP}"


@_check("probes-follow-their-question")
def probes_follow_their_question(r: Recording) -> Iterator[str]:
    """A follow-up belongs to the main question that is open."""
    current: str | None = None
    for turn in r.spoken:
        if turn.kind == "question":
            current = turn.question_id
        elif turn.kind == "probe" and (turn.question_id != current or not is_main(current)):
            yield f"turn {turn.turn} follows up {turn.question_id} while {current} is open"


@_check("every-question-followed-up", severity="should", applies=stays)
def every_question_followed_up(r: Recording) -> Iterator[str]:
    """Each main question has a follow-up: what was vague gets a second chance."""
    followed = {turn.question_id for turn in r.probes}
    for turn in r.main:
        if turn.question_id not in followed:
            yield f"{turn.question_id} had none"


@_check("hint-cap")
def hint_cap(r: Recording) -> Iterator[str]:
    """A question gets two hints at most."""
    hints = Counter(turn.question_id for turn in r.turns if turn.kind == "hint")
    for question_id, times in hints.items():
        if times > HINT_CAP:
            yield f"{question_id} got {times}"


@_check("no-hints-in-an-assessment", applies=assesses)
def no_hints_in_an_assessment(r: Recording) -> Iterator[str]:
    """An assessment gives no hint, and refuses whoever asks for one."""
    yield from (f"turn {turn.turn} is a hint" for turn in r.turns if turn.kind == "hint")
    for sent in r.sent:
        if isinstance(sent.command, c.HintRequest) and sent.rejected != "wrong_state":
            yield f"a request was answered {sent.rejected or 'accepted'}"


@_check(
    "hints-in-practice",
    applies=lambda r: practises(r) and any(isinstance(s.command, c.HintRequest) for s in r.sent),
)
def hints_in_practice(r: Recording) -> Iterator[str]:
    """In practice a hint that was asked for is given."""
    asked = sum(isinstance(s.command, c.HintRequest) and s.accepted for s in r.sent)
    given = sum(turn.kind == "hint" for turn in r.turns)
    if given != asked or not given:
        yield f"{asked} were granted, {given} given"


@_check("clock-kept")
def clock_kept(r: Recording) -> Iterator[str]:
    """The interview takes no longer than was planned, but for an answer under way."""
    lasted = _lasted_ms(r)
    if lasted > r.duration_ms + OVERTIME_MS:
        yield f"it took {lasted / 60_000:.1f} minutes of {r.duration_ms / 60_000:.0f}"


@_check("clock-true", applies=lambda r: r.report is not None)
def clock_true(r: Recording) -> Iterator[str]:
    """The report's length is the interview's, without its pauses."""
    assert r.report is not None  # noqa: S101  # it applies
    off = r.report.duration_ms - (_lasted_ms(r) - _paused_ms(r))
    # What was lost while nobody was connected may or may not count.
    if off > DRIFT_MS or (off < -DRIFT_MS and not r.drops):
        yield f"it is off by {off / 1000:+.1f} s"


@_check("clock-stands-while-away", applies=lambda r: r.report is not None and r.away_s > AWAY_S)
def clock_stands_while_away(r: Recording) -> Iterator[str]:
    """Who loses the connection loses no time by it."""
    assert r.report is not None  # noqa: S101  # it applies
    counted = r.report.duration_ms - (_lasted_ms(r) - _paused_ms(r) - r.away_s * 1000)
    if counted > DRIFT_MS:
        yield f"{counted / 1000:.1f} s of {r.away_s:.0f} s were counted"


@_check("pauses-answered", applies=lambda r: any(_pauses(r)))
def pauses_answered(r: Recording) -> Iterator[str]:
    """A pause is told, and the interview goes on when it is resumed."""
    told = [type(x) for x in r.events if isinstance(x, e.InterviewPaused | e.InterviewResumed)]
    if told != [e.InterviewPaused, e.InterviewResumed] * sum(_pauses(r)):
        yield f"told were {[kind.__name__ for kind in told]}"


@_check("time-in-order")
def time_in_order(r: Recording) -> Iterator[str]:
    """Turns begin and end one after the other."""
    before = 0
    for turn in r.turns:
        if not before <= turn.started_at <= turn.ended_at:
            yield f"turn {turn.turn} runs from {turn.started_at} to {turn.ended_at}"
        before = turn.ended_at


@_check("warnings-once")
def warnings_once(r: Recording) -> Iterator[str]:
    """Each notice is given once, and that time runs low before it is up."""
    codes = [event.code for event in r.events if isinstance(event, e.Notice)]
    yield from (f"{code} was told {n} times" for code, n in Counter(codes).items() if n > 1)
    if "time_up" in codes and "time_low" not in codes[: codes.index("time_up")]:
        yield "time was up without a warning"


@_check("words-in-time")
def words_in_time(r: Recording) -> Iterator[str]:
    """The interviewer's first words come within seconds."""
    opened: dict[int, float] = {}
    speakers: dict[int, str] = {}
    for seen in r.seen:
        match seen.message:
            case e.TurnStarted(turn=turn, speaker=speaker):
                opened.setdefault(turn, seen.at)
                speakers[turn] = speaker
            case e.TurnDelta(turn=turn) if speakers.get(turn) == "interviewer" and turn in opened:
                waited = seen.at - opened.pop(turn)
                if waited > FIRST_WORDS_S:
                    yield f"turn {turn} began after {waited:.1f} s"
            case _:
                pass


@_check("interruptions-kept", applies=lambda r: bool(_cancels(r)))
def interruptions_kept(r: Recording) -> Iterator[str]:
    """An interrupted turn keeps what was heard, and the interview goes on."""
    for cancel in _cancels(r):
        turn = next((t for t in r.turns if t.turn == cancel.turn), None)
        if turn is None:
            yield f"turn {cancel.turn} is gone"
        elif turn.outcome == "interrupted" and len(turn.text) > (cancel.heard or len(turn.text)):
            yield f"turn {turn.turn} has {len(turn.text)} characters, heard were {cancel.heard}"


def _puts_again(turn: Turn) -> bool:
    """Whether a turn replies to who asked back, in place of an answer, with the question."""
    return turn.kind == "reply" and is_main(turn.question_id)


def _lasted_ms(r: Recording) -> int:
    began = next((x.at for x in r.events if isinstance(x, e.InterviewStarted)), None)
    return r.turns[-1].ended_at - began if began is not None and r.turns else 0


def _paused_ms(r: Recording) -> int:
    total, since = 0, None
    for event in r.events:
        match event:
            case e.InterviewPaused(at=at):
                since = at
            case e.InterviewResumed(at=at) if since is not None:
                total, since = total + at - since, None
            case _:
                pass
    return total


def _pauses(r: Recording) -> list[bool]:
    return [isinstance(s.command, c.InterviewPause) and s.accepted for s in r.sent]


def _cancels(r: Recording) -> list[c.TurnCancel]:
    return [s.command for s in r.sent if isinstance(s.command, c.TurnCancel) and s.accepted]
