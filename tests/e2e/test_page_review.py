"""What reviewers see on the page: the list, one interview with its proof, and what they decide."""

import asyncio
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import Page, Route, expect

from protocol.scalars import Mode
from server.auth import UserRole, sign
from server.ids import uuid7
from tests.e2e.instances import SECRET, Instance
from tests.e2e.pages import Watched, browser, needs_chromium, part, watched
from tests.e2e.test_api import ask
from tests.support.ended import ANSWER, ended
from tests.support.fake_provider import fake_openai
from tests.support.interviews import NOW, opened

__all__ = ["browser", "watched"]

pytestmark = needs_chromium

Start = Callable[..., Instance]
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title = 2</script> \U0001f600'
SAID = f"{HOSTILE} {ANSWER} {ANSWER} quality:strong"
PATIENCE_S = 20.0
DAY_MS = 86_400_000


@pytest.fixture
def model() -> Generator[dict[str, str]]:
    with fake_openai("--tokens", "20", "--tokens-per-second", "400") as settings:
        yield settings


def _put(database_url: str, *answers: str, number: int = 0, mode: Mode = "assessment") -> str:
    """Put an interview there that is over, and return its id."""

    async def put() -> str:
        async with opened(database_url) as archive:
            found = await ended(archive, NOW + number, mode=mode, answers=answers)
            return found.interview_id

    # In a thread: the browser's driver keeps a loop of its own running in this one.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(put())).result()


def _have_written(instance: Instance, interview_id: str) -> None:
    path = f"/api/interviews/{interview_id}/report"
    assert ask(instance, "POST", path, user="rex", role="reviewer").status == 202
    deadline = time.monotonic() + PATIENCE_S
    while ask(instance, "GET", path, user="rex", role="reviewer").status != 200:
        assert time.monotonic() < deadline, "the report never came"
        time.sleep(0.1)


def _log_in(page: Page, url: str, user: str = "rex", role: UserRole = "reviewer") -> None:
    page.goto(f"{url}/#token={sign(user, role, SECRET, 3600)}")
    expect(page.locator("#who")).to_contain_text(user)


def test_a_reviewer_reads_what_proves_a_rating_and_decides(
    start: Start, watched: Watched, model: dict[str, str], database_url: str
) -> None:
    instance = start(**model)
    interview = _put(database_url, SAID, SAID)
    _have_written(instance, interview)
    page = watched.page()
    _log_in(page, instance.url)
    expect(page.locator("#who")).to_have_text("rex · reviewer")
    page.get_by_role("link", name="Engineer").click()
    expect(part(page, "facts")).to_contain_text("ann")
    expect(part(page, "report-sheet").locator(".overall")).to_have_text("5 of 5")
    for told in ("Cost of the model", "Connection lost", "never", "by a model"):
        expect(part(page, "report-facts")).to_contain_text(told)
    first = page.locator(".answer").first
    first.locator("summary").click()
    expect(first.locator(".anchors dt")).to_have_text(["1 of 5", "3 of 5", "5 of 5"])
    expect(first.locator(".is-matched")).to_have_count(1)
    _proven(page)
    _decided(page)
    # What is decided is the server's, not this page's.
    page.reload()
    expect(page.locator(".decided strong")).to_have_text(["Reject", "Advance"])
    assert page.title() == "Engineer · viva"
    assert page.locator(".review img, .review script").count() == 0


def _proven(page: Page) -> None:
    """A quote leads to its place, to the letter, and back."""
    quote = page.locator(".answer[open] blockquote").first
    words = quote.locator("p").text_content()
    assert words
    quote.get_by_role("button").click()
    cited = page.locator(".turn:focus")
    expect(cited.locator("mark")).to_have_text(words)
    assert cited.locator(".text").text_content() == SAID  # as text, and all of it
    expect(page.locator("mark")).to_have_count(1)
    cited.get_by_role("button", name="Back to the rating").click()
    expect(quote.get_by_role("button")).to_be_focused()


def _decided(page: Page) -> None:
    expect(part(page, "decisions-words")).to_have_text("Nobody has decided yet.")
    record = page.get_by_role("button", name="Record the decision")
    record.click()
    expect(part(page, "verdict-problem")).to_have_text("Choose a decision.")
    page.get_by_label("Advance").check()
    record.click()
    expect(part(page, "verdict-problem")).to_contain_text("Give your reason")
    page.get_by_label("Reason").fill(HOSTILE)
    record.click()
    expect(part(page, "verdict-done")).to_have_text("Recorded: Advance.")
    expect(page.locator(".decisions .text")).to_have_text(HOSTILE)
    expect(page.get_by_label("Reason")).to_have_value("")
    page.get_by_label("Reject").check()
    page.get_by_label("Reason").fill("Second thoughts.")
    record.click()
    expect(page.locator(".decided strong")).to_have_text(["Reject", "Advance"])
    expect(page.locator(".decided").first).to_contain_text("rex")


def test_a_decision_whose_answer_was_lost_is_not_told_as_failed(
    start: Start, watched: Watched, database_url: str
) -> None:
    instance = start()
    interview = _put(database_url, ANSWER, ANSWER)
    _have_written(instance, interview)
    page = watched.page()
    _log_in(page, instance.url)
    page.goto(f"{instance.url}/#/review/{interview}")
    expect(part(page, "report-facts")).to_contain_text("without a model")

    def lose(route: Route) -> None:
        route.fetch()
        route.abort()

    page.route("**/decision", lose)
    page.get_by_label("Hold").check()
    page.get_by_label("Reason").fill("Ask a colleague.")
    page.get_by_role("button", name="Record the decision").click()
    expect(part(page, "verdict-problem")).to_contain_text("What is recorded by now stands above.")
    expect(page.locator(".decided strong")).to_have_text(["Hold"])
    # What was not sent for sure is still there, also for who looked elsewhere meanwhile.
    page.get_by_role("link", name="All interviews").click()
    page.get_by_role("link", name="Engineer").click()
    expect(page.get_by_label("Reason")).to_have_value("Ask a colleague.")


def test_the_list_is_filtered_and_turned_over(
    start: Start, watched: Watched, database_url: str
) -> None:
    instance = start()
    for number in range(22):
        _put(database_url, ANSWER, number=number, mode="practice")
    plan = {"type": "technical", "role": HOSTILE[:100], "duration_minutes": 15}
    assert ask(instance, "POST", "/api/interviews", plan).status == 201
    page = watched.page()
    _log_in(page, instance.url)
    items, count = page.locator(".reviews li"), part(page, "count")
    expect(count).to_have_text("1 to 20 of 23")
    expect(items).to_have_count(20)
    page.get_by_role("link", name="Older").click()
    expect(count).to_have_text("21 to 23 of 23")
    page.get_by_role("link", name="Newer").click()
    expect(count).to_have_text("1 to 20 of 23")
    page.get_by_label("Kind").select_option("technical")
    page.get_by_role("button", name="Show").click()
    expect(count).to_have_text("One interview")
    expect(items.locator("strong")).to_have_text(HOSTILE[:100])
    page.get_by_label("State").select_option("completed")
    page.get_by_role("button", name="Show").click()
    expect(count).to_have_text("There are none.")
    page.go_back()
    expect(page.get_by_label("Kind")).to_have_value("technical")
    expect(page.get_by_label("State")).to_have_value("")
    expect(count).to_have_text("One interview")
    page.goto(f"{instance.url}/#/review?since=2026-13-01&type=%3Cb%3E&offset=-1")  # none of it is
    expect(count).to_have_text("1 to 20 of 23")
    page.get_by_label("Since").fill("2100-01-01")
    page.get_by_role("button", name="Show").click()
    expect(count).to_have_text("There are none.")


def test_what_goes_on_has_no_report_yet(start: Start, watched: Watched) -> None:
    instance = start()
    plan = {"type": "technical", "role": "Engineer", "duration_minutes": 15}
    made = ask(instance, "POST", "/api/interviews", plan)
    page = watched.page()
    _log_in(page, instance.url)
    page.goto(f"{instance.url}/#/review/{made.json['id']}")
    expect(part(page, "report-words")).to_have_text(
        "The interview is not over; there is no report yet."
    )
    expect(part(page, "no-turns")).to_be_visible()
    expect(part(page, "deciding")).to_be_hidden()
    page.goto(f"{instance.url}/#/review/{uuid7(NOW)}")
    expect(part(page, "title")).to_have_text("This interview cannot be shown")
    expect(part(page, "problem")).to_have_text("There is no such interview.")


def test_a_report_that_waits_for_a_days_budget_says_so(
    start: Start, watched: Watched, model: dict[str, str], database_url: str
) -> None:
    instance = start(**model, VIVA_BUDGET_DAY_USD="0.000001")
    interview = _put(database_url, SAID, SAID)
    path = f"/api/interviews/{interview}/report"
    assert ask(instance, "POST", path, user="rex", role="reviewer").status == 202
    deadline = time.monotonic() + PATIENCE_S
    while "reason" not in (told := ask(instance, "GET", path, user="rex", role="reviewer")).json:
        assert told.status == 202
        assert time.monotonic() < deadline, "nobody said what it waits for"
        time.sleep(0.1)
    now = time.time() * 1000
    assert (told.status, told.json["reason"]) == (202, "day_budget")
    assert 0 <= told.json["until"] - (now - now % DAY_MS + DAY_MS) < 60_000
    left_s = (told.json["until"] - now) / 1000
    assert abs(int(told.headers["Retry-After"]) - max(3, min(3600, left_s))) < 5
    again = ask(instance, "POST", path, user="rex", role="reviewer")
    assert (again.status, again.json["reason"]) == (202, "day_budget")
    page = watched.page()
    _log_in(page, instance.url)
    page.goto(f"{instance.url}/#/review/{interview}")
    expect(part(page, "report-words")).to_contain_text("The day's budget for the model is spent.")
    expect(part(page, "report-progress")).to_be_hidden()


def test_a_candidate_is_refused(start: Start, watched: Watched, database_url: str) -> None:
    instance = start()
    interview = _put(database_url, ANSWER, ANSWER)
    _have_written(instance, interview)
    page = watched.page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    _log_in(page, instance.url, user="ann", role="candidate")
    asked.clear()
    for address in ("#/review", f"#/review/{interview}"):
        page.goto(f"{instance.url}/{address}")
        refusal = page.get_by_role("alert")
        expect(refusal).to_contain_text("You are logged in as ann, a candidate.")
        expect(refusal).to_contain_text("to reviewers only")
    assert not [url for url in asked if "/api/" in url]
    page.get_by_role("button", name="Use another token").click()
    page.get_by_label("Access token").fill(sign("rex", "reviewer", SECRET, 600))
    page.get_by_role("button", name="Continue").click()
    expect(part(page, "facts")).to_contain_text("ann")
