"""Feedback and the report on the page: offline, with a model that rates, and where none comes."""

import re
from collections.abc import Callable, Generator

import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.instances import Instance
from tests.e2e.pages import (
    Watched,
    answer,
    browser,
    eventually,
    log_in,
    needs_chromium,
    part,
    prepare,
    watched,
)
from tests.support.fake_provider import fake_openai

__all__ = ["browser", "watched"]

pytestmark = needs_chromium

Start = Callable[..., Instance]
FAST = {"VIVA_BANK_PACE": "400"}
SAID = (
    "We were late by three weeks. I cut the scope in two <b>and</b> told the client on the same"
    " day. It worked: we shipped in May, and 40 of our 50 users stayed with us."
)
STRONG = "quality:strong"
MOVED_AT_ONCE = "button => { const at = scrollY; button.click(); return scrollY !== at; }"
NOT_A_RATING = "Feedback, not a rating"


@pytest.fixture
def model() -> Generator[dict[str, str]]:
    with fake_openai("--tokens", "20", "--tokens-per-second", "400") as settings:
        yield settings


def _answers(page: Page, numbers: range, quality: str = "") -> None:
    for number in numbers:
        answer(page, f"{SAID} {quality} {number}")


def _interview(page: Page, quality: str = "") -> None:
    _answers(page, range(6), quality)
    expect(part(page, "ended-title")).to_have_text("The interview is over")


def test_feedback_without_a_model_is_no_rating(start: Start, watched: Watched) -> None:
    instance = start(**FAST)
    page = watched.page()
    log_in(page, instance.url)
    prepare(page, "Baker")
    _answers(page, range(3))
    live = page.locator(".feedback")
    expect(live).to_have_count(1)
    expect(live).to_contain_text(NOT_A_RATING)
    for quote in live.locator("blockquote p").all_text_contents():
        assert quote in SAID
    assert page.locator(".mine + .rated").count() == 1  # behind the answer that it is about
    page.reload()
    expect(live).to_have_count(1)

    _answers(page, range(3, 6))
    sheet = part(page, "report-sheet")
    expect(sheet).to_contain_text("Without a model.")
    expect(sheet.locator(".overall")).to_have_text("Not rated")
    assert sheet.locator(".scores, .pips, b").count() == 0
    expect(sheet.locator(".answer").first).to_contain_text(NOT_A_RATING)
    _taken_away(page)
    page.reload()
    expect(sheet).to_contain_text("Without a model.")
    page.get_by_role("link", name="Back to your interviews").click()
    expect(part(page, "progress-words")).to_contain_text("no scores to compare")


def _taken_away(page: Page) -> None:
    for name, suffix, begins in (("report-pdf", "pdf", b"%PDF"), ("report-markdown", "md", b"# ")):
        with page.expect_download() as download:
            part(page, name).click()
        assert download.value.suggested_filename.endswith(f".{suffix}")
        assert download.value.path().read_bytes().startswith(begins)
    with page.expect_popup() as popup:
        page.get_by_role("link", name="Open in a new tab").click()
    opened = popup.value
    expect(opened.locator("h1")).to_be_visible()
    styled = "getComputedStyle(document.querySelector('.hero')).display"
    assert opened.evaluate(styled) == "grid"  # the policy lets its style sheet through
    opened.close()


def test_scores_come_with_quotes(start: Start, watched: Watched, model: dict[str, str]) -> None:
    instance = start(**model)
    page = watched.page()
    log_in(page, instance.url)
    prepare(page, "Engineer")
    _answers(page, range(3), STRONG)
    live = page.locator(".feedback")
    expect(live.locator(".mark")).to_have_text("5 of 5")
    expect(live).to_contain_text("Closest description")
    expect(page.locator("#announcer")).to_contain_text(re.compile(r"Feedback on .+: 5 of 5\."))
    _answers(page, range(3, 6), STRONG)
    sheet = part(page, "report-sheet")
    expect(sheet.locator(".overall")).to_have_text("5 of 5")
    assert set(sheet.locator(".scores td.figure").all_text_contents()) == {"5"}
    first = sheet.locator(".answer").first
    first.locator("summary").click()
    quote = first.locator("blockquote").first
    expect(quote).to_be_visible()
    assert (quote.locator("p").text_content() or "nothing") in f"{SAID} {STRONG}"
    page.emulate_media(reduced_motion="reduce")
    assert quote.get_by_role("button").evaluate(MOVED_AT_ONCE)
    expect(page.locator(".turn:focus")).to_contain_text("quality:strong")
    _taken_away(page)
    page.get_by_role("link", name="Back to your interviews").click()
    overall = part(page, "progress-rows").locator("tr").first
    expect(overall).to_contain_text("Overall")
    expect(overall.locator(".figure")).to_have_text("5")


def test_an_assessment_shows_no_rating(
    start: Start, watched: Watched, model: dict[str, str]
) -> None:
    instance = start(**model)
    page = watched.page()
    log_in(page, instance.url)
    page.get_by_label("Assessment").check()
    prepare(page, "Auditor")
    _interview(page, STRONG)
    expect(part(page, "report-words")).to_contain_text("Your answers go to reviewers")
    eventually(page, lambda: part(page, "connection").get_attribute("data-state") == "over")
    assert page.locator(".feedback, .sheet > *").count() == 0


def test_nothing_said_is_nothing_to_report(start: Start, watched: Watched) -> None:
    instance = start(**FAST)
    page = watched.page()
    log_in(page, instance.url)
    prepare(page, "Mime")
    expect(part(page, "label")).to_have_text("Your answer")
    page.get_by_role("button", name="End", exact=True).click()
    page.get_by_role("button", name="End the interview").click()
    expect(part(page, "report-words")).to_contain_text("nothing to report")
    expect(part(page, "report-progress")).to_be_hidden()


def test_a_report_that_failed_can_be_asked_for_again(start: Start, watched: Watched) -> None:
    instance = start(**FAST)
    page = watched.page()
    log_in(page, instance.url)
    prepare(page, "Phoenix")
    answers = iter([(409, '{"code": "unverifiable", "detail": "It could not be."}'), (202, "{}")])

    def refuse(route: Route) -> None:
        if route.request.method == "POST":
            route.fulfill(status=202, json={"status": "pending"})
        elif found := next(answers, None):
            route.fulfill(status=found[0], body=found[1], content_type="application/json")
        else:
            route.continue_()

    page.route("**/report", refuse)
    _interview(page)
    expect(part(page, "report-words")).to_have_text("It could not be.")
    page.get_by_role("button", name="Have it written again").click()
    expect(part(page, "report-progress")).to_be_visible()
    expect(part(page, "report-words")).to_contain_text("being written")
    expect(part(page, "report-sheet")).to_contain_text("Without a model.")
