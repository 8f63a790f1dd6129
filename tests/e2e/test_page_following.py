"""The page follows its end while words come, unless the candidate moves it up."""

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.e2e.instances import Instance
from tests.e2e.pages import Watched, browser, eventually, log_in, needs_chromium, prepare, watched
from tests.support.fake_provider import fake_openai

__all__ = ["browser", "watched"]

pytestmark = needs_chromium

Start = Callable[..., Instance]

_BELOW = "document.documentElement.scrollHeight - innerHeight - scrollY"
"""How many px of the page are below what is on screen."""
_SPOKEN = "document.querySelector('.turn.open .text').textContent.length"


def _more_words(page: Page) -> None:
    spoken = page.evaluate(_SPOKEN)
    eventually(page, lambda: page.evaluate(_SPOKEN) > spoken + 40)


def test_who_moves_up_is_left_there(start: Start, watched: Watched) -> None:
    with fake_openai("--tokens", "1000", "--tokens-per-second", "40") as model:
        instance = start(**model)
        page = watched.page()
        page.set_viewport_size({"width": 390, "height": 600})
        log_in(page, instance.url)
        prepare(page, "Reader")
        expect(page.locator(".turn.open.theirs .text")).not_to_be_empty()
        eventually(page, lambda: page.evaluate("scrollY") > 100)
        page.mouse.move(195, 300)

        page.mouse.wheel(0, -60)
        eventually(page, lambda: page.evaluate(_BELOW) > 40)
        page.wait_for_timeout(300)  # the wheel's own smooth movement
        held = page.evaluate("scrollY")
        _more_words(page)
        assert page.evaluate("scrollY") == held

        page.mouse.wheel(0, 10_000)
        eventually(page, lambda: page.evaluate("scrollY") > held)
        _more_words(page)
        assert page.evaluate(_BELOW) < 2
