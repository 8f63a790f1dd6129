"""The interview on screens that are low: zoomed pages, phones on their side, open keyboards."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from tests.e2e.instances import Instance
from tests.e2e.pages import (
    Watched,
    answer,
    browser,
    log_in,
    needs_chromium,
    part,
    prepare,
    watched,
)

__all__ = ["browser", "watched"]

pytestmark = needs_chromium

Start = Callable[..., Instance]
HIGH = ViewportSize(width=1280, height=720)
LOW = [
    ViewportSize(width=640, height=360),  # that screen at 200 %
    ViewportSize(width=320, height=256),  # and at 400 %: WCAG 2.2, 1.4.10
    ViewportSize(width=844, height=390),
    ViewportSize(width=390, height=340),
]
_LEFT_TO_READ = """answer => {
  answer.scrollIntoView({ block: "start" });
  const [head, composer] = ["head", "composer"].map((name) =>
    document.querySelector(`[data-part=${name}]`).getBoundingClientRect());
  return (Math.min(innerHeight, composer.top) - Math.max(0, head.bottom)) / innerHeight;
}"""
_COVERED = """box => {
  box.blur();
  box.focus();
  const { left, right, top, bottom } = box.getBoundingClientRect();
  return [[left, top], [right, bottom]].filter(([x, y], end) =>
    document.elementFromPoint(x + (end ? -4 : 4), y + (end ? -4 : 4)) !== box).length;
}"""


def _left_to_read(page: Page, size: ViewportSize) -> float:
    """Return how much of the screen shows the conversation, scrolled to amid it."""
    page.set_viewport_size(size)
    return float(page.locator(".mine .text").evaluate(_LEFT_TO_READ))


def test_a_low_screen_is_there_to_read_and_to_write(start: Start, watched: Watched) -> None:
    instance = start(VIVA_BANK_PACE="400")
    page = watched.page()
    log_in(page, instance.url)
    prepare(page, "Submariner")
    answer(page, "Deep.\n" * 40)
    expect(part(page, "label")).to_have_text("Your answer")
    box = page.locator("#answer")
    for draft in ("", "Deeper.\n" * 30):
        box.fill(draft)
        assert [_left_to_read(page, size) for size in LOW] == pytest.approx([1, 1, 1, 1])
        for size in LOW:
            page.set_viewport_size(size)
            assert box.evaluate(_COVERED) == 0
        assert 0.2 < _left_to_read(page, HIGH) < 0.9  # there the answer and the clock stay in sight
