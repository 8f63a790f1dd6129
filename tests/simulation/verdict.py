"""What must hold at the end of every simulated interview, whatever happened to it."""

from collections import Counter

from protocol import commands as c
from protocol.session import Turn
from protocol.text import sha256
from storage.live import Restore
from tests.simulation.candidate import Candidate


def faults_of(candidate: Candidate, stored: Restore) -> list[str]:
    """Return what is wrong with an interview that is over."""
    return [
        *candidate.faults,
        *_turns(candidate, stored),
        *_commands(candidate, stored),
    ]


def _turns(candidate: Candidate, stored: Restore) -> list[str]:
    wrong: list[str] = []
    if stored.session.status != "completed":
        wrong.append(f"it is stored as {stored.session.status}")
    if [turn.turn for turn in stored.turns] != list(range(1, stored.session.turn + 1)):
        wrong.append("turns are missing or doubled")
    wrong += [f"turn {t.turn} is corrupt" for t in stored.turns if sha256(t.text) != t.sha256]
    wrong += [
        f"nobody spoke turn {turn.turn}"
        for turn in stored.turns
        if (turn.source is None) == (turn.speaker == "interviewer")
    ]
    seen = [(t.turn, t.text, t.sha256, t.outcome) for t in candidate.session.view.turns]
    if seen != [(t.turn, t.text, t.sha256, t.outcome) for t in stored.turns]:
        wrong.append("the client's transcript is not the stored one")
    return wrong


def _commands(candidate: Candidate, stored: Restore) -> list[str]:
    wrong: list[str] = []
    accepted = set(candidate.session.unstored) - set(candidate.session.unanswered)
    wrong += [f"{name} was accepted, and never known to be stored" for name in sorted(accepted)]
    places = Counter(_texts(stored.turns))
    for name, said in candidate.said.items():
        match said.command:
            case c.AnswerSubmit(text=str(text)):
                found = places[text]
            case c.SpeechFinal(text=text):
                found = sum(text in turn.text for turn in stored.turns)
            case _:
                continue
        if found > 1:
            wrong.append(f"{name} took effect {found} times")
        if found == 0 and said.accepted and not _replaced(candidate, name, stored):
            wrong.append(f"{name} was accepted and is lost")
        if found and said.rejected:
            wrong.append(f"{name} was rejected ({said.rejected}) and took effect")
    return wrong


def _texts(turns: tuple[Turn, ...]) -> list[str]:
    return [turn.text for turn in turns if turn.speaker == "candidate"]


def _replaced(candidate: Candidate, name: str, stored: Restore) -> bool:
    """Whether a segment is rightly absent: by a later revision, or by an answer's own text."""
    command, turn_of = candidate.said[name].command, candidate.turn_of
    if not isinstance(command, c.SpeechFinal):
        return False
    turn = turn_of.get(command.text)
    later = any(
        isinstance(other.command, c.SpeechFinal)
        and other.command.utterance_id == command.utterance_id
        and other.command.revision > command.revision
        and turn in (None, turn_of.get(other.command.text, turn))
        for other in candidate.said.values()
    )
    return later or any(
        kept.text.startswith("<") and turn in (None, kept.turn) for kept in stored.turns
    )
