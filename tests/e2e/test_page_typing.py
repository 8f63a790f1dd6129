"""What is typed is kept, whatever goes on meanwhile, and who types is not taken for silent."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect

from protocol import commands as c
from tests.e2e.clients import Client, post, until_asked
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


def test_what_is_typed_ahead_is_there_for_the_next_answer(start: Start, watched: Watched) -> None:
    instance = start(VIVA_BANK_PACE="20")
    page = watched.page()
    log_in(page, instance.url)
    prepare(page, "Chess player")
    box = page.locator("#answer")
    for sent, ahead in (("Pawn to e4.", "Knight to f3"), ("Knight to f3 and more.", "Castles")):
        answer(page, sent)
        expect(part(page, "label")).to_have_text("Your next answer")
        expect(box).to_have_value("")
        box.press_sequentially(ahead)
        expect(part(page, "label")).to_have_text("Your answer", timeout=30_000)
        expect(box).to_have_value(ahead)
    page.reload()
    expect(part(page, "label")).to_have_text("Your answer", timeout=30_000)
    expect(box).to_have_value("Castles")


def test_an_answer_whose_turn_ended_without_it_comes_back(start: Start, watched: Watched) -> None:
    first, second = start(VIVA_BANK_PACE="400"), start(VIVA_BANK_PACE="20")
    page = watched.page()
    log_in(page, first.url)
    interview_id = prepare(page, "Simultaneous interpreter")
    box = page.locator("#answer")
    answer(page, "At first by hand.")
    expect(part(page, "label")).to_have_text("Your answer")
    box.fill("What I typed by hand.")
    first.kill()
    expect(part(page, "words")).to_contain_text("reconnecting in")
    box.press("Control+Enter")
    expect(part(page, "saved")).to_contain_text("sent as soon as the server is back")
    other = Client(interview_id, "json")
    other.connect(
        second, post(second, f"/{interview_id}/tickets", {"role": "transcriber"})["ticket"]
    )
    other.until_live()
    until_asked(other)
    other.post(other.session.send(c.AnswerSubmit(id="spoken", text="What I said.")))
    while other.session.unanswered:
        other.take()
    first.start()
    expect(page.locator(".mine .text").last).to_have_text("What I said.", timeout=30_000)
    expect(box).to_have_value("What I typed by hand.")
    expect(part(page, "problem")).to_contain_text("back in the box")
    expect(part(page, "label")).to_have_text("Your answer", timeout=30_000)
    expect(box).to_have_value("What I typed by hand.")
    box.press("Control+Enter")
    expect(page.locator(".mine .text").last).to_have_text("What I typed by hand.")
    expect(box).to_have_value("")
