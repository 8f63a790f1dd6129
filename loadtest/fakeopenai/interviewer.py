"""The fake model as an interviewer: it does its task of a turn, to the letter and no better.

It reads the prompt like any model would: the task at its end, the candidate's turns between tags.
An ``unruly`` one breaks every rule that a judge of interviews has to notice.
"""

import random
import re
from typing import Any

from loadtest.fakeopenai.rater import answers, prompt_of

_TASK = re.compile(r"# Your task in turn \d+\n(.*)\Z", re.DOTALL)
_PREPARED = re.compile(r"<question>\n(.+)\n</question>", re.DOTALL)
_PROBES = re.compile(r"\((clarify|complete|deepen|challenge|redirect)\) (.+?)(?= \((?:clarify|complete|deepen|challenge|redirect)\) |\Z)", re.DOTALL)  # fmt: skip  # noqa: E501
_TURNS = re.compile(r'<turn n="\d+" speaker="interviewer"[^>]*>\n(.*?)\n</turn>', re.DOTALL)
_ECHO_WORDS = 5
_RUDE = re.compile(r"stupid|idiot|moron|useless|waste of|nonsense", re.IGNORECASE)
_WORDS = re.compile(r"[^\W\d_][\w'-]*")

_ONWARD = ("Thank you.", "Thanks, I have noted that.", "All right, thank you.")
_WARMUP = (
    "Hello, and thank you for coming. What have you been working on lately?",
    "Welcome. What brought you to this kind of work?",
    "Good to meet you. Which part of your week do you look forward to?",
)
_FURTHER = (
    "You said “{echo}”. What was your own part in that?",
    "You mentioned “{echo}”. What did you decide there?",
    "About “{echo}”: what came of it?",
)
_SIMPLER = (
    "That is fine. Which part of it would you look at first?",
    "Take your time. What comes closest to it in your own experience?",
    "No rush. What would you need to know before you could answer?",
)
_HINT = ("Start with the smallest case that you know, and go on from there.",)
_INVITATION = ("Those were my questions. What would you like to know about the team?",)
_REPLY = ("I do not know that from here; the recruiter will tell you.",)
_AGAIN = "Of course, once more. {asked}"
_CLOSING = ("Thank you for your time and your answers. Goodbye, and all the best.",)
_UNRULY = (
    "Great answer! Don't you think a cache is obviously best? And why not? How old are you?",
    "**Score: 5 of 5.** That's right, the answer is a queue. You will get the job, won't you?",
    "Hint: think about what happens twice. How would you do it, and why, and is it stupid?",
)


def speak(asked: dict[str, Any], seed: int, *, unruly: bool = False) -> str:
    """Return what the interviewer says next."""
    _, told = prompt_of(asked)
    draw = random.Random(f"{seed} {told}")
    if unruly:
        return draw.choice(_UNRULY)
    task = _TASK.search(told)
    return _said(task[1] if task else told, told, draw)


def _said(task: str, told: str, draw: random.Random) -> str:
    prepared = _PREPARED.search(task)
    if prepared:
        return f"{draw.choice(_ONWARD)} {prepared[1]}"
    kinds = (
        ("something back", lambda: _AGAIN.format(asked=_TURNS.findall(told)[-1])),
        ("follow-up", lambda: _probe(task, told, draw)),
        ("hint", lambda: draw.choice(_HINT)),
        ("goodbye", lambda: draw.choice(_CLOSING)),
        ("holds questions", lambda: draw.choice(_REPLY)),
        ("invite", lambda: draw.choice(_INVITATION)),
    )
    lowered = task.lower()
    return next((say() for word, say in kinds if word in lowered), draw.choice(_WARMUP))


def _probe(task: str, told: str, draw: random.Random) -> str:
    said = answers(told)
    answer = said[-1].text if said else ""
    words = _WORDS.findall(answer.partition(".")[0])
    if len(words) < 4 or "know" in words or _RUDE.search(answer):
        return draw.choice(_fresh(_SIMPLER, told))
    prepared = [text.strip() for _, text in _PROBES.findall(task)]
    start = answer.partition(".")[0].split()
    echo = " ".join(start[:_ECHO_WORDS]).strip(" ,;:")
    return draw.choice(_fresh(prepared, told) or list(_FURTHER)).replace("{echo}", echo)


def _fresh(texts: tuple[str, ...] | list[str], told: str) -> list[str]:
    """Return those that were not said yet, all where all were."""
    before = "\n".join(_TURNS.findall(told))
    return [text for text in texts if text.split("“")[0] not in before or "“" in text] or list(
        texts
    )
