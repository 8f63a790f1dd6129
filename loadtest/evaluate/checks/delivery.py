"""Whether everything that was said arrived, once, in order, and is kept as it was."""

from collections.abc import Iterator

from loadtest.evaluate.checks.base import Catalogue
from loadtest.evaluate.recording import Recording
from protocol import commands as c
from protocol import events as e
from protocol.closes import Close, may_reconnect
from protocol.ids import parse_event_id
from protocol.text import sha256

CATALOGUE = Catalogue("delivery")
_check = CATALOGUE.check
LONGEST_GAP_S = 45.0


@_check("no-gap-in-the-log")
def no_gap_in_the_log(r: Recording) -> Iterator[str]:
    """Events are numbered without a hole, over all connections."""
    held = 0
    for event in r.events:
        seq = parse_event_id(event.id).seq
        first = event.first if isinstance(event, e.TurnDelta) and event.first else seq
        if held and first != held + 1:
            yield f"{first} came after {held}"
        held = seq


@_check("nothing-twice-on-a-socket")
def nothing_twice_on_a_socket(r: Recording) -> Iterator[str]:
    """One socket never sends an event twice."""
    newest: dict[int, int] = {}
    for seen in r.seen:
        if isinstance(seen.message, e.Event) and seen.message.id:
            seq = parse_event_id(seen.message.id).seq
            if seq <= newest.get(seen.connection, 0):
                yield f"event {seq} came again"
            newest[seen.connection] = seq


@_check("deltas-join")
def deltas_join(r: Recording) -> Iterator[str]:
    """Each delta begins where the one before it ended."""
    length: dict[tuple[int, int], int] = {}
    for event in r.events:
        if isinstance(event, e.TurnDelta):
            turn = (event.turn, event.attempt)
            if event.offset != length.get(turn, 0):
                yield f"turn {event.turn} goes on at {event.offset}, not {length.get(turn, 0)}"
            length[turn] = event.offset + len(event.text)


@_check("deltas-make-the-turn")
def deltas_make_the_turn(r: Recording) -> Iterator[str]:
    """The deltas of a turn are its stored text."""
    texts: dict[int, str] = {}
    for event in r.events:
        match event:
            case e.TurnStarted() | e.TurnReset():
                texts[event.turn] = ""
            case e.TurnDelta():
                texts[event.turn] = texts.get(event.turn, "") + event.text
            case e.TurnCompleted():
                texts[event.turn] = texts.get(event.turn, "")[: event.length]
            case _:
                pass
    for turn in r.turns:
        if texts.get(turn.turn, turn.text) != turn.text:
            yield f"turn {turn.turn} was heard otherwise"


@_check("digest-of-the-transcript")
def digest_of_the_transcript(r: Recording) -> Iterator[str]:
    """Each stored turn has the digest of its text."""
    for turn in r.turns:
        if sha256(turn.text) != turn.sha256:
            yield f"turn {turn.turn} has another"


@_check("digest-as-told")
def digest_as_told(r: Recording) -> Iterator[str]:
    """The stored digest is the one that the client was told."""
    told = {x.turn: (x.sha256, x.outcome) for x in r.events if isinstance(x, e.TurnCompleted)}
    for turn in r.turns:
        if told.get(turn.turn, (turn.sha256, turn.outcome)) != (turn.sha256, turn.outcome):
            yield f"turn {turn.turn} was told otherwise"


@_check("nothing-lost")
def nothing_lost(r: Recording) -> Iterator[str]:
    """Every turn that a client saw completed is stored, and no other."""
    told = {x.turn for x in r.events if isinstance(x, e.TurnCompleted)}
    stored = {turn.turn for turn in r.turns}
    if told != stored:
        yield f"told and not stored: {sorted(told - stored)}, the reverse: {sorted(stored - told)}"


@_check("answers-as-given")
def answers_as_given(r: Recording) -> Iterator[str]:
    """What the candidate gave stands in the transcript, to the letter, once."""
    kept = [turn.text for turn in r.answers]
    for sent in r.sent:
        match sent.command:
            case c.AnswerSubmit(text=str(text)) if sent.accepted and text:
                if kept.count(text) < 1:
                    yield f"{sent.command.id} is not there"
            case c.SpeechFinal(text=text) if sent.accepted:
                if sum(text in answer for answer in kept) < 1:
                    yield f"{sent.command.id} is not there"
            case _:
                pass


@_check("nothing-put-into-the-mouth")
def nothing_put_into_the_mouth(r: Recording) -> Iterator[str]:
    """The candidate's stored turns hold nothing that the candidate did not give."""
    given = (
        s.command.text for s in r.sent if isinstance(s.command, c.AnswerSubmit | c.SpeechFinal)
    )
    whole = " ".join(text for text in given if text)
    for turn in r.answers:
        if turn.text not in whole:
            yield f"turn {turn.turn} holds something else"


@_check("commands-answered")
def commands_answered(r: Recording) -> Iterator[str]:
    """Every command was accepted or rejected."""
    for sent in r.sent:
        if not sent.accepted and not sent.rejected:
            yield f"{sent.command.id} has no answer"


@_check("no-fault-told")
def no_fault_told(r: Recording) -> Iterator[str]:
    """The client was never misled, turned away or told of an error."""
    yield from r.faults


@_check("closed-as-over")
def closed_as_over(r: Recording) -> Iterator[str]:
    """The last socket was closed because the interview is over."""
    if not r.closes or r.closes[-1] != Close.OVER:
        yield f"it was closed with {r.closes[-1] if r.closes else 'nothing'}"


@_check("connections-held")
def connections_held(r: Recording) -> Iterator[str]:
    """No socket broke that the candidate did not drop."""
    broken = [code for code in r.closes[:-1] if may_reconnect(code) and code != Close.DRAINING]
    if len(broken) > r.drops:
        yield f"{len(broken)} broke, {r.drops} were dropped"


@_check("resumed-after-a-drop", applies=lambda r: r.drops > 0)
def resumed_after_a_drop(r: Recording) -> Iterator[str]:
    """Whoever comes back is given what came in between, without a new start."""
    welcomes = r.of(e.Welcome)
    again = [welcome.recovered for welcome in welcomes[1:]]
    if len(again) < r.drops or not all(again):
        yield f"{r.drops} drops, recovered: {again}"


@_check("no-turn-begun-anew", severity="should")
def no_turn_begun_anew(r: Recording) -> Iterator[str]:
    """No turn had to be begun again."""
    yield from (f"turn {x.turn} ({x.reason})" for x in r.events if isinstance(x, e.TurnReset))


@_check("stored-in-time")
def stored_in_time(r: Recording) -> Iterator[str]:
    """The client learns that all of it is stored, the end included."""
    ended = r.ended
    covered = [parse_event_id(message.id).seq for message in r.of(e.Stored)]
    if ended is not None and max(covered, default=0) < parse_event_id(ended.id).seq:
        yield f"stored is told up to {max(covered, default=0)} of {ended.id}"


@_check("transcript-names-its-interview")
def transcript_names_its_interview(r: Recording) -> Iterator[str]:
    """The API shows the interview as over, with the plan that was asked for."""
    if r.interview.get("status") != "completed":
        yield f"its status is {r.interview.get('status')}"
    for name, value in r.plan.items():
        if r.interview.get(name) != value:
            yield f"{name} is not what was asked for"
