"""What can be counted in an answer without understanding it, and where it stands.

Cues are English words. They show that a part is there; whether it is any good, only a reader knows.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from msgspec import Struct

from ai.assessor.case import Case
from ai.bank.answers import first_hits, words_in
from ai.cues import is_english, load_cues
from protocol.assessment import Evidence, StarPart, quotable
from protocol.session import Turn

READ = 40_000
"""Code points of all answers together that are looked at: it is done on the event loop."""
SENTENCES = 400
"""So many of them are looked at; each is searched for every cue."""
QUOTED = 240
"""A longer sentence is quoted around what was found in it."""
BEFORE_HIT = 80
STEM = 5
"""Words that begin alike for so long are taken for the same."""
SPOKEN_MS = 10_000
"""The pace of less speech than this says nothing."""

_SENTENCE = re.compile(r"[^\n。！？]+?(?:[.!?](?=\s|\Z)|(?=\n)|[。！？]|\Z)")  # noqa: RUF001
_DIGITS = re.compile(r"(?<!\w)[$€£]?\d")
_OWN = re.compile(r"(?<!\w)(?:I|my)(?!\w)", re.IGNORECASE)
_TEAM = re.compile(r"(?<!\w)(?:we|our)(?!\w)", re.IGNORECASE)
_TERM = re.compile(r"[^\W\d_]{3,}")


class Sentence(NamedTuple):
    """A sentence and where it stands in its turn."""

    turn: int
    start: int
    text: str


class Signals(Struct, frozen=True, kw_only=True):
    """What was counted. ``star`` has a sentence for each part that was found."""

    english: bool
    """Whether the cues mean anything here: English is planned, and the words look like it."""
    words: int
    texts: tuple[str, ...]
    """The sentences."""
    figures: int
    own: int
    """Sentences in which the candidate acts."""
    team: int
    """Sentences of "we" in which the candidate does not."""
    connectors: int
    fillers: int
    words_per_minute: int | None
    """None where nothing is known to have been spoken."""
    star: Mapping[StarPart, Evidence]
    covered: tuple[str, ...]
    """Words of the anchors for 3 and 5 that occur."""
    terms: int
    """How many of them there are."""

    @property
    def sentences(self) -> int:
        """How many sentences there are."""
        return len(self.texts)


def read_signals(case: Case) -> Signals:
    """Count what there is to count in the answers of a case."""
    cues, sentences = load_cues(), tuple(islice(_sentences(case.answers), SENTENCES))
    texts = tuple(sentence.text for sentence in sentences)
    covered, terms = _coverage(case, " ".join(texts))
    return Signals(
        english=is_english(case.plan.language, texts),
        words=sum(map(words_in, texts)),
        texts=texts,
        figures=sum(_has_figure(text) for text in texts),
        own=sum(bool(_OWN.search(text)) for text in texts),
        team=sum(bool(_TEAM.search(text)) and not _OWN.search(text) for text in texts),
        connectors=sum(len(first_hits(cues.words.connectors, text)) for text in texts),
        fillers=sum(len(first_hits(cues.words.fillers, text)) for text in texts),
        words_per_minute=_pace(case),
        star=_star(sentences),
        covered=covered,
        terms=terms,
    )


def _sentences(answers: Sequence[Turn]) -> Iterator[Sentence]:
    room = READ
    for turn in answers:
        text = turn.text[:room]
        room -= len(text)
        for match in _SENTENCE.finditer(text):
            said = match[0].strip()
            if any(map(str.isalnum, said)):
                start = match.start() + len(match[0]) - len(match[0].lstrip())
                yield Sentence(turn.turn, start, said)


def _star(sentences: Sequence[Sentence]) -> dict[StarPart, Evidence]:
    """Return for each part the sentence that shows it best: by its cues, a figure, its length."""
    found: dict[StarPart, Evidence] = {}
    for part, cues in load_cues().star.items():
        best: tuple[tuple[int, bool, int], Evidence] | None = None
        for sentence in sentences:
            hits = first_hits(cues, sentence.text)
            quote = _quote(sentence, min(hits)) if hits else None
            if quote is None:
                continue
            weight = (len(hits), _has_figure(sentence.text), len(quote.quote))
            if best is None or weight > best[0]:
                best = weight, quote
        if best is not None:
            found[part] = best[1]
    return found


def _quote(sentence: Sentence, hit: int) -> Evidence | None:
    text, first, last = sentence.text, 0, len(sentence.text)
    if last > QUOTED:
        first = text.find(" ", max(0, hit - BEFORE_HIT), hit) + 1 if hit > BEFORE_HIT else 0
        last = min(last, first + QUOTED)
        if last < len(text):
            space = text.rfind(" ", hit, last)
            last = last if space < 0 else space
    quote = text[first:last].strip()
    start = sentence.start + text.find(quote, first)
    if not quotable(quote):
        return None
    return Evidence(turn=sentence.turn, start=start, end=start + len(quote), quote=quote)


def _has_figure(text: str) -> bool:
    return bool(_DIGITS.search(text) or first_hits(load_cues().words.figures, text))


def _pace(case: Case) -> int | None:
    """Return the words a minute of the answers that are known to have been spoken."""
    spoken = [turn for turn in case.answers if turn.turn in case.confidence]
    length = sum(turn.ended_at - turn.started_at for turn in spoken)
    if length < SPOKEN_MS:
        return None
    return round(sum(words_in(turn.text) for turn in spoken) * 60_000 / length)


def _coverage(case: Case, text: str) -> tuple[tuple[str, ...], int]:
    anchors = case.question.anchors
    common = load_cues().words.common
    wanted: dict[str, str] = {}
    for term in _TERM.findall(f"{anchors.three} {anchors.five}".lower()):
        if term not in common:
            wanted.setdefault(term[:STEM], term)
    said = {word[:STEM] for word in _TERM.findall(text.lower())}
    return tuple(term for stem, term in wanted.items() if stem in said), len(wanted)
