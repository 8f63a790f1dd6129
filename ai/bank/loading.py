"""Reads the bank's files, checks them, and names the file and the line of all that is wrong."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, TypeVar, get_args

import msgspec
from msgspec import Struct

from ai.bank.entries import APART, Bank, Phrases, Probe, Question
from ai.bank.lines import Fault, Page
from ai.bank.roles import load_families
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
    """Files of the bank are wrong; the message has a line ``file:line: what`` for each fault."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    type: InterviewType
    questions: list[dict[str, Any]]


class _Wrong(Exception):  # noqa: N818  # never leaves this module
    """What is wrong, and the text it is about."""

    def __init__(self, message: str, about: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.about = about


@cache
def load_bank() -> Bank:
    """Return the bank that comes with the package; read once.

    Raises:
        BankError: see `read_bank`.
    """
    return read_bank(packaged())


def packaged() -> Traversable:
    """Return the folder of the bank that comes with the package."""
    return resources.files("ai.bank").joinpath("questions")


def read_bank(folder: Traversable) -> Bank:
    """Read all TOML files of ``folder``: one of phrases, the others of questions.

    Raises:
        BankError: an entry breaks a rule of `ai.bank.entries`, has an unknown or a stray slot or
            markup, is for a family of roles that is not in ``roles.toml``, repeats an id or the
            first words of another question; or a type has none.
    """
    reading = _Reading(folder)
    bank = reading.bank()
    if reading.faults or bank is None:
        raise BankError(*reading.faults)
    return bank


class _Reading:
    """One pass through a folder, which goes on behind a fault to find the others too."""

    def __init__(self, folder: Traversable) -> None:
        self.faults: list[Fault] = []
        self._folder = folder
        self._known: dict[str, str] = {}

    def bank(self) -> Bank | None:
        """Return the bank; what is in it is good if there are no ``faults`` afterwards."""
        found: dict[InterviewType, tuple[Question, ...]] = {
            kind: () for kind in get_args(InterviewType) if kind != "mixed"
        }
        for file in self._files():
            kind, questions = self._questions(file, found.keys())
            if kind is not None:
                found[kind] += questions
        phrases = self._phrases(self._folder.joinpath(PHRASES))
        if not self.faults:
            self.faults += [
                Fault(self._folder.name, 1, f"no file holds questions of type '{kind}'")
                for kind, questions in found.items()
                if not questions
            ]
        return None if phrases is None else Bank(found, phrases)

    def _files(self) -> list[Traversable]:
        try:
            files = list(self._folder.iterdir())
        except OSError as error:
            self.faults.append(Fault(self._folder.name, 1, error.strerror or "cannot be read"))
            return []
        named = sorted(files, key=lambda file: file.name)
        return [file for file in named if file.name.endswith(".toml") and file.name != PHRASES]

    def _questions(
        self, file: Traversable, kinds: Iterable[InterviewType]
    ) -> tuple[InterviewType | None, tuple[Question, ...]]:
        page = self._page(file)
        content = None if page is None else self._decoded(file, page, _File)
        if page is None or content is None:
            return None, ()
        if content.type not in kinds:
            self.faults.append(page.fault(f"no question is of type '{content.type}'", "type"))
            return None, ()
        questions: list[Question] = []
        for place, entry in enumerate(content.questions):
            with self._noting(page, _name(entry, place), place):
                question = _question(entry)
                self._know(file, question)
                questions.append(question)
        return content.type, tuple(questions)

    def _know(self, file: Traversable, question: Question) -> None:
        for key, about in (
            (f"id {question.id!r}", question.id),
            (f"beginning {question.text[:STEM]!r}", question.text),
        ):
            if key in self._known:
                raise _Wrong(f"its {key} is taken by {self._known[key]}", about)
            self._known[key] = f"{file.name}: question {question.id!r}"

    def _phrases(self, file: Traversable) -> Phrases | None:
        page = self._page(file)
        phrases = None if page is None else self._decoded(file, page, Phrases)
        if page is not None and phrases is not None:
            for name, texts, allowed in _sections(phrases):
                with self._noting(page, name):
                    _check(texts, allowed)
            with self._noting(page, "probes"):
                _check_probes(phrases.probes)
            with self._noting(page, "kinds"):
                _check_kinds(phrases)
            with self._noting(page, "onward_echo"):
                _check_uptake(phrases)
            with self._noting(page, "closing"):
                _check_closing(phrases)
        return phrases

    def _page(self, file: Traversable) -> Page | None:
        try:
            return Page(file.name, file.read_text(encoding="utf-8"))
        except OSError:
            self.faults.append(Fault(file.name, 1, "cannot be read"))
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            self.faults.append(Fault(file.name, line, "is not UTF-8"))
        return None

    def _decoded(self, file: Traversable, page: Page, kind: type[_T]) -> _T | None:
        try:
            return msgspec.toml.decode(file.read_bytes(), type=kind)
        except msgspec.DecodeError as error:
            self.faults.append(page.fault(str(error)))
            return None

    @contextmanager
    def _noting(self, page: Page, name: str, place: int | None = None) -> Generator[None]:
        """Keep what is wrong inside as a fault of the entry ``name`` on ``page``.

        ``place`` is that of the question, if it is one.
        """
        try:
            yield
        except _Wrong as wrong:
            if place is not None:
                page.narrow("questions", place)
            self.faults.append(page.fault(f"{name}: {wrong.message}", wrong.about))


def _name(entry: dict[str, Any], place: int) -> str:
    return f"question {entry.get('id', place + 1)!r}"


def _question(entry: dict[str, Any]) -> Question:
    try:
        question = msgspec.convert(entry, Question)
    except msgspec.ValidationError as error:
        raise _Wrong(str(error)) from None
    # Nor right behind them: a slot that is filled with nothing takes the space before it away.
    if "{" in question.text[: STEM + 1]:
        raise _Wrong(f"a slot stands in the first {STEM} characters", question.text)
    if question.competency.casefold() == APART:
        raise _Wrong(f"{APART} is rated apart - at `$.competency`")
    unknown = [role for role in question.roles if role not in load_families()]
    if unknown:
        raise _Wrong(f"roles.toml has no family {unknown[0]!r}", unknown[0])
    for field in ("roles", "levels"):
        values: tuple[str, ...] = getattr(question, field)
        if len(set(values)) != len(values):
            raise _Wrong(f"a value stands there twice - at `$.{field}`")
    anchors = question.anchors
    _check((question.text, *question.hints), _ROLE)
    _check((anchors.one, anchors.three, anchors.five), frozenset())
    _check_probes(question.probes)
    return question


def _sections(phrases: Phrases) -> Iterator[tuple[str, tuple[str, ...], frozenset[str]]]:
    """Give all sections of sentences with the slots they may have."""
    yield "warmup", phrases.warmup, frozenset({"role", "kind"})
    yield "closing", phrases.closing, frozenset({"role", "topic"})
    yield "language_note", (phrases.language_note,), _ROLE
    yield "onward_echo", phrases.onward_echo, frozenset({"echo"})
    for section in (
        "into_core",
        "onward",
        "onward_blank",
        "again",
        "hearing_replies",
        "meaning_replies",
        "blank_probes",
        "rude_probes",
        "astray_probes",
        "long_probes",
        "invitation",
    ):
        yield section, getattr(phrases, section), _ROLE
    for group in ("hints", "replies"):
        for section, texts in msgspec.structs.asdict(getattr(phrases, group)).items():
            yield f"{group}.{section}", texts, _ROLE


def _check_kinds(phrases: Phrases) -> None:
    missing = set(get_args(InterviewType)) - phrases.kinds.keys()
    if missing:
        raise _Wrong(f"lacks {', '.join(sorted(missing))} - at `$.kinds`")


def _check_uptake(phrases: Phrases) -> None:
    silent = next((text for text in phrases.onward_echo if "echo" not in slots(text)), None)
    if silent is not None:
        raise _Wrong(f"lacks {{echo}} in {silent!r}", silent)


def _check_closing(phrases: Phrases) -> None:
    if len({"topic" in slots(text) for text in phrases.closing}) != len((True, False)):
        raise _Wrong("needs texts with and without {topic} - at `$.closing`")


def _check_probes(probes: tuple[Probe, ...]) -> None:
    _check(tuple(probe.text for probe in probes), _QUOTING)
    if all(probe.cues for probe in probes):
        raise _Wrong("one probe at least must do without cues - at `$.probes`")
    for probe in probes:
        if "*" in "".join(cue.removesuffix("*") for cue in probe.cues):
            raise _Wrong("only a cue's last character may be *", probe.text)


def _check(texts: tuple[str, ...], allowed: frozenset[str]) -> None:
    for text in texts:
        try:
            unknown = slots(text) - allowed
        except ValueError as error:
            raise _Wrong(f"{error} in {text!r}", text) from None
        if unknown:
            raise _Wrong(f"unknown slot {{{min(unknown)}}} in {text!r}", text)
        markup = next((mark for mark in _MARKUP if mark in text), None)
        if markup is not None:
            raise _Wrong(f"{markup!r} cannot be spoken, in {text!r}", text)
    if len(set(texts)) != len(texts):
        twice = next(text for place, text in enumerate(texts) if text in texts[:place])
        raise _Wrong("a text stands there twice", twice)
