"""The time left that the page shows is the server's."""

import re
from collections.abc import Callable

from playwright.sync_api import expect

from tests.e2e.instances import Instance
from tests.e2e.pages import Watched, browser, log_in, needs_chromium, part, prepare, watched

__all__ = ["browser", "watched"]

pytestmark = needs_chromium

Start = Callable[..., Instance]
TRUE = re.compile(r"1[45]:\d\d")
_SET_DEVICE = "const date = Date.now; Date.now = () => date() + 300_000"
_PASS_TIME = """
const watch = performance.now.bind(performance);
performance.now = () => watch() + 300_000;
"""


def test_the_clock_is_the_servers_whatever_the_page_measured(
    start: Start, watched: Watched
) -> None:
    instance = start(VIVA_BANK_PACE="400")
    page = watched.page()
    log_in(page, instance.url)
    prepare(page, "Watchmaker")
    expect(part(page, "label")).to_have_text("Your answer")
    clock = part(page, "clock")
    held = clock.text_content() or ""
    page.evaluate(_SET_DEVICE)
    expect(clock).not_to_have_text(held)
    expect(clock).to_have_text(TRUE)

    instance.kill()
    expect(part(page, "words")).to_contain_text("reconnecting")
    page.evaluate(_PASS_TIME)
    expect(clock).to_have_text(re.compile(r"9:\d\d"))
    instance.start()
    expect(part(page, "words")).to_have_text("Connected", timeout=30_000)
    expect(clock).to_have_text(TRUE)
