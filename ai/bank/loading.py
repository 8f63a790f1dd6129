"""Reads the bank's files, checks them, and names the file and the question of what is wrong."""

from collections.abc import Iterator
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, TypeVar, get_args

import msgspec
from msgspec import Struct

from ai.bank.entries import Bank, Phrases, Probe, Question
from ai.bank.templates import slots
from protocol.scalars import InterviewType

PHRASES = "phrases.toml"
STEM = 40
"""Code points by which a question must differ from all others: what a cut one is told by."""

_T = TypeVar("_T")
_ROLE = frozenset({"role"})
_QUOTING = frozenset({"role", "echo"})
_MARKUP = ("*", "`", "#", "http:", "https:", "  ", "_")


class BankError(ValueError):
    """A file of the bank is wrong; the message names the file and, in it, the entry."""


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    type: InterviewType
    questions: list[dict[str, Any]]


@cache
def load_bank() -> Bank:
    """Return the bank that comes with the package; read once.

    Raises:
        BankError: see `read_bank`.
    """
    return read_bank(resources.files("ai.bank").joinpath("questions"))


def read_bank(folder: Traversable) -> Bank:
    """Read all TOML files of ``folder``: one of phrases, the others of questions.

    Raises:
        BankError: an entry breaks a rule of `ai.bank.entries`, has an unknown or a stray slot or
            markup, repeats an id or the first words of another question; or a type has none.
    """
    found: dict[InterviewType, tuple[Question, ...]] = {
        kind: () for kind in get_args(InterviewType) if kind != "mixed"
    }
    known: dict[str, str] = {}
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if not file.name.endswith(".toml") or file.name == PHRASES:
            continue
        kind, questions = _questions(file)
        for question in questions:
            _unique(known, f"id {question.id!r}", file, question)
            _unique(known, f"beginning {question.text[:STEM]!r}", file, question)
        if kind not in found:
            raise BankError(f"{file.name}: no question is of type {kind!r}")
        found[kind] += questions
    for kind, questions in found.items():
        if not questions:
            raise BankError(f"{folder.name}: no file holds questions of type {kind!r}")
    return Bank(found, _phrases(folder.joinpath(PHRASES)))


def _questions(file: Traversable) -> tuple[InterviewType, tuple[Question, ...]]:
    content = _decode(file, _File)
    return content.type, tuple(
        _question(file.name, place, entry) for place, entry in enumerate(content.questions, 1)
    )


def _question(file: str, place: int, entry: dict[str, Any]) -> Question:
    name = f"{file}: question {entry.get('id', place)!r}"
    try:
        question = msgspec.convert(entry, Question)
    except msgspec.ValidationError as error:
        raise BankError(f"{name}: {error}") from None
    if "{" in question.text[:STEM]:
        raise BankError(f"{name}: a slot stands in the first {STEM} characters")
    anchors = question.anchors
    _check(name, (question.text, *question.hints), _ROLE)
    _check(name, (anchors.one, anchors.three, anchors.five), frozenset())
    _check_probes(name, question.probes)
    return question


def _phrases(file: Traversable) -> Phrases:
    phrases = _decode(file, Phrases)
    name = file.name
    missing = set(get_args(InterviewType)) - phrases.kinds.keys()
    if missing:
        raise BankError(f"{name}: kinds lacks {', '.join(sorted(missing))}")
    _check(f"{name}: warmup", phrases.warmup, frozenset({"role", "kind"}))
    _check(f"{name}: closing", phrases.closing, frozenset({"role", "topic"}))
    if len({"topic" in slots(text) for text in phrases.closing}) != len((True, False)):
        raise BankError(f"{name}: closing needs texts with and without {{topic}}")
    for section, texts in _plain(phrases):
        _check(f"{name}: {section}", texts, _ROLE)
    _check_probes(f"{name}: probes", phrases.probes)
    return phrases


def _plain(phrases: Phrases) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Give the sections whose texts may only name the role."""
    yield "language_note", (phrases.language_note,)
    for section in (
        "into_core",
        "onward",
        "onward_blank",
        "again",
        "blank_probes",
        "invitation",
    ):
        yield section, getattr(phrases, section)
    for group in ("hints", "replies"):
        for section, texts in msgspec.structs.asdict(getattr(phrases, group)).items():
            yield f"{group}.{section}", texts


def _check_probes(name: str, probes: tuple[Probe, ...]) -> None:
    _check(name, tuple(probe.text for probe in probes), _QUOTING)
    if all(probe.cues for probe in probes):
        raise BankError(f"{name}: one probe at least must do without cues")
    for probe in probes:
        if "*" in "".join(cue.removesuffix("*") for cue in probe.cues):
            raise BankError(f"{name}: only a cue's last character may be *")


def _check(name: str, texts: tuple[str, ...], allowed: frozenset[str]) -> None:
    for text in texts:
        try:
            unknown = slots(text) - allowed
        except ValueError as error:
            raise BankError(f"{name}: {error} in {text!r}") from None
        if unknown:
            raise BankError(f"{name}: unknown slot {{{min(unknown)}}} in {text!r}")
        markup = next((mark for mark in _MARKUP if mark in text), None)
        if markup is not None:
            raise BankError(f"{name}: {markup!r} cannot be spoken, in {text!r}")
    if len(set(texts)) != len(texts):
        raise BankError(f"{name}: a text stands there twice")


def _unique(known: dict[str, str], key: str, file: Traversable, question: Question) -> None:
    name = f"{file.name}: question {question.id!r}"
    if key in known:
        raise BankError(f"{name}: its {key} is taken by {known[key]}")
    known[key] = name


def _decode(file: Traversable, kind: type[_T]) -> _T:
    try:
        return msgspec.toml.decode(file.read_bytes(), type=kind)
    except OSError:
        raise BankError(f"{file.name}: cannot be read") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BankError(f"{file.name}: {error}") from None
