"""Whether an interview that is over kept everything that its candidate was promised."""

from collections import Counter
from typing import Any

from loadtest.candidate import Candidate
from protocol import commands as c
from protocol.text import sha256


def faults_of(candidate: Candidate, stored: list[dict[str, Any]]) -> list[str]:
    """Return what is wrong: lost, doubled or changed. ``stored`` are the transcript's turns."""
    return [*candidate.faults, *_turns(candidate, stored), *_commands(candidate, stored)]


def _turns(candidate: Candidate, stored: list[dict[str, Any]]) -> list[str]:
    wrong: list[str] = []
    if [turn["turn"] for turn in stored] != list(range(1, len(stored) + 1)):
        wrong.append("turns are missing or doubled")
    wrong += [f"turn {t['turn']} is corrupt" for t in stored if sha256(t["text"]) != t["sha256"]]
    seen = [(t.turn, t.text, t.sha256, t.outcome) for t in candidate.session.view.turns]
    kept = [(t["turn"], t["text"], t["sha256"], t["outcome"]) for t in stored]
    if seen != kept:
        wrong.append("what the client saw is not what is stored")
    return wrong


def _commands(candidate: Candidate, stored: list[dict[str, Any]]) -> list[str]:
    answers = [turn["text"] for turn in stored if turn["speaker"] == "candidate"]
    submitted = Counter(text for text in answers if text.startswith("<"))
    session = candidate.session
    left = set(session.unstored) - set(session.unanswered)
    wrong = [f"{name} was accepted, and never known to be stored" for name in sorted(left)]
    for name, given in candidate.given.items():
        match given.command:
            case c.AnswerSubmit(text=str(text)):
                found = submitted[text]
                replaced = False
            case c.SpeechFinal(text=text):
                found = sum(answer.count(text) for answer in answers)
                replaced = candidate.types  # an answer's own text stands for its segments
            case _:
                continue
        if found > 1:
            wrong.append(f"{name} took effect {found} times")
        if found == 0 and given.accepted and not replaced:
            wrong.append(f"{name} was accepted and is lost")
        if found and given.rejected:
            wrong.append(f"{name} was rejected ({given.rejected}) and took effect")
    return wrong
