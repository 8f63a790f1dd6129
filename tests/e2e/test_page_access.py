"""The page by keyboard, for eyes that need contrast, and from right to left."""

from collections.abc import Callable
from typing import Literal

from playwright.sync_api import Locator, Page, expect

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
STOPS = 3
"""From the answer back to the feedback: two buttons lie between."""
ARABIC = "مرحبا، أنا مهندس برمجيات (Python)."
_COVERED = """() => {
  const focused = document.activeElement;
  const { left, right, top, bottom } = focused.getBoundingClientRect();
  const corners = [[left + 3, top + 3], [right - 3, bottom - 3]];
  const seen = corners.every(([x, y]) => focused.contains(document.elementFromPoint(x, y)));
  return seen ? null : focused.textContent;
}"""
_CONTRAST = """box => {
  const light = (color) => {
    const parts = color.match(/[0-9]+/g).slice(0, 3).map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const around = getComputedStyle(box.closest(".card, .composer")).backgroundColor;
  const { borderTopColor, backgroundColor } = getComputedStyle(box);
  return Math.min(...[around, backgroundColor].map((other) => {
    const [darker, lighter] = [light(borderTopColor), light(other)].sort((a, b) => a - b);
    return (lighter + 0.05) / (darker + 0.05);
  }));
}"""


def test_what_is_tabbed_back_to_is_not_covered(start: Start, watched: Watched) -> None:
    instance = start(VIVA_BANK_PACE="400")
    page = watched.page()
    log_in(page, instance.url)
    prepare(page, "Pianist")
    for number in range(3):
        answer(page, f"I led it, because it was late: {number}. It worked.\n" + 20 * "Truly.\n")
    feedback = page.get_by_text("Feedback", exact=True)
    expect(feedback).to_have_count(1)
    expect(part(page, "label")).to_have_text("Your answer")
    page.locator("#answer").focus()
    for _ in range(STOPS):
        page.keyboard.press("Shift+Tab")
        assert page.evaluate(_COVERED) is None
    expect(page.locator("summary:focus")).to_have_count(1)


def _of_three(page: Page, boxes: Locator) -> None:
    """WCAG 2.2, 1.4.11: what shows where to type has a contrast of 3 : 1."""
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        for box in boxes.all():
            assert box.evaluate(_CONTRAST) >= 3


def test_boxes_are_seen_and_written_from_either_side(start: Start, watched: Watched) -> None:
    instance = start(VIVA_BANK_PACE="400")
    page = watched.page()
    log_in(page, instance.url)
    page.locator(".documents summary").click()
    _of_three(page, page.locator("select, textarea, #role"))
    for box in (page.locator("#role"), page.get_by_label("Job description")):
        box.fill(ARABIC)
        expect(box).to_have_css("direction", "rtl")
    prepare(page, "Translator")
    expect(part(page, "label")).to_have_text("Your answer")
    box = page.locator("#answer")
    _of_three(page, box)
    expect(box).to_have_css("direction", "ltr")
    box.fill(ARABIC)
    expect(box).to_have_css("direction", "rtl")
