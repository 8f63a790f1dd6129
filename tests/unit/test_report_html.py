"""The page stands alone, is lawful under its own policy, and shows words as words."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from protocol.assessment import Report
from server.reporting import words
from server.reporting.html import content_security_policy, report_html
from server.reporting.markdown import report_markdown
from server.reporting.markup import tag
from tests.support import reports
from tests.support.reports import Rated, Script, composed, guide, rate

VOID = {"meta", "br"}


class Page(HTMLParser):
    """The page as a browser would take it apart, with the text of each element."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((tuple(self._open), data))

    def text(self, within: str = "body") -> str:
        return "".join(data for open_, data in self.texts if within in open_)


def page(rated: Rated) -> Page:
    return Page(report_html(*rated))


@pytest.fixture(params=reports.SAMPLES)
def sample(request: pytest.FixtureRequest) -> Rated:
    return reports.SAMPLES[request.param]()


def test_nothing_runs_and_nothing_is_fetched(sample: Rated) -> None:
    for name, attributes in page(sample).elements:
        assert name not in {"script", "link", "img", "iframe", "object", "form", "base", "use"}
        for key, value in attributes.items():
            assert key != "style"
            assert not key.startswith("on")
            if key in {"href", "src"}:
                assert (value or "").startswith("#")


def test_the_policy_allows_the_one_style_sheet_and_nothing_else() -> None:
    text = report_html(*reports.rich())
    sheet = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert len(sheet) == 1
    digest = base64.b64encode(hashlib.sha256(sheet[0].encode()).digest()).decode()
    assert content_security_policy() == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    [own] = [a for _, a in Page(text).elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert content_security_policy().startswith(own["content"] or "?")


def test_links_lead_somewhere_and_names_are_used_once(sample: Rated) -> None:
    elements = page(sample).elements
    names = [a["id"] for _, a in elements if "id" in a]
    assert len(names) == len(set(names))
    for _, attributes in elements:
        if "href" in attributes:
            assert (attributes["href"] or "").removeprefix("#") in names
        if "aria-labelledby" in attributes:
            assert attributes["aria-labelledby"] in names


def test_headings_descend_one_by_one(sample: Rated) -> None:
    levels = [int(n[1]) for n, _ in page(sample).elements if re.fullmatch(r"h\d", n)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_all_words_of_the_conversation_are_there(sample: Rated) -> None:
    shown = page(sample).text("ol")
    for turn in sample.turns:
        assert words.visible(turn.text) in shown


def test_quotes_are_marked_where_they_stand(sample: Rated) -> None:
    marked = page(sample).text("mark")
    for evidence in words.quotes(sample.report):
        assert words.visible(evidence.quote) in marked


def test_hostile_words_stay_words() -> None:
    rated = reports.hostile()
    own = {name for name, _ in page(reports.rich()).elements}
    assert {name for name, _ in page(rated).elements} <= own
    assert "<script" not in report_html(*rated)


def test_offline_is_said_everywhere() -> None:
    rated = reports.offline()
    found = page(rated)
    assert "(offline)" in found.text("title")
    classes = [a.get("class") for _, a in found.elements]
    assert classes.count("strip") == 1
    scored = len(rated.report.ratings)
    assert classes.count("badge") == 1 + 2 * scored  # the overall score, each row, each card
    assert "offline" in classes
    assert words.OFFLINE_LONG in found.text()
    assert words.OFFLINE_LONG not in page(reports.rich()).text()


def test_what_is_not_rated_is_said_and_drawn_nowhere() -> None:
    found = page(reports.nearly_empty())
    assert "0 of 5" not in found.text()
    assert "score" not in [a.get("class") for name, a in found.elements if name == "circle"]
    assert found.text("table").count(words.NOT_RATED) == 2
    assert "Nothing was rated." in found.text()


def test_strengths_are_left_out_where_nothing_is_scored() -> None:
    rated = reports.rich()
    assert "Strengths" in page(rated).text()
    none = tuple(replace(x, score=None, anchor=None) for x in rated.report.ratings)
    coverage = replace(rated.report.coverage, rated=0)
    told = replace(rated.report, ratings=none, coverage=coverage, strengths=())
    assert "Strengths" not in page(Rated(told, rated.turns)).text()
    assert "To work on" in page(Rated(told, rated.turns)).text()


@pytest.mark.parametrize("kind", ["coding", "technical", "case", "system_design", "situational"])
def test_parts_of_a_story_are_shown_where_stories_are_asked_for(kind: str) -> None:
    rated = reports.rich()
    title = "How the stories were told"
    assert title in page(rated).text()
    assert title not in page(Rated(replace(rated.report, type=kind), rated.turns)).text()
    assert "Told:" in report_markdown(*rated)
    assert "Told:" not in report_markdown(replace(rated.report, type=kind), rated.turns)


def test_an_interview_without_turns() -> None:
    rated = composed((), guide("Depth"), ())
    assert words.NO_TURNS in page(rated).text()


def test_quotes_that_overlap_are_marked_once_each() -> None:
    script = Script()
    script.answer("core-1", "abcdefghijklmnopqrstuvwxyz")
    rating = rate(script.turns, "core-1", "Depth", 3, "abcdefghijklmnop", "ijklmnopqrstuvwx")
    found = page(composed(script.turns, guide("Depth"), [rating]))
    assert found.text("mark") == "abcdefghijklmnopqrstuvwx"
    assert {"q0", "q1"} <= {a.get("id") for _, a in found.elements}


def test_several_scores_of_one_competency_are_all_drawn() -> None:
    script = Script()
    script.answer("core-1", "the first answer")
    script.answer("core-2", "the second answer")
    ratings = [
        rate(script.turns, "core-1", "Depth", 2, "the first answer"),
        rate(script.turns, "core-2", "Depth", 5, "the second answer"),
    ]
    found = page(composed(script.turns, guide("Depth", "Depth"), ratings))
    assert [a.get("class") for _, a in found.elements].count("single") == 2
    assert "3.5" in found.text("table")


@given(st.text(st.characters(exclude_categories=("Cs",))), st.text())
def test_an_element_holds_its_text_and_its_attribute(text: str, value: str) -> None:
    found = Page(tag("p", text, title=value))
    assert found.text("p") == words.visible(text)
    assert found.elements[0][1]["title"] == words.visible(value)


def _described(report: Report) -> str:
    return words.title(report)


def test_every_type_and_level_has_its_words() -> None:
    report = reports.rich().report
    assert _described(report) == "Practice · Behavioral interview · Senior"
    staff = replace(report, type="system_design", level="staff", mode="assessment")
    assert _described(staff) == "Assessment · System-design interview · Staff"


def test_the_same_report_makes_the_same_page(sample: Rated) -> None:
    assert report_html(*sample) == report_html(*sample)
