"""A PDF is made of every report, the same each time, and is never without end."""

import asyncio
import itertools
import re
import time

import pytest

from protocol.assessment import Rating
from server.documents.pdf import text_of_pdf
from server.reporting import fonts, pdf
from server.reporting.pdf import report_pdf
from tests.support import reports
from tests.support.reports import Rated, Script, composed, guide, rate


def pages(document: bytes) -> int:
    return len(re.findall(rb"/Type /Page\n", document))


def printed(document: bytes) -> str:
    return " ".join(asyncio.run(text_of_pdf(document)).text.split())


@pytest.mark.parametrize("sample", reports.SAMPLES)
def test_a_file_of_each_sample(sample: str) -> None:
    document = report_pdf(*reports.SAMPLES[sample]())
    assert document.startswith(b"%PDF-1.")
    assert document.rstrip().endswith(b"%%EOF")
    assert 1 <= pages(document) <= 6


def test_equal_reports_make_equal_files(monkeypatch: pytest.MonkeyPatch) -> None:
    first = report_pdf(*reports.assessment())
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 86_400)
    assert report_pdf(*reports.assessment()) == first
    assert b"D:20260101" in first


def test_offline_is_on_each_page(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    cell = pdf.FPDF.cell

    def note(self: pdf.FPDF, *args: object, **more: object) -> object:
        drawn.extend(str(argument) for argument in args)
        return cell(self, *args, **more)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(pdf.FPDF, "cell", note)
    document = report_pdf(*reports.offline())
    heads = [text for text in drawn if text.startswith("Offline: looked at by fixed rules")]
    feet = [text for text in drawn if text.endswith("· Offline")]
    assert len(heads) == len(feet) == pages(document)


def _long(text: str, turns: int) -> Rated:
    script = Script(pace_ms=0)
    for _ in range(turns):
        script.answer("core-1", text)
    ratings: list[Rating] = [rate(script.turns, "core-1", "Depth", 3, text[:40])]
    return composed(script.turns, guide("Depth"), ratings)


def test_the_pages_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "MAX_PAGES", 6)
    document = report_pdf(
        *_long("many words of an answer without an end, over and over " * 100, 20)
    )
    assert 6 <= pages(document) <= 8


def test_the_time_ends() -> None:
    rated = _long("one more word", 20)
    spent = itertools.count(7.0, step=pdf.WORK_S / 16)
    short, whole = (printed(report_pdf(*rated, way)) for way in (lambda: next(spent), lambda: 7.0))
    assert "Transcript" in short
    assert 2 <= short.count("one more word") <= 10
    assert "The rest is left out here. The page and the Markdown have all of it." in short
    assert whole.count("one more word") == 21  # the quote, too
    assert "The rest is left out here" not in whole


def test_an_answer_of_empty_lines_is_flattened() -> None:
    assert pages(report_pdf(*_long("a word of it\n" * 2_000, 1))) <= 4


@pytest.mark.parametrize(
    "text",
    [
        "\x07" * 50,
        "\u202e" * 50,
        "🎉" * 60,
        "\u0300" * 60,
        "\u0627" * 500,
        "漢" * 900,
        "\t\n \n\t" + "ab" * 30,
        "\u05d0" + "_." * 2_000,
        "\u05d0" + " " * 2_000 + "\u05d1",
    ],
)
def test_no_text_breaks_it(text: str, caplog: pytest.LogCaptureFixture) -> None:
    script = Script()
    script.answer("core-1", text)
    assert report_pdf(*composed(script.turns, guide("Depth"), ()))
    assert not caplog.records


def test_words_are_printed_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    script = Script()
    script.answer("core-1", "pages {nb} and {nb}\ta\tb\x02\x03")
    document = report_pdf(*composed(script.turns, guide("Depth"), ()))
    text = printed(document)
    assert f"pages {{nb}} and {{nb}} a b{fonts.BOX * 2}" in text
    assert f"1 / {pages(document)}" in text
    assert not caplog.records


def test_fonts_are_opened_where_they_are_needed() -> None:
    assert fonts.needed(["plain, né, русский"]) == ()
    assert [font.name for font in fonts.needed(["שלום", "漢字"])] == ["Hebrew", "CJK"]


def test_every_font_is_installed() -> None:
    for font in (*fonts.BASE.values(), *fonts.SCRIPTS):
        assert font.file.is_file()


def test_what_no_font_has_is_seen() -> None:
    known = frozenset(map(ord, f"ab{fonts.BOX}"))
    assert fonts.drawable("a👩\u200d👧\ufe0fb", known) == f"a{fonts.BOX}{fonts.BOX}b"


def test_text_leans_as_its_first_letter_does() -> None:
    assert fonts.leans_right("1. مرحبا hello")
    assert not fonts.leans_right("hello مرحبا")
    assert not fonts.leans_right("12")
