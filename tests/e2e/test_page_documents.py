"""A résumé on the page: chosen, dropped, corrected, refused, and in the plan as it was seen."""

import base64
from collections.abc import Callable

from playwright.sync_api import FilePayload, Locator, Page, Route, expect

from server.auth import sign
from tests.e2e.instances import SECRET, Instance
from tests.e2e.pages import (
    Watched,
    browser,
    log_in,
    needs_chromium,
    part,
    prepare,
    watched,
    whole,
)
from tests.support import documents

__all__ = ["browser", "watched"]

pytestmark = needs_chromium

Start = Callable[..., Instance]
ADA = "Ada Lovelace wrote programs for the Analytical Engine"
_DROP = """([selector, name, content]) => {
  const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name));
  const how = { dataTransfer: transfer, bubbles: true, cancelable: true };
  for (const type of ["dragover", "drop"]) {
    document.querySelector(selector).dispatchEvent(new DragEvent(type, how));
  }
}"""


def unfold(page: Page) -> tuple[Locator, Locator]:
    """Open the fields; the résumé's and the job description's text."""
    resume, job = (
        page.get_by_label("Your résumé", exact=True),
        page.get_by_label("Job description", exact=True),
    )
    expect(resume).to_be_hidden()
    page.get_by_text("Résumé and job description").click()
    expect(resume).to_be_visible()
    return resume, job


def choose(page: Page, number: int, name: str, content: bytes) -> None:
    payload: FilePayload = {"name": name, "mimeType": "", "buffer": content}
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a file").nth(number).click()
    chooser.value.set_files(payload)


def test_files_fill_the_fields_and_the_fields_fill_the_plan(start: Start, watched: Watched) -> None:
    instance = start(VIVA_BANK_PACE="400")
    page = watched.page()
    log_in(page, instance.url)
    resume, job = unfold(page)
    choose(page, 0, "cv.PDF", documents.paper(ADA, "and no <b>poems</b>"))
    expect(resume).to_have_value(f"{ADA}\n\nand no <b>poems</b>")
    expect(page.locator("#resume-state")).to_contain_text("cv.PDF: 2 pages, 74 characters.")
    resume.press("End")
    resume.press_sequentially("!")
    content = base64.b64encode("# Wanted: an “engineer”".encode()).decode()
    page.evaluate(_DROP, ["#job_description", "job.md", content])
    expect(job).to_have_value("# Wanted: an “engineer”")
    expect(part(page, "documents-used")).to_have_text("your résumé and job description added")

    plan = whole(instance.url, prepare(page, "Programmer"))
    assert "!" in plan["resume"]
    assert plan["resume"].replace("!", "") == f"{ADA}\n\nand no <b>poems</b>"
    assert plan["job_description"] == "# Wanted: an “engineer”"


def test_what_cannot_be_read_is_told(start: Start, watched: Watched) -> None:
    instance = start(VIVA_BANK_PACE="400")
    page = watched.page()
    log_in(page, instance.url)
    resume, _ = unfold(page)
    problem = page.locator("#resume-problem")
    for name, content, words in (
        ("scan.pdf", documents.scan(), "There is no text in it"),
        ("mine.pdf", documents.locked(to_read=True), "protected by a password"),
        ("broken.pdf", b"%PDF-1.7", "damaged"),
        ("cv.docx", b"PK", "Only PDF, .txt and .md files"),
        ("large.txt", bytes(2 * 1024 * 1024 + 1), "over 2 MiB"),
    ):
        choose(page, 0, name, content)
        expect(problem).to_contain_text(words)
        expect(page.get_by_role("button", name="Choose a file").first).to_be_enabled()
    resume.fill("\U0001f600" * 20_000)
    expect(problem).to_be_empty()
    resume.fill("\U0001f600" * 20_001)
    expect(problem).to_have_text("This is 1 character too long: 20,000 fit.")
    page.get_by_label("The role you are interviewing for").fill("Baker")
    page.get_by_text("Résumé and job description").click()
    page.get_by_role("button", name="Prepare the interview").click()
    expect(resume).to_be_focused()  # unfolded again
    assert page.url.endswith("#/")


def test_a_file_that_is_still_read_is_waited_for(start: Start, watched: Watched) -> None:
    instance = start(VIVA_BANK_PACE="400")
    page = watched.page()
    log_in(page, instance.url)
    resume, _ = unfold(page)
    held: list[Route] = []
    page.route("**/api/documents", lambda route: held.append(route))  # noqa: PLW0108  # it is marked
    resume.fill("my own words")
    choose(page, 0, "cv.txt", ADA.encode())
    page.get_by_role("button", name="Keep it").click()
    expect(resume).to_have_value("my own words")
    assert not held
    choose(page, 0, "cv.txt", ADA.encode())
    page.get_by_role("button", name="Replace it").click()
    expect(page.locator("#resume-state")).to_have_text("Reading cv.txt …")
    expect(resume).not_to_be_editable()
    page.get_by_label("The role you are interviewing for").fill("Baker")
    create = page.get_by_role("button", name="Prepare the interview")
    create.click()
    expect(create).to_be_disabled()
    held[0].continue_()
    page.get_by_role("button", name="I agree, begin").wait_for()
    assert whole(instance.url, page.url.rsplit("/", 1)[1])["resume"] == ADA


def _expire(page: Page) -> None:
    """Let the token run out in which the form is sent."""
    expired = sign("ada", "candidate", SECRET, -60)
    page.evaluate("token => localStorage.setItem('viva:token', JSON.stringify(token))", expired)
    page.get_by_role("button", name="Prepare the interview").click()
    expect(page.locator("#token-problem")).to_contain_text("expired")


def _renew(page: Page, user: str) -> None:
    page.get_by_label("Access token").fill(sign(user, "candidate", SECRET, 600))
    page.get_by_role("button", name="Continue").click()


def test_a_token_that_expires_takes_nothing_out_of_its_users_form(
    start: Start, watched: Watched
) -> None:
    instance = start(VIVA_BANK_PACE="400")
    page = watched.page()
    log_in(page, instance.url)
    role, (resume, _) = page.get_by_label("The role you are interviewing for"), unfold(page)
    role.fill("Baker")
    page.get_by_label("Assessment").check()
    resume.fill("Ten years of dough.")
    _expire(page)
    _renew(page, "ada")
    expect(role).to_have_value("Baker")
    expect(resume).to_have_value("Ten years of dough.")
    page.get_by_role("button", name="Prepare the interview").click()
    page.get_by_role("button", name="I agree, begin").wait_for()
    plan = whole(instance.url, page.url.rsplit("/", 1)[1])
    assert (plan["mode"], plan["resume"]) == ("assessment", "Ten years of dough.")

    page.get_by_role("link", name="viva").click()
    expect(role).to_have_value("")
    role.fill("Ada's own secret")
    _expire(page)
    _renew(page, "mallory")
    expect(role).to_have_value("")
