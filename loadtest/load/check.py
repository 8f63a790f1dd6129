"""Whether a stored transcript keeps what its candidate saw and was promised."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from loadtest.stamps import MARK, STAMP_LENGTH, lack_of
from protocol import commands as c
from protocol import events as e
from protocol.text import sha256

_STAMP = re.compile(rf"{MARK}[0-9a-f]{{8}}")
LONGEST = 4_000
"""Code points. A longer reply is cut by viva, as it is by default."""


class Fault(NamedTuple):
    """What is wrong: the figure that counts it, and a sentence."""

    figure: str
    told: str


class Seen:
    """The turns that a candidate saw to their end, as they were when they ended.

    A snapshot takes the place of what was seen before it; what was stored by then must not change.
    """

    def __init__(self) -> None:
        self._turns: dict[int, tuple[int, e.TurnView]] = {}

    def note(self, turn: e.TurnView, seq: int) -> None:
        """Take a turn, and the number of the event that ended it."""
        self._turns[turn.turn] = (seq, turn)

    def forget(self, stored: int) -> None:
        """Forget what may be gone: turns that ended behind what is known to be stored."""
        self._turns = {n: held for n, held in self._turns.items() if held[0] <= stored}

    def turns(self, view: Sequence[e.TurnView]) -> list[e.TurnView]:
        """Return them, and those of a view that a snapshot told of."""
        known = {turn.turn: turn for turn in view} | {n: t for n, (_, t) in self._turns.items()}
        return list(known.values())


def faults(
    seen: Sequence[e.TurnView],
    accepted: Mapping[str, c.DurableCommand],
    stored: Sequence[Mapping[str, Any]],
) -> Iterator[Fault]:
    """Give what is wrong with ``stored``, the turns of the transcript.

    ``seen`` are the turns that the candidate saw to their end and that are known to be stored.
    """
    numbers = [turn["turn"] for turn in stored]
    if numbers != list(range(1, len(stored) + 1)):
        yield Fault("corrupt", f"the transcript has turns {numbers}")
    for turn in stored:
        if sha256(turn["text"]) != turn["sha256"]:
            yield Fault("corrupt", f"turn {turn['turn']} is not what its digest says")
        lack = _lack(turn)
        if lack:
            yield Fault("lost", f"turn {turn['turn']} {lack}")
    kept = {turn["turn"]: turn for turn in stored}
    for turn in seen:
        found = kept.get(turn.turn)
        if found is None:
            yield Fault("lost", f"turn {turn.turn} was seen and stored, and is not there")
        elif (found["text"], found["outcome"]) != (turn.text, turn.outcome):
            yield Fault("corrupt", f"turn {turn.turn} is not what was seen")
    said = [turn for turn in stored if turn["speaker"] == "candidate"]
    missed = list(_answers([turn["text"] for turn in said], accepted))
    yield from missed
    given = set(_given(accepted))
    for turn in said if not missed else ():
        if turn["outcome"] == "final" and turn["text"] not in given:
            yield Fault("corrupt", f"turn {turn['turn']} is no answer that was given")


def _lack(turn: Mapping[str, Any]) -> str:
    """Tell what the provider sent and the turn lacks, where the fake one spoke all of it."""
    text = turn["text"]
    spoken = turn["speaker"] == "interviewer" and turn["outcome"] == "final"
    if not spoken or _STAMP.search(text) is None:
        return ""
    if len(text) <= LONGEST - 2 * STAMP_LENGTH:
        return lack_of(text)
    return lack_of(text[: text.rindex(MARK)].rstrip(), cut=True)  # it may end amid a stamp


def _given(accepted: Mapping[str, c.DurableCommand]) -> Iterator[str]:
    """Give the answers as they are to stand: typed, or what was heard, by its time."""
    finals = [given for given in accepted.values() if isinstance(given, c.SpeechFinal)]
    finals.sort(key=lambda final: math.inf if final.start_ms is None else final.start_ms)
    for name, given in accepted.items():
        if not isinstance(given, c.AnswerSubmit):
            continue
        if given.text is not None:
            yield given.text
            continue
        yield " ".join(final.text for final in finals if final.id.partition("-")[0] == name)


def _answers(answers: Sequence[str], accepted: Mapping[str, c.DurableCommand]) -> Iterator[Fault]:
    """Every accepted answer that has been submitted stands in the transcript, once."""
    submitted = {name for name, given in accepted.items() if isinstance(given, c.AnswerSubmit)}
    for name, given in accepted.items():
        match given:
            case c.AnswerSubmit(text=str(text)):
                found = answers.count(text)
            case c.SpeechFinal(text=text) if name.partition("-")[0] in submitted:
                found = sum(answer.count(text) for answer in answers)
            case _:
                continue
        if found == 0:
            yield Fault("lost", f"{name} was accepted, and is not in the transcript")
        elif found > 1:
            yield Fault("doubled", f"{name} is in the transcript {found} times")
