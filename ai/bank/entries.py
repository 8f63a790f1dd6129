"""What the question bank is made of. The entries themselves are the TOML files beside this one."""

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct

from protocol.guide import Intent
from protocol.probing import REPLIES
from protocol.scalars import Difficulty, InterviewType, Level

_SENTENCE = r"\A[^\x00-\x20\x7f][^\x00-\x1f\x7f\u2028\u2029]*[.?!]\Z"
"""One line that can be spoken: no control character, no space around it, a full stop behind it."""

_WORDS = r"\A[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?\Z"

Sentence = Annotated[str, Meta(min_length=8, max_length=300, pattern=_SENTENCE)]
QuestionText = Annotated[str, Meta(min_length=48, max_length=420, pattern=_SENTENCE)]
QuestionId = Annotated[str, Meta(pattern=r"\A[a-z]+(-[a-z0-9]+)+\Z", max_length=60)]
Label = Annotated[str, Meta(pattern=_WORDS, max_length=40)]
Cue = Annotated[str, Meta(pattern=_WORDS, max_length=40)]
"""Words to look for in an answer; with a ``*`` at its end, whatever begins like this."""

RoleFamily = Annotated[str, Meta(pattern=r"\A[a-z]+(_[a-z]+)*\Z", max_length=40)]
"""The id of one of the families in ``roles.toml``."""

AnswerMinutes = Annotated[int, Meta(ge=2, le=20)]
Variants = Annotated[tuple[Sentence, ...], Meta(min_length=2)]


APART = "communication"
"""The competency that any interview looks at, rated apart: no question is about it alone."""


class Probe(Struct, frozen=True, forbid_unknown_fields=True):
    """A follow-up. ``cues`` are the words of an answer that make it the fitting one."""

    text: Sentence
    cues: tuple[Cue, ...] = ()
    intent: Intent = "deepen"


class Anchors(
    Struct,
    frozen=True,
    forbid_unknown_fields=True,
    rename={"one": "1", "three": "3", "five": "5"},
):
    """What an answer is like that rates 1, 3 and 5 of 5."""

    one: Sentence
    three: Sentence
    five: Sentence


class Question(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A main question with all that may follow it.

    ``id`` is stable: the wording may be improved under it, another question needs another id.
    Without ``roles`` it is for any role, without ``levels`` for any level. ``minutes`` is what a
    good answer takes, with a probe.
    """

    id: QuestionId
    difficulty: Difficulty
    competency: Label
    roles: tuple[RoleFamily, ...] = ()
    levels: tuple[Level, ...] = ()
    minutes: AnswerMinutes = 5
    text: QuestionText
    probes: Annotated[tuple[Probe, ...], Meta(min_length=3)]
    hints: Annotated[tuple[Sentence, ...], Meta(min_length=2)]
    anchors: Anchors


class Replies(Struct, frozen=True, forbid_unknown_fields=True):
    """What is said to a candidate's questions, by the mode, and where there was none."""

    practice: Variants
    assessment: Variants
    none: Variants


class Hints(Struct, frozen=True, forbid_unknown_fields=True):
    """Hints that fit whatever was asked."""

    any: Variants
    warmup: Variants
    invitation: Variants


class Words(Struct, frozen=True, forbid_unknown_fields=True):
    """What to recognise in answers.

    ``unknown``: the candidate has no answer; ``declined``: nor where that is all. ``no_question``:
    nothing to ask. ``rude``: nothing of such an answer is said back; ``hostile``: in few words, an
    attack, unless ``told_of`` shows that it was another's. ``fillers`` open a clause and
    ``loose_ends`` close a cut one, both without meaning. A sentence can be cut before ``joints``.
    """

    unknown: tuple[Cue, ...]
    declined: tuple[Cue, ...]
    no_question: tuple[Cue, ...]
    rude: tuple[Cue, ...]
    hostile: tuple[Cue, ...]
    told_of: tuple[Cue, ...]
    fillers: frozenset[Cue]
    loose_ends: frozenset[Cue]
    joints: frozenset[Cue]


class Phrases(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that is said around the main questions, in several wordings each."""

    kinds: dict[InterviewType, Label]
    language_note: Sentence
    warmup: Annotated[tuple[Sentence, ...], Meta(min_length=4)]
    into_core: Variants
    onward: Variants
    onward_echo: Annotated[tuple[Sentence, ...], Meta(min_length=4)]
    onward_blank: Variants
    again: Variants
    hearing_replies: Annotated[tuple[Sentence, ...], Meta(min_length=REPLIES)]
    meaning_replies: Annotated[tuple[Sentence, ...], Meta(min_length=REPLIES)]
    blank_probes: Variants
    rude_probes: Variants
    astray_probes: Variants
    long_probes: Variants
    invitation: Variants
    closing: Variants
    hints: Hints
    replies: Replies
    words: Words
    probes: Annotated[tuple[Probe, ...], Meta(min_length=8)]


class Family(Struct, frozen=True, forbid_unknown_fields=True):
    """A family of roles: its ``title``, and the ``cues`` by which a role's text is told."""

    title: Label
    cues: Annotated[tuple[Cue, ...], Meta(min_length=1)]


class Bank(Struct, frozen=True):
    """The whole bank, checked. ``questions`` are in the order of their files."""

    questions: Mapping[InterviewType, tuple[Question, ...]]
    phrases: Phrases
