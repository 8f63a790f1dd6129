"""Words that are on screen while somebody speaks are not lost by what is pressed then."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.instances import Instance
from tests.e2e.pages import (
    RECOGNISER,
    Watched,
    browser,
    eventually,
    log_in,
    needs_chromium,
    part,
    prepare,
    say,
    transcript,
    watched,
)

__all__ = ["browser", "watched"]

pytestmark = needs_chromium

Start = Callable[..., Instance]


def _speaking(url: str, watched: Watched, words: str) -> tuple[Page, str]:
    """Return a page whose candidate has said ``words``, none of them final, and the interview."""
    watched.context.add_init_script(RECOGNISER)
    page = watched.page()
    log_in(page, url)
    interview_id = prepare(page, "Speaker")
    expect(part(page, "label")).to_have_text("Your answer")
    page.get_by_role("button", name="Speak").click()
    say(page, 0, words)
    expect(page.locator(".interim")).to_have_text(words)
    return page, interview_id


def test_a_pause_keeps_them(start: Start, watched: Watched) -> None:
    page, _ = _speaking(start(VIVA_BANK_PACE="400").url, watched, "alpha, said before the pause")
    page.get_by_role("button", name="Pause").click()
    expect(part(page, "label")).to_have_text("Paused")
    expect(page.locator(".recorded")).to_have_text("alpha, said before the pause")
    page.get_by_role("button", name="Resume").click()
    expect(part(page, "label")).to_have_text("Your answer")
    say(page, 0, "Omega.", final=True)
    expect(page.locator(".recorded")).to_have_text(["alpha, said before the pause ", "Omega. "])


@pytest.mark.parametrize("button", ["Hint", "End"])
def test_a_hint_and_the_end_keep_them(start: Start, watched: Watched, button: str) -> None:
    instance = start(VIVA_BANK_PACE="400")
    page, interview_id = _speaking(instance.url, watched, "epsilon, said before it")
    page.get_by_role("button", name=button, exact=True).click()
    if button == "End":
        page.get_by_role("button", name="End the interview").click()
    expect(page.locator(".mine .text")).to_have_text("epsilon, said before it")
    assert transcript(instance.url, interview_id)[1]["text"] == "epsilon, said before it"


def test_to_stop_and_go_on_at_once_keeps_them(start: Start, watched: Watched) -> None:
    page, _ = _speaking(start(VIVA_BANK_PACE="400").url, watched, "gamma, said before")
    page.evaluate("""
        window.first = recogniser;
        first.stop = () => setTimeout(() => first.onend({}), 300);
        const voice = document.querySelector("[data-part=voice]");
        voice.click();
        voice.click();
    """)
    eventually(page, lambda: page.evaluate("recogniser !== first"))
    say(page, 0, "Delta.", final=True)
    expect(page.locator(".recorded")).to_have_text(["gamma, said before ", "Delta. "])
    expect(part(page, "voice")).to_have_text("Stop listening")
