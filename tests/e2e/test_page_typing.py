"""Who types an answer for long is not taken for silent: the page tells that they are there."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect

from tests.e2e.instances import Instance
from tests.e2e.pages import (
    Watched,
    answer,
    browser,
    eventually,
    frames_sent,
    log_in,
    needs_chromium,
    part,
    prepare,
    watched,
)

__all__ = ["browser", "watched"]

pytestmark = needs_chromium

Start = Callable[..., Instance]


def _signs(frames: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [
        (frame["utterance_id"], frame["text"])
        for frame in frames
        if frame["type"] == "speech.partial"
    ]


def test_typing_is_told_now_and_then_and_never_its_words(start: Start, watched: Watched) -> None:
    instance = start(VIVA_BANK_PACE="400")
    page = watched.page()
    frames = frames_sent(page)
    log_in(page, instance.url)
    prepare(page, "Novelist")
    expect(part(page, "label")).to_have_text("Your answer")
    box = page.locator("#answer")
    box.press_sequentially("It was a dark")
    eventually(page, lambda: _signs(frames) == [("typing", "")])
    page.evaluate("const told = performance.now(); performance.now = () => told + 10000")
    box.press_sequentially(" and stormy night.")
    eventually(page, lambda: _signs(frames) == 2 * [("typing", "")])
    answer(page, "Once upon a time.")
    expect(page.locator(".mine .text")).to_have_text("Once upon a time.")
