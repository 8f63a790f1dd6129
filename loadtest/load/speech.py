"""What a simulated candidate says, and when: steps with their due times, drawn from its seed."""

import random
from collections.abc import Iterator
from typing import NamedTuple

from loadtest.load.scenario import Script
from protocol import commands as c

UTTERANCE_WORDS = 12
PAUSE_S = 0.3
"""From the last word to the end of the answer."""
_WORDS = """
I we the a team system queue cache index deadline customer first then because after before measured
changed decided asked found wrote moved split retried rolled out back over with twenty percent
faster fewer errors in two weeks naïve 日本語 trade-off and it held
""".split()  # noqa: SIM905 - prose is easier to read than a list of words


class Step(NamedTuple):
    """A command, due ``at_s`` seconds after the candidate has the word."""

    at_s: float
    command: c.Command


def answer(script: Script, draw: random.Random, number: int, *, voice: bool) -> Iterator[Step]:
    """Give the steps of answer ``number``: a pause, then words at the candidate's speed.

    Each answer, and each utterance of a spoken one, begins with a mark of its own, so that it can
    be found in the transcript.
    """
    length = max(1, round(script.words * draw.uniform(0.5, 1.5)))
    words = [draw.choice(_WORDS) for _ in range(length)]
    at_s = script.think_s * draw.uniform(0.5, 1.5)
    if not voice:
        text = f"[a{number}] {' '.join(words)}"
        at_s += length / script.words_per_second
        yield Step(at_s, c.AnswerSubmit(id=f"a{number}", text=text))
        return
    for place in range(0, length, UTTERANCE_WORDS):
        said = words[place : place + UTTERANCE_WORDS]
        yield from _utterance(script, f"a{number}-{place}", said, at_s)
        at_s += len(said) / script.words_per_second
    yield Step(at_s + PAUSE_S, c.AnswerSubmit(id=f"a{number}"))


def _utterance(script: Script, name: str, said: list[str], at_s: float) -> Iterator[Step]:
    """Give an utterance: interim texts that grow, then the final one."""
    duration_s = len(said) / script.words_per_second
    partials = int(duration_s * script.partials_per_second)
    for number in range(1, partials + 1):
        text = " ".join(said[: max(1, len(said) * number // partials)])
        yield Step(
            at_s + (number - 1) / script.partials_per_second,
            c.SpeechPartial(utterance_id=name, revision=number, text=text),
        )
    final = c.SpeechFinal(
        id=name,
        utterance_id=name,
        revision=partials + 1,
        text=f"[{name}] {' '.join(said)}",
        start_ms=int(1000 * at_s),
        end_ms=int(1000 * (at_s + duration_s)),
        confidence=0.9,
    )
    yield Step(at_s + duration_s, final)
