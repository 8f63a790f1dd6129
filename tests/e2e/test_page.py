import hashlib
import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

from server.auth import sign
from tests.e2e.instances import SECRET, Instance
from tests.e2e.pages import (
    RECOGNISER,
    Watched,
    answer,
    browser,
    eventually,
    frames_sent,
    go_home,
    interviews,
    log_in,
    needs_chromium,
    part,
    prepare,
    say,
    shown,
    transcript,
    watched,
)

__all__ = ["browser", "watched"]

pytestmark = needs_chromium

Start = Callable[..., Instance]
SCRIPT = '<img src=x onerror="window.taken=1"><script>window.taken=1</script>'
WORDS = re.compile(r"\w+\W+\w+")
SLOW = {"VIVA_BANK_PACE": "8"}
FAST = {"VIVA_BANK_PACE": "400"}
ANSWERS = [
    f"I ran a queue. {SCRIPT}",
    "Two million messages an hour; the hardest part was back-pressure.",
    "Naïve retries — 日本語 and 👩🏽‍💻 — made it worse.",
    "line one\nline two\n\nline four",
    "=1+1 is not a formula here.",
    "What does your team do on a quiet day?",
]


def test_a_whole_interview_by_typing(start: Start, watched: Watched) -> None:
    instance = start(**FAST)
    page = watched.page()
    log_in(page, instance.url)
    interview_id = prepare(page, SCRIPT)
    expect(part(page, "words")).to_have_text("Connected")
    for text in ANSWERS:
        answer(page, text)
    expect(part(page, "ended-title")).to_have_text("The interview is over")
    expect(part(page, "title")).to_have_text(SCRIPT)
    assert page.evaluate("window.taken") is None
    assert page.locator("main script, main .turns img").count() == 0

    kept = transcript(instance.url, interview_id)
    assert shown(page) == [turn["text"] for turn in kept]
    assert [turn["text"] for turn in kept if turn["speaker"] == "candidate"] == ANSWERS
    for turn in kept:
        assert hashlib.sha256(turn["text"].encode()).hexdigest() == turn["sha256"]
    expect(page.locator(".mine.stored")).to_have_count(len(ANSWERS))
    _downloads(page)

    page.get_by_role("link", name="Back to your interviews").click()
    expect(page.locator(".recent li")).to_have_count(1)
    expect(page.locator(".recent .status")).to_have_text("Completed")


def _downloads(page: Page) -> None:
    for name, suffix, part_of_it in (
        ("Markdown", "md", "# Transcript"),
        ("CSV", "csv", "turn,speaker"),
        ("JSON", "json", '"turns"'),
    ):
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        assert download.value.suggested_filename.endswith(f".{suffix}")
        assert part_of_it in download.value.path().read_text(encoding="utf-8")


def test_an_interview_by_voice(start: Start, watched: Watched) -> None:
    instance = start(**FAST)
    watched.context.add_init_script(RECOGNISER)
    page = watched.page()
    frames = frames_sent(page)
    log_in(page, instance.url)
    interview_id = prepare(page, "Site reliability engineer")
    expect(part(page, "label")).to_have_text("Your answer")
    page.get_by_role("button", name="Speak").click()
    for words in ("I", "I kept", "I kept a queue"):
        say(page, 0, words)
    expect(page.locator(".interim")).to_have_text("I kept a queue")
    eventually(page, lambda: "I kept a queue" in _texts(frames, "speech.partial"))
    say(page, 0, "I kept a queue alive.", final=True)
    expect(page.locator(".recorded")).to_have_text("I kept a queue alive.")

    page.reload()  # in mid-answer: what was recorded is the server's
    expect(page.locator(".recorded")).to_have_text("I kept a queue alive.")
    page.get_by_role("button", name="Speak").click()
    say(page, 0, "It held for two years.", final=True)
    expect(page.locator(".recorded")).to_have_count(2)
    say(page, 1, "and then it")  # still interim when the answer is sent
    page.get_by_role("button", name="Send answer").click()
    whole = "I kept a queue alive. It held for two years. and then it"
    expect(page.locator(".mine .text")).to_have_text(whole)
    assert transcript(instance.url, interview_id)[1]["text"] == whole

    assert _texts(frames, "speech.final")[-2:] == ["It held for two years.", "and then it"]
    finals = [frame for frame in frames if frame["type"] == "speech.final"]
    assert all(frame["end_ms"] >= frame["start_ms"] for frame in finals)
    expect(part(page, "voice")).to_have_text("Stop listening")  # it goes on with the next answer


def _texts(frames: list[dict[str, Any]], kind: str) -> list[str]:
    return [frame["text"] for frame in frames if frame["type"] == kind]


def test_words_that_were_heard_can_be_corrected(start: Start, watched: Watched) -> None:
    instance = start(**FAST)
    watched.context.add_init_script(RECOGNISER)
    page = watched.page()
    log_in(page, instance.url)
    interview_id = prepare(page, "Editor")
    expect(part(page, "label")).to_have_text("Your answer")
    page.get_by_role("button", name="Speak").click()
    say(page, 0, "I wreck a nice beach.", final=True)
    expect(page.locator(".recorded")).to_have_count(1)
    page.get_by_role("button", name="Edit as text").click()
    expect(page.locator("#answer")).to_have_value("I wreck a nice beach.")
    page.locator("#answer").fill("I recognise speech.")
    page.get_by_role("button", name="Send answer").click()
    expect(page.locator(".mine .text")).to_have_text("I recognise speech.")
    assert transcript(instance.url, interview_id)[1]["text"] == "I recognise speech."


def test_without_a_microphone_it_says_so(start: Start, watched: Watched) -> None:
    instance = start(**FAST)
    watched.context.add_init_script(RECOGNISER)
    page = watched.page()
    log_in(page, instance.url)
    prepare(page, "Singer")
    expect(part(page, "label")).to_have_text("Your answer")
    page.get_by_role("button", name="Speak").click()
    page.evaluate("recogniser.onerror({error: 'not-allowed'})")
    expect(part(page, "problem")).to_contain_text("microphone is not allowed")
    expect(part(page, "voice")).to_have_text("Speak")
    answer(page, "Then I type.")


def test_reloads_lose_nothing(start: Start, watched: Watched) -> None:
    instance = start(**SLOW)
    page = watched.page()
    log_in(page, instance.url)
    interview_id = prepare(page, "Librarian")
    expect(page.locator(".turn.open .text")).to_have_text(WORDS)
    seen = shown(page)[0]
    page.locator("#answer").fill("typed while the question still streams")
    page.reload()
    expect(page.locator(".turn.open .text")).to_contain_text(seen)
    expect(page.locator("#answer")).to_have_value("typed while the question still streams")
    expect(part(page, "label")).to_have_text("Your answer", timeout=30_000)
    page.locator("#answer").fill("and typed on")
    page.reload()
    expect(page.locator("#answer")).to_have_value("and typed on")
    answer(page, "and typed on, then sent")
    expect(page.locator("#answer")).to_have_value("")
    page.reload()
    expect(page.locator(".mine .text")).to_have_text("and typed on, then sent")
    expect(page.locator("#answer")).to_have_value("")
    kept = transcript(instance.url, interview_id)
    assert shown(page)[:2] == [turn["text"] for turn in kept][:2]
    assert kept[0]["text"].startswith(seen)


def test_a_server_killed_in_mid_token_comes_back(start: Start, watched: Watched) -> None:
    instance = start(**SLOW)
    page = watched.page()
    log_in(page, instance.url)
    interview_id = prepare(page, "Stunt performer")
    expect(page.locator(".turn.open .text")).to_have_text(WORDS)
    instance.kill()
    expect(part(page, "words")).to_contain_text("reconnecting")
    page.locator("#answer").fill("written while the server was away")
    instance.start()
    expect(part(page, "words")).to_have_text("Connected", timeout=30_000)
    expect(part(page, "label")).to_have_text("Your answer", timeout=30_000)
    expect(page.locator("#answer")).to_have_value("written while the server was away")

    instance.kill()
    expect(part(page, "words")).to_contain_text("reconnecting")
    page.locator("#answer").press("Control+Enter")
    expect(part(page, "saved")).to_contain_text("sent as soon as the server is back")
    instance.start()
    expect(page.locator(".mine .text")).to_have_text(
        "written while the server was away", timeout=30_000
    )
    expect(page.locator(".mine.stored")).to_have_count(1)
    kept = transcript(instance.url, interview_id)
    assert shown(page)[:2] == [turn["text"] for turn in kept][:2]
    assert [turn["speaker"] for turn in kept][:2] == ["interviewer", "candidate"]


def test_another_instance_goes_on_where_one_was_killed(start: Start, watched: Watched) -> None:
    first, second = start(**SLOW), start(**SLOW)
    page = watched.page()
    log_in(page, first.url)
    interview_id = prepare(page, "Relay runner")
    expect(page.locator(".turn.open .text")).to_have_text(WORDS)
    seen = shown(page)[0]
    first.kill()
    other = watched.page()
    log_in(other, second.url)
    other.goto(f"{second.url}/#/interview/{interview_id}")
    expect(part(other, "label")).to_have_text("Your answer", timeout=30_000)
    answer(other, "The baton is here.")
    kept = transcript(second.url, interview_id)
    assert shown(other)[:2] == [turn["text"] for turn in kept][:2]
    assert kept[0]["text"].startswith(seen)


def test_the_newer_tab_has_the_interview_until_the_older_takes_it_back(
    start: Start, watched: Watched
) -> None:
    instance = start(**FAST)
    page = watched.page()
    log_in(page, instance.url)
    prepare(page, "Juggler")
    answer(page, "In the first tab.")
    other = watched.page()
    other.goto(page.url)
    expect(part(other, "words")).to_have_text("Connected")
    expect(part(page, "words")).to_contain_text("another tab")
    answer(other, "In the second tab.")
    page.get_by_role("button", name="Use it here").click()
    expect(part(page, "words")).to_have_text("Connected")
    expect(page.locator(".mine .text")).to_have_text(["In the first tab.", "In the second tab."])
    expect(part(other, "words")).to_contain_text("another tab")


def test_interrupt_hint_pause_and_end(start: Start, watched: Watched) -> None:
    instance = start(**SLOW)
    page = watched.page()
    log_in(page, instance.url)
    interview_id = prepare(page, "Impatient engineer")
    page.get_by_role("button", name="Interrupt").click()
    expect(page.locator(".theirs .turn-head")).to_contain_text("interrupted")
    cut = shown(page)[0]
    kept = transcript(instance.url, interview_id)[0]
    assert kept["outcome"] == "interrupted"
    assert kept["text"] == cut

    page.locator("#answer").fill("half an answer")
    page.get_by_role("button", name="Hint").click()
    expect(page.locator(".kind").last).to_have_text("Hint")
    page.get_by_role("button", name="Interrupt").click()
    expect(page.locator("#answer")).to_have_value("half an answer")
    page.get_by_role("button", name="Pause").click()
    expect(part(page, "label")).to_contain_text("Paused")
    clock = part(page, "clock").text_content()
    expect(part(page, "submit")).to_be_disabled()
    page.get_by_role("button", name="Resume").click()
    expect(part(page, "label")).to_have_text("Your answer")
    assert re.fullmatch(r"1[45]:\d\d", clock or "")

    page.get_by_role("button", name="End", exact=True).click()
    page.get_by_role("button", name="Go on").click()
    expect(part(page, "submit")).to_be_enabled()
    page.get_by_role("button", name="End", exact=True).click()
    page.get_by_role("button", name="End the interview").click()
    expect(part(page, "ended-title")).to_have_text("The interview is over")
    page.get_by_role("button", name="Erase this interview").click()
    page.get_by_role("button", name="Erase it").click()
    expect(part(page, "empty")).to_contain_text("None yet")


def test_the_notice_tells_who_asks_and_may_be_declined(start: Start, watched: Watched) -> None:
    instance = start(**FAST)
    page = watched.page()
    log_in(page, instance.url)
    page.get_by_label("The role you are interviewing for").fill("Hermit")
    page.get_by_role("button", name="Prepare the interview").click()
    expect(part(page, "points")).to_contain_text("nothing that you say is sent to a language model")
    page.get_by_role("button", name="I do not agree").click()
    page.get_by_role("button", name="Erase it").click()
    expect(part(page, "empty")).to_contain_text("None yet")
    assert interviews(instance.url) == []


def test_nobody_agrees_to_a_notice_that_is_not_shown(start: Start, watched: Watched) -> None:
    instance = start(**FAST)
    page = watched.page()
    page.route("**/api/notice", lambda route: route.abort())
    log_in(page, instance.url)
    page.get_by_label("The role you are interviewing for").fill("Hermit")
    page.get_by_role("button", name="Prepare the interview").click()
    expect(part(page, "consent-problem")).to_contain_text("cannot be shown yet")
    expect(part(page, "agree")).to_be_disabled()
    page.unroute("**/api/notice")
    expect(part(page, "agree")).to_be_enabled()
    expect(part(page, "points").locator("li")).to_have_count(4)


def test_interviews_can_be_erased_in_the_list(start: Start, watched: Watched) -> None:
    instance = start(**FAST)
    page = watched.page()
    log_in(page, instance.url)
    prepare(page, "Forgotten")
    go_home(page)
    page.get_by_role("button", name="Erase Forgotten").click()
    page.get_by_role("button", name="Keep it").click()
    expect(page.locator(".recent li")).to_have_count(1)
    page.get_by_role("button", name="Erase Forgotten").click()
    page.get_by_role("button", name="Erase it").click()
    expect(part(page, "empty")).to_contain_text("None yet")
    assert interviews(instance.url) == []


def test_the_list_comes_by_itself_when_the_server_is_back(start: Start, watched: Watched) -> None:
    instance = start(**FAST)
    page = watched.page()
    log_in(page, instance.url)
    prepare(page, "Patient")
    page.route("**/api/interviews?*", lambda route: route.abort())
    go_home(page)
    expect(part(page, "empty")).to_contain_text("cannot be reached")
    page.unroute("**/api/interviews?*")
    expect(page.get_by_role("link", name="Patient")).to_be_visible()
    expect(part(page, "empty")).to_be_hidden()


def test_a_link_makes_nobody_somebody_else_unasked(start: Start, watched: Watched) -> None:
    instance = start(**FAST)
    page = watched.page()
    log_in(page, instance.url)
    expect(page.locator("#who")).to_have_text("ada")
    link = f"{instance.url}/#token={sign('mallory', 'candidate', SECRET, 600)}"
    page.goto(link)
    expect(page.get_by_role("dialog")).to_contain_text("mallory")
    assert "token" not in page.url
    page.get_by_role("button", name="Stay ada").click()
    expect(page.locator("#who")).to_have_text("ada")
    page.reload()
    expect(page.locator("#who")).to_have_text("ada")
    page.goto(link)
    page.get_by_role("button", name="Become mallory").click()
    expect(page.locator("#who")).to_have_text("mallory")
    log_in(page, instance.url, "mallory")  # the same user's newer token is taken at once
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_link_asks_also_where_the_login_has_expired(start: Start, watched: Watched) -> None:
    instance = start(**FAST)
    page = watched.page()
    log_in(page, instance.url)
    page.goto(f"{instance.url}/#token={sign('ada', 'candidate', SECRET, -600)}")
    expect(page.locator("#token-problem")).to_contain_text("expired")
    page.goto(f"{instance.url}/#token={sign('mallory', 'candidate', SECRET, 600)}")
    expect(page.get_by_role("dialog")).to_contain_text("You were logged in as ada.")
    page.get_by_role("button", name="Stay ada").click()
    expect(page.get_by_label("Access token")).to_be_visible()
    expect(page.locator("#who")).to_be_empty()
    log_in(page, instance.url)
    expect(page.locator("#who")).to_have_text("ada")
    page.get_by_role("button", name="Log out and clear").click()
    log_in(page, instance.url, "mallory")  # nobody is known here any more


def test_logging_out_asks_before_it_deletes_words(start: Start, watched: Watched) -> None:
    instance = start(**FAST)
    page = watched.page()
    log_in(page, instance.url)
    prepare(page, "Leaver")
    expect(part(page, "label")).to_have_text("Your answer")
    page.locator("#answer").fill("only here")
    page.get_by_role("button", name="Log out and clear").click()
    page.get_by_role("button", name="Stay").click()
    page.reload()
    expect(page.locator("#answer")).to_have_value("only here")
    page.get_by_role("button", name="Log out and clear").click()
    page.get_by_role("button", name="Delete them and log out").click()
    expect(page.get_by_label("Access token")).to_be_visible()
    assert page.evaluate("localStorage.length") == 0


def test_an_interview_that_is_not_there_leads_back(start: Start, watched: Watched) -> None:
    instance = start(**FAST)
    page = watched.page()
    page.set_viewport_size({"width": 390, "height": 600})
    log_in(page, instance.url)
    page.goto(f"{instance.url}/#/interview/0190a5c0-0000-7000-8000-00000000000a")
    expect(part(page, "lost-words")).to_contain_text("no such interview")
    assert page.evaluate("scrollY") == 0
    part(page, "lost").get_by_role("link", name="Back to your interviews").click()
    expect(page.get_by_label("The role you are interviewing for")).to_be_visible()
    expect(page.locator("main")).to_be_focused()  # not lost with the screen that is gone


def test_the_form_that_grows_does_not_cover_the_question(start: Start, watched: Watched) -> None:
    instance = start(**FAST)
    watched.context.add_init_script(RECOGNISER)
    page = watched.page()
    page.set_viewport_size({"width": 390, "height": 600})
    log_in(page, instance.url)
    prepare(page, "Limbo dancer")
    answer(page, "Low.\n" * 20)
    expect(part(page, "label")).to_have_text("Your answer")
    page.get_by_role("button", name="Speak").click()
    say(page, 0, "How low can I go? " * 20, final=True)
    expect(page.locator(".recorded")).to_have_count(1)
    eventually(
        page,
        lambda: page.evaluate(
            "document.querySelector('.turns').getBoundingClientRect().bottom"
            " <= document.querySelector('.composer').getBoundingClientRect().top"
        ),
    )


def test_a_surplus_is_told_in_characters(start: Start, watched: Watched) -> None:
    instance = start(**FAST)
    page = watched.page()
    log_in(page, instance.url)
    prepare(page, "Novelist")
    expect(part(page, "label")).to_have_text("Your answer")
    page.locator("#answer").fill("é" * (16 * 1024) + "ée👩")
    expect(part(page, "saved")).to_have_text("The answer is 3 characters too long.")
    expect(part(page, "submit")).to_be_disabled()
    page.locator("#answer").fill("é" * (16 * 1024))
    expect(part(page, "submit")).to_be_enabled()


def test_screen_readers_hear_each_sentence_once(start: Start, watched: Watched) -> None:
    instance = start(**SLOW)
    page = watched.page()
    log_in(page, instance.url)
    prepare(page, "Listener")
    told = page.locator("#announcer p")
    expect(told.first).to_have_text(re.compile(r"^Question: \S.*[.!?]$", re.DOTALL))
    expect(page.locator(".turn.open")).to_have_count(1)  # it was told before it was all said
    expect(part(page, "label")).to_have_text("Your answer", timeout=30_000)
    heard = " ".join(told.all_text_contents())
    assert heard.split() == ["Question:", *shown(page)[0].split()]


def test_a_wrong_token_leads_back_to_the_login(start: Start, watched: Watched) -> None:
    instance = start(**FAST)
    page = watched.page()
    page.goto(instance.url)
    page.get_by_label("Access token").fill("no token at all")
    page.get_by_role("button", name="Continue").click()
    expect(page.locator("#token-problem")).to_contain_text("no access token")
    page.get_by_label("Access token").fill("a.b.c")
    page.get_by_role("button", name="Continue").click()
    expect(page.locator("#token-problem")).to_contain_text("missing, wrong or expired")


def test_an_outage_is_told_once_and_counted_down_for_the_eye(
    start: Start, watched: Watched
) -> None:
    instance = start(**FAST)
    page = watched.page()
    log_in(page, instance.url)
    prepare(page, "Patient listener")
    expect(part(page, "label")).to_have_text("Your answer")
    tries: list[str] = []
    page.on("websocket", lambda socket: tries.append(socket.url))
    part(page, "words").evaluate("""words => {
      window.told = [];
      new MutationObserver(() => told.push(words.textContent)).observe(words, { childList: true });
    }""")
    instance.kill()
    expect(part(page, "due")).to_have_text(re.compile(r"in \d+ s"))
    eventually(page, lambda: len(tries) > 2)
    instance.start()
    expect(part(page, "words")).to_have_text("Connected", timeout=30_000)
    expect(part(page, "due")).to_be_hidden()
    told = ["Connection lost; reconnecting", "Catching up …", "Connected"]
    assert page.evaluate("told") == told
