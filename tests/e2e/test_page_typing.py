"""What is typed is kept, whatever goes on meanwhile, and who types is not taken for silent."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

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
    transcript,
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
    expect(part(page, "words")).to_contain_text("reconnecting")
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


def _end(page: Page) -> None:
    page.get_by_role("button", name="End", exact=True).click()
    page.get_by_role("button", name="End the interview").click()
    expect(part(page, "ended-title")).to_have_text("The interview is over")


def _drafts(page: Page) -> list[str]:
    keys: list[str] = page.evaluate(
        "Object.keys(localStorage).filter((key) => /:draft$/.test(key))"
    )
    return keys


def test_an_answer_that_stands_in_the_box_is_given_before_the_end(
    start: Start, watched: Watched
) -> None:
    instance = start(VIVA_BANK_PACE="400")
    page = watched.page()
    log_in(page, instance.url)
    interview_id = prepare(page, "Marathon runner")
    expect(part(page, "label")).to_have_text("Your answer")
    page.locator("#answer").fill("My last words, and they took minutes.")
    _end(page)
    expect(page.locator(".mine .text")).to_have_text("My last words, and they took minutes.")
    [said] = [
        turn for turn in transcript(instance.url, interview_id) if turn["speaker"] == "candidate"
    ]
    assert (said["text"], said["outcome"]) == ("My last words, and they took minutes.", "final")
    expect(part(page, "unsent")).to_be_hidden()
    assert _drafts(page) == []


def test_words_that_no_turn_waited_for_are_shown_at_the_end(start: Start, watched: Watched) -> None:
    instance = start(VIVA_BANK_PACE="8")
    page = watched.page()
    log_in(page, instance.url)
    prepare(page, "Sprinter")
    expect(page.locator(".turn.open.theirs .text")).not_to_be_empty()
    page.locator("#answer").fill("Ahead of the question.")
    _end(page)
    expect(part(page, "unsent-words")).to_have_text("Ahead of the question.")
    page.reload()
    expect(part(page, "unsent-words")).to_have_text("Ahead of the question.")
    page.get_by_role("button", name="Delete it").click()
    expect(part(page, "unsent")).to_be_hidden()
    assert _drafts(page) == []


def test_where_the_browser_stores_nothing_a_lost_connection_loses_nothing(
    start: Start, watched: Watched
) -> None:
    instance = start(VIVA_BANK_PACE="400")
    page = watched.page()
    log_in(page, instance.url)
    prepare(page, "Packrat")
    expect(part(page, "label")).to_have_text("Your answer")
    page.evaluate("Storage.prototype.setItem = () => { throw new DOMException('full') }; 0")
    box = page.locator("#answer")
    instance.kill()
    expect(part(page, "words")).to_contain_text("reconnecting")
    box.fill("Sent while away.")
    box.press("Control+Enter")
    expect(part(page, "saved")).to_contain_text("sent as soon as the server is back")
    instance.start()
    expect(page.locator(".mine .text")).to_have_text("Sent while away.", timeout=30_000)
    expect(box).to_have_value("")
    expect(page.locator(".mine.stored")).to_have_count(1)
    page.get_by_role("button", name="Log out and clear").click()
    expect(page.get_by_label("Access token")).to_be_visible()
