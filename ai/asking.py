"""Whether somebody asks back in place of an answer: to hear the question again, or what is meant.

Who does has not answered yet: the question is put again, and nothing of it is rated. So only what
is plainly no answer counts, a request in so many words, or questions with hardly a word beside
them. In doubt it is an answer, which may well hold a question.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from importlib import resources
from typing import Literal

import msgspec
from msgspec import Struct

from ai.bank.answers import first_hits
from ai.bank.entries import Cue
from protocol.guide import GuideQuestion

REQUEST_WORDS = 30
"""A longer sentence tells of a request that somebody made."""
BESIDE_REQUEST = 12
BESIDE_QUESTIONS = 6
"""More words than these beside what is asked are an answer."""
BEFORE_REQUEST = 8
"""A request stands near the beginning of its sentence."""
BARE_WORDS = 12
"""More are no bare request."""
ALONE_WORDS = 6
"""Who says no more than that, and tells of a lost connection, does not tell a story."""

_SENTENCE = re.compile(r"[^.!?…。！？？؟\n]+[.!?…。！？？؟]*")  # noqa: RUF001  # of three scripts
_QUESTION_MARKS = ("?", "？", "؟")  # noqa: RUF001
_APOSTROPHES = str.maketrans({"’": "'", "`": "'", "´": "'"})  # noqa: RUF001  # as people type them


class _Cues(Struct, frozen=True, forbid_unknown_fields=True):
    """All of ``ai/asking.toml``."""

    again: tuple[Cue, ...]
    unheard: tuple[Cue, ...]
    denials: tuple[str, ...]
    vague: tuple[Cue, ...]
    missed: tuple[Cue, ...]
    apologies: tuple[Cue, ...]
    tellers: tuple[Cue, ...]
    unclear: tuple[Cue, ...]
    open: tuple[Cue, ...]
    prefaces: tuple[Cue, ...]
    openers: tuple[Cue, ...]
    musings: tuple[Cue, ...]
    courtesies: tuple[Cue, ...]
    inviting: tuple[Cue, ...]


def request_in(
    text: str, question: GuideQuestion | None = None
) -> Literal["hearing", "meaning"] | None:
    """Return what somebody lacks who asks in so many words for the question, or what it means.

    Where ``question``, or a follow-up to it, may be answered by what one would ask or say, only a
    bare request counts, in words that nobody else would be asked in.
    """
    invited = question is not None and _invites(question)
    if invited and len(text.split()) > BARE_WORDS:
        return None
    cues, found, beside = _cues(), None, 0
    unclear = cues.unclear if invited else (*cues.unclear, *cues.open)
    sorry = len(text.split()) <= ALONE_WORDS
    for sentence in _sentences(text):
        sorry = sorry or bool(first_hits(cues.apologies, sentence))
        short = len(sentence.split()) <= REQUEST_WORDS
        if short and (_is_unheard(sentence, sorry=sorry) or (sorry and _only_begs(sentence))):
            found = "hearing"
        elif short and _requests(unclear, sentence):
            found = found or "meaning"
        elif not _asks(sentence) and not first_hits(cues.prefaces, sentence):
            beside += len(_bare(sentence).split())
        if beside > BESIDE_REQUEST:
            return None
    return found


def _is_unheard(sentence: str, *, sorry: bool) -> bool:
    """Whether a sentence tells that the question was not heard; ``sorry``: with an apology."""
    cues = _cues()
    plain = (*cues.again, *cues.missed) if sorry else cues.again
    denied = (*cues.unheard, *cues.vague) if sorry else cues.unheard
    return _requests(plain, sentence) or (_denies(denied, sentence) and _requests(denied, sentence))


def _denies(cues: Iterable[Cue], sentence: str) -> bool:
    """Whether a word in front of the first of the ``cues`` denies it."""
    before = sentence[: min(first_hits(cues, sentence), default=0)].lower()
    return any(word.endswith(_cues().denials) for word in before.split())


def _requests(cues: Iterable[Cue], sentence: str) -> bool:
    """Whether one of the ``cues`` is what the speaker wants, and tells of nobody else.

    An answer may hold the same words behind others: "then I ask: can you explain".
    """
    hits = first_hits(cues, sentence)
    if not hits:
        return False
    before = _bare(sentence[: min(hits)])
    return len(before.split()) <= BEFORE_REQUEST and not first_hits(_cues().tellers, before)


def only_asks(text: str, question: GuideQuestion | None) -> bool:
    """Whether ``text`` consists of questions to the interviewer, and so answers nothing.

    Never where ``question`` itself, or a follow-up to it, may be answered by what one would ask.
    """
    if question is not None and _invites(question):
        return False
    asked = beside = 0
    for sentence in _sentences(text):
        if _asks(sentence):
            asked += len(sentence.split())
        elif not first_hits(_cues().prefaces, sentence):
            beside += len(_bare(sentence).split())
            if beside > min(asked, BESIDE_QUESTIONS):
                return False
    return asked > 0


def _sentences(text: str) -> Iterator[str]:
    for match in _SENTENCE.finditer(text.translate(_APOSTROPHES)):
        sentence = match[0].strip()
        if any(map(str.isalnum, sentence)):
            yield sentence


def _asks(sentence: str) -> bool:
    """Whether a sentence is a question to the interviewer: "A queue?" is an answer, unsure."""
    if not sentence.endswith(_QUESTION_MARKS):
        return False
    bare, cues = _bare(sentence), _cues()
    if _beginning(cues.musings).match(bare):
        return False
    return bool(_beginning(cues.openers).match(bare) or first_hits(cues.prefaces, sentence))


def _only_begs(sentence: str) -> bool:
    """Whether a sentence is no more than "Sorry?"."""
    return sentence.endswith(_QUESTION_MARKS) and not _bare(sentence)


def _bare(sentence: str) -> str:
    """Return a sentence without the courtesies in front of it."""
    courtesies = _beginning(_cues().courtesies)
    while match := courtesies.match(sentence):
        sentence = sentence[match.end() :]
    return sentence


@lru_cache(maxsize=1024)
def _invites(question: GuideQuestion) -> bool:
    texts = (question.text, *(probe.text for probe in question.probes))
    return any(first_hits(_cues().inviting, text) for text in texts)


@cache
def _beginning(cues: Iterable[Cue]) -> re.Pattern[str]:
    longest = sorted(cues, key=len, reverse=True)
    return re.compile(rf"(?:{'|'.join(map(re.escape, longest))})(?!\w)\W*", re.IGNORECASE)


@cache
def _cues() -> _Cues:
    data = resources.files("ai").joinpath("asking.toml").read_bytes()
    return msgspec.toml.decode(data, type=_Cues)
