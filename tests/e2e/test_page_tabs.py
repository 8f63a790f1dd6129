"""One interview in two tabs of a browser: one of them has it, and words are in neither lost."""

from collections.abc import Callable

from playwright.sync_api import expect

from tests.e2e.instances import Instance
from tests.e2e.pages import (
    Watched,
    answer,
    browser,
    log_in,
    needs_chromium,
    part,
    prepare,
    transcript,
    watched,
)

__all__ = ["browser", "watched"]

pytestmark = needs_chromium

Start = Callable[..., Instance]


def test_the_tab_that_takes_over_has_the_words_of_the_other(start: Start, watched: Watched) -> None:
    instance = start(VIVA_BANK_PACE="400")
    page = watched.page()
    log_in(page, instance.url)
    interview_id = prepare(page, "Juggler")
    expect(part(page, "label")).to_have_text("Your answer")
    page.locator("#answer").fill("Typed in the first tab.")
    other = watched.page()
    other.goto(page.url)
    expect(other.locator("#answer")).to_have_value("Typed in the first tab.")
    expect(part(page, "words")).to_contain_text("another tab")
    expect(part(page, "composer")).to_be_hidden()  # nothing that is given there would be sent
    other.locator("#answer").fill("Typed in the first tab, and in the second.")
    page.get_by_role("button", name="Use it here").click()
    expect(page.locator("#answer")).to_have_value("Typed in the first tab, and in the second.")
    expect(part(other, "composer")).to_be_hidden()
    answer(page, "Typed in the first tab, and in the second. And sent.")
    said = [turn["text"] for turn in transcript(instance.url, interview_id)]
    assert said[1] == "Typed in the first tab, and in the second. And sent."


def test_an_interview_that_is_erased_elsewhere_takes_no_words_any_more(
    start: Start, watched: Watched
) -> None:
    instance = start(VIVA_BANK_PACE="400")
    page = watched.page()
    log_in(page, instance.url)
    interview_id = prepare(page, "Vanished")
    expect(part(page, "label")).to_have_text("Your answer")
    page.locator("#answer").fill("Typed in vain.")
    other = watched.page()
    other.goto(instance.url)
    other.get_by_role("button", name="Erase Vanished").click()
    other.get_by_role("button", name="Erase it").click()
    expect(part(page, "lost-words")).to_contain_text("no such interview")
    expect(part(page, "composer")).to_be_hidden()
    kept: list[str] = page.evaluate("Object.keys(localStorage)")
    assert [key for key in kept if interview_id in key] == []
