"""Transcripts as CSV and Markdown, and which form of one a client is given."""

import csv
import io
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from markdown_it import MarkdownIt

from protocol.events import TurnView
from protocol.plan import Plan, Weight
from protocol.text import sha256
from server.api import interviews
from server.api.accept import preferred
from server.api.resources import FIELDS, Transcript, as_csv, as_markdown, check_words, picked
from server.problems import ProblemError

JSON, MARKDOWN, CSV = FORMS = ("application/json", "text/markdown", "text/csv")


def said(text: str) -> Transcript:
    """A transcript of the only turn."""
    turn = TurnView(
        turn=1,
        speaker="candidate",
        kind="answer",
        text=text,
        sha256="0" * 64,
        outcome="final",
        started_at=1,
        ended_at=2,
    )
    return Transcript(interview_id="i", turns=[turn])


def cell(text: str) -> str:
    """The text of the only turn, as CSV gives it back."""
    rows = csv.reader(io.StringIO(as_csv(said(text)), newline=""))
    return next(row[-1] for row in rows if row[0] == "1")


def test_words_in_markdown_are_no_markup() -> None:
    text = "# one\n<script>two</script>\n![three](//x.org)\n\nfour\u2028# five\x0b# six"
    shown = as_markdown(said(text))
    assert shown.splitlines()[:2] == ["# Transcript", ""]
    tokens = MarkdownIt("gfm-like", {"linkify": False, "html": True}).parse(shown)
    assert [token.content for token in tokens if token.type == "inline"][:2] == [
        "Transcript",
        "1. Candidate",
    ]
    assert [token.type for token in tokens if token.type.endswith("_open")] == [
        "heading_open",
        "heading_open",
        "blockquote_open",
        "paragraph_open",
        "paragraph_open",
    ]
    leaves = [leaf for token in tokens for leaf in token.children or []]
    assert {leaf.type for leaf in leaves} <= {"text", "text_special", "softbreak"}


@pytest.mark.anyio
async def test_no_form_is_made_on_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The words of an hour take tens of milliseconds, for which all interviews would wait."""
    threads: list[int] = []

    def made(transcript: Transcript) -> str:
        threads.append(threading.get_ident())
        return transcript.interview_id

    async def nothing(*_: object) -> tuple[()]:
        return ()

    monkeypatch.setattr(interviews, "_FORMS", {MARKDOWN: made})
    here: Any = SimpleNamespace(_permitted=nothing, _turns=nothing)
    request: Any = SimpleNamespace(headers={"accept": MARKDOWN})
    nobody: Any = None
    told = await interviews.Interviews.transcript.fn(here, nobody, nobody, "an id", request)
    assert told.content == "an id"
    assert threads
    assert threading.get_ident() not in threads


def test_an_answer_without_words_is_told_in_markdown() -> None:
    assert "> (nothing)" in as_markdown(said(" \n"))


@pytest.mark.parametrize("first", [*"=+-@\t\r\n", *"\uff1d\uff0b\uff0d\uff20"])
def test_a_cell_is_no_formula(first: str) -> None:
    text = f'{first}HYPERLINK("x")'
    assert cell(text) == f"'{text}"


def test_a_guarded_text_shows_by_its_digest() -> None:
    for text in ("=1+1", "'quoted", "plain"):
        shown = cell(text)
        guarded = sha256(shown) != sha256(text)
        assert guarded == (text == "=1+1")
        assert sha256(shown[guarded:]) == sha256(text)


@pytest.mark.parametrize("text", ["", "plain", " =1", "a\n=1", '"=1"', "\u2212 1"])
def test_other_cells_are_as_they_were(text: str) -> None:
    assert cell(text) == text


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("text/csv", CSV),
        ("TEXT/CSV", CSV),
        ("text/csv; charset=utf-8", CSV),
        ("text/csv;q=0, */*", JSON),
        ("text/csv;q=0, text/*", MARKDOWN),
        ("text/csv;q=0.5, text/markdown;q=0.4", CSV),
        ("text/csv;q=0.5, application/json", JSON),
        ("text/csv; q=0.9 , application/json;q=0.2", CSV),
        ("text/*;q=0.3, */*;q=0.1", MARKDOWN),
        ("text/html,application/xhtml+xml,*/*;q=0.8", JSON),
        ("text/csv;q=nan, text/markdown;q=0.1", MARKDOWN),
        (",", JSON),
    ],
)
def test_the_form_is_the_one_that_weighs_most(accept: str, form: str) -> None:
    assert preferred(accept, FORMS) == form


@pytest.mark.parametrize(
    "accept", ["text/csv;q=0", "text/csvx", "image/png", "application/xml", "text/csv;q=nonsense"]
)
def test_what_takes_none_of_them_is_told_so(accept: str) -> None:
    with pytest.raises(ProblemError) as refused:
        preferred(accept, FORMS)
    assert (refused.value.status, refused.value.headers) == (406, {"Vary": "Accept"})
    assert CSV in refused.value.detail


@pytest.mark.parametrize(
    "text", [" ", "\u00a0\u3000", "\u200b", "a\nb", "\x1b[31mred", "a\x7f", "\x85", "a\u2028b"]
)
def test_what_is_no_words_is_refused_by_its_field(text: str) -> None:
    for plan in (Plan(type="case", role=text), Plan(type="case", role="a", competencies=(text,))):
        with pytest.raises(ProblemError) as refused:
            check_words(plan)
        field = "competencies" if plan.competencies else "role"
        assert (refused.value.status, refused.value.code) == (400, "invalid_request")
        assert refused.value.detail.startswith(f"{field}: ")


@pytest.mark.parametrize("text", ["R", "日本語", "👩🏽‍💻", "C++ / C#", "<b>", "=x", "שלום"])
def test_words_of_any_kind_are_fine(text: str) -> None:
    check_words(Plan(type="case", role=text, competencies=(text, "Go")))


def test_weights_name_each_competency_once_in_words() -> None:
    check_words(Plan(type="case", role="a", weights=(Weight("Go", 2), Weight("Tea", 5))))
    for names in (("Go", "gO"), ("G\no",)):
        with pytest.raises(ProblemError) as refused:
            check_words(
                Plan(type="case", role="a", weights=tuple(Weight(name, 2) for name in names))
            )
        assert refused.value.detail.startswith("weights: ")


@pytest.mark.parametrize("fields", [",", " , ", "bogus", "id,bogus", "ID"])
def test_fields_that_are_none_are_refused(fields: str) -> None:
    with pytest.raises(ProblemError) as refused:
        picked(fields)
    assert (refused.value.status, refused.value.code) == (400, "unknown_field")
    assert "there are id, user_id, status" in refused.value.detail


def test_fields_are_picked_once_each_and_all_by_default() -> None:
    assert picked(" status,id,, status") == ("status", "id")
    assert picked(None) == FIELDS
