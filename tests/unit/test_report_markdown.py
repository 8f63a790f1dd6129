"""Markdown says all of a report, and nobody's words become markup."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from server.reporting.markdown import escaped, report_markdown
from server.reporting.words import visible
from tests.support import reports

READER = MarkdownIt("gfm-like", {"linkify": False, "html": True})


def leaves(tokens: list[Token]) -> list[Token]:
    return [leaf for token in tokens for leaf in [token, *leaves(token.children or [])]]


def kinds(text: str) -> set[str]:
    return {token.type for token in leaves(READER.parse(text))}


def test_the_report_in_full() -> None:
    text = report_markdown(*reports.rich())
    assert "# Interview report: Backend engineer" in text
    assert "**Overall: 3.67 of 5**" in text
    assert "Questions: 4 planned, 4 asked, 4 answered, 3 rated." in text
    assert "| Judgement | Not rated |" in text
    assert "> Within eleven minutes the error rate fell from 18 % to 0.3 %\n>\n> — turn 4" in text
    assert "### 14. Candidate" in text
    assert "### 13. Interviewer (hint)" in text
    assert "gpt-5.2-2025-12-11" in text


def test_offline_is_said_at_the_top_and_at_every_score() -> None:
    text = report_markdown(*reports.offline())
    assert (
        text.splitlines()[2] == "**Offline: looked at by fixed rules, without a language model.**"
    )
    assert "of 5 (offline)**" in text
    assert "## Mentoring: 1 of 5 (offline)" in text


def test_not_rated_is_no_number() -> None:
    text = report_markdown(*reports.nearly_empty())
    assert "**Overall: Not rated**" in text
    assert "0 of 5" not in text


@pytest.mark.parametrize("sample", reports.SAMPLES)
def test_the_only_markup_is_the_reports_own(sample: str) -> None:
    found = kinds(report_markdown(*reports.SAMPLES[sample]()))
    assert not found & {"html_block", "html_inline", "link_open", "image", "code_inline", "fence"}


MARKUP = st.text(
    st.sampled_from("ab1 \n\t\\`*_[]()<>|~#@&;:/.!-+=$\"'{}") | st.characters(codec="utf-8"),
    max_size=60,
)


@given(MARKUP | st.sampled_from((reports.HOSTILE, "1. a\n2) b", "- a", "===", "a\n---", "www.a.b")))
def test_escaped_text_is_a_paragraph_with_those_words(text: str) -> None:
    line = " ".join(text.split())
    tokens = leaves(READER.parse(f"x {escaped(line)}"))
    shown = "".join(token.content for token in tokens if token.type in {"text", "text_special"})
    assert {token.type for token in tokens} <= {
        "paragraph_open",
        "paragraph_close",
        "inline",
        "text",
        "text_special",
    }
    assert shown == f"x {visible(line)}".rstrip()


def test_no_line_of_an_answer_begins_a_list_or_a_heading() -> None:
    answer = "1. one\n2) two\n- three\n+ four\n# five\nsix\n===\n| a | b |\n| - | - |"
    found = kinds("\n".join(f"> {line}" for line in escaped(answer).split("\n")))
    assert found == {
        "blockquote_open",
        "blockquote_close",
        "paragraph_open",
        "paragraph_close",
        "inline",
        "softbreak",
        "text",
    }


def test_what_would_act_unseen_is_shown() -> None:
    assert visible("a\u202eb\x07c\r\nd\re") == "a\ufffdb\ufffdc\n d\ne"
    assert visible("Hi\U000e0041\U000e0042!") == "Hi\ufffd\ufffd!"
    assert len(visible(reports.HOSTILE)) == len(reports.HOSTILE)
