"""The page in a real Chromium, watched for errors and for violations of its policy."""

import json
import re
import shutil
import time
import urllib.request
from collections.abc import Callable, Generator
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    expect,
    sync_playwright,
)

from server.auth import sign
from tests.e2e.instances import SECRET

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 15_000
SERVER_DOWN = re.compile(r"ERR_|WebSocket connection to|Failed to load resource")

RECOGNISER = """
class Recogniser {
  start() { window.recogniser = this; }
  stop() { setTimeout(() => this.onend?.({}), 0); }
  abort() { setTimeout(() => this.onend?.({}), 0); }
}
window.SpeechRecognition = window.webkitSpeechRecognition = Recogniser;
"""
"""Stands in for the browser's recognition, which needs a service of its maker."""
_SAY = """([index, transcript, isFinal]) => {
  const results = Array.from({ length: index + 1 }, () => [{ transcript, confidence: 0.9 }]);
  results[index].isFinal = isFinal;
  recogniser.onresult({ resultIndex: index, results });
}"""

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


class Watched:
    """A browser context whose pages may not complain."""

    def __init__(self, context: BrowserContext) -> None:
        context.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        self.context = context
        self.complaints: list[str] = []
        context.on("console", self._console)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))

    def page(self) -> Page:
        return self.context.new_page()

    def _console(self, message: ConsoleMessage) -> None:
        down = SERVER_DOWN.search(message.text) and "Content Security Policy" not in message.text
        if message.type in ("error", "warning") and not down:
            self.complaints.append(message.text)


@pytest.fixture
def watched(browser: Browser) -> Generator[Watched]:
    """A fresh context; the test fails if a page threw, logged an error or broke its policy."""
    context = browser.new_context(accept_downloads=True, locale="en-US")
    watching = Watched(context)
    yield watching
    context.close()
    assert watching.complaints == []


def part(page: Page, name: str) -> Locator:
    return page.locator(f"[data-part={name}]")


def log_in(page: Page, url: str, user: str = "ada") -> None:
    page.goto(f"{url}/#token={sign(user, 'candidate', SECRET, 3600)}")
    expect(page.get_by_label("The role you are interviewing for")).to_be_visible()
    assert "token" not in page.url


def prepare(page: Page, role: str, *, minutes: str = "15") -> str:
    """Fill in the start form, consent, and return the interview's id."""
    page.get_by_label("The role you are interviewing for").fill(role)
    page.get_by_label("Length").select_option(minutes)
    page.get_by_role("button", name="Prepare the interview").click()
    page.get_by_role("button", name="I agree, begin").click()
    # What is clicked while the page makes room for the conversation may have moved by then.
    expect(page.get_by_role("button", name="I agree, begin")).to_be_hidden()
    return page.url.rsplit("/", 1)[1]


def go_home(page: Page) -> None:
    """Leave an interview by the page's head, once the interviewer is done: words move the page."""
    expect(part(page, "label")).to_have_text("Your answer")
    page.get_by_role("link", name="viva").click()


def answer(page: Page, text: str) -> None:
    """Type an answer and send it by the keyboard, once the interviewer is done."""
    expect(part(page, "label")).to_have_text("Your answer")
    page.locator("#answer").fill(text)
    expect(part(page, "submit")).to_be_enabled()
    page.locator("#answer").press("Control+Enter")
    expect(page.locator(".mine .text").last).to_have_text(text)


def shown(page: Page) -> list[str]:
    """The text of every turn on screen."""
    return page.locator(".turn .text").evaluate_all("texts => texts.map((t) => t.textContent)")


def transcript(url: str, interview_id: str, user: str = "ada") -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = _get(f"{url}/api/interviews/{interview_id}/transcript", user)[
        "turns"
    ]
    return turns


def interviews(url: str, user: str = "ada") -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = _get(f"{url}/api/interviews", user)["items"]
    return items


def whole(url: str, interview_id: str, user: str = "ada") -> dict[str, Any]:
    """An interview with all of its plan."""
    found: dict[str, Any] = _get(f"{url}/api/interviews/{interview_id}", user)
    return found


def _get(address: str, user: str) -> Any:
    token = sign(user, "candidate", SECRET, 600)
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)


def say(page: Page, index: int, words: str, *, final: bool = False) -> None:
    """Let the recogniser hear ``words`` as its result number ``index``."""
    page.evaluate(_SAY, [index, words, final])


def eventually(page: Page, holds: Callable[[], bool]) -> None:
    """Let the browser's events come in until ``holds()``; it does not within the patience: fail."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        page.wait_for_timeout(20)


def frames_sent(page: Page) -> list[dict[str, Any]]:
    """The messages that the page sends from now on; the list grows."""
    frames: list[dict[str, Any]] = []
    page.on(
        "websocket",
        lambda socket: socket.on("framesent", lambda frame: frames.append(json.loads(frame))),
    )
    return frames
