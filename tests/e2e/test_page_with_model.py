"""The page, a model behind a real HTTP server, and a transcript that is the same everywhere."""

import hashlib
from collections.abc import Callable, Generator

import psycopg
import pytest
from playwright.sync_api import Page, expect

from tests.e2e.instances import Instance
from tests.e2e.pages import (
    RECOGNISER,
    Watched,
    answer,
    browser,
    log_in,
    needs_chromium,
    part,
    prepare,
    say,
    shown,
    transcript,
    watched,
)
from tests.support.fake_provider import fake_openai

__all__ = ["browser", "watched"]

pytestmark = needs_chromium

Start = Callable[..., Instance]


@pytest.fixture(params=["chat", "responses"])
def model(request: pytest.FixtureRequest) -> Generator[dict[str, str]]:
    """The settings of an instance whose interviewer is a model."""
    background = "1" if request.param == "responses" else "0"
    with fake_openai("--tokens", "25", "--tokens-per-second", "60") as settings:
        yield {**settings, "VIVA_API": str(request.param), "VIVA_BACKGROUND": background}


def _kept(page: Page, instance: Instance, interview_id: str, database_url: str) -> None:
    """What the page shows, what the API gives and what PostgreSQL holds are one."""
    turns = transcript(instance.url, interview_id)
    assert shown(page) == [turn["text"] for turn in turns]
    query = "SELECT text, sha256 FROM turns WHERE interview_id = %s ORDER BY turn"
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(query, (interview_id,)).fetchall()
    assert [row[0] for row in rows] == [turn["text"] for turn in turns]
    for text, digest in rows:
        assert hashlib.sha256(text.encode()).hexdigest() == str(digest).removeprefix("\\x")
    said = [turn for turn in turns if turn["speaker"] == "interviewer"]
    assert {turn["source"] for turn in said} == {"model"}
    assert len(said) >= 7


def test_by_typing(
    start: Start, watched: Watched, model: dict[str, str], database_url: str
) -> None:
    instance = start(**model)
    page = watched.page()
    log_in(page, instance.url)
    interview_id = prepare(page, "Baker")
    for number in range(6):
        answer(page, f"Answer {number}: naïve 日本 👩🏽‍💻, and then the oven failed.")
    expect(part(page, "ended-title")).to_have_text("The interview is over")
    expect(page.locator(".mine.stored")).to_have_count(6)
    _kept(page, instance, interview_id, database_url)


def test_by_voice_while_the_server_is_killed(
    start: Start, watched: Watched, model: dict[str, str], database_url: str
) -> None:
    instance = start(**model)
    watched.context.add_init_script(RECOGNISER)
    page = watched.page()
    log_in(page, instance.url)
    interview_id = prepare(page, "Pilot")
    expect(part(page, "label")).to_have_text("Your answer")
    page.get_by_role("button", name="Speak").click()
    for number in range(6):
        expect(part(page, "label")).to_have_text("Your answer", timeout=30_000)
        say(page, 2 * number, f"I landed it number {number}")
        expect(page.locator(".interim")).to_contain_text(f"number {number}")
        say(page, 2 * number, f"I landed it, number {number}.", final=True)
        expect(page.locator(".recorded").last).to_have_text(f"I landed it, number {number}.")
        page.get_by_role("button", name="Send answer").click()
        expect(page.locator(".mine .text").last).to_contain_text(f"number {number}.")
        if number == 2:
            expect(page.locator(".turn.open.theirs .text")).not_to_be_empty()
            instance.kill()
            expect(part(page, "words")).to_contain_text("reconnecting")
            instance.start()
            expect(part(page, "words")).to_have_text("Connected", timeout=30_000)
    expect(part(page, "ended-title")).to_have_text("The interview is over", timeout=30_000)
    _kept(page, instance, interview_id, database_url)
