"""`viva talk` as a process: through a pipe, and on a pseudo-terminal while the server is killed."""

import fcntl
import os
import pty
import re
import select
import shlex
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from server.auth import sign
from tests.e2e.instances import ROOT, SECRET, Instance, clean_environment
from tests.e2e.pages import interviews, transcript, whole
from tests.support import documents
from tests.support.fake_provider import fake_openai

Start = Callable[..., Instance]
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
PATIENCE_S = 30.0
ANSWERS = [f"Answer {number}: naïve 日本 — I measured it." for number in range(12)]


def _command(url: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "server", "talk", "--url", url, *options]


def _environment(**more: str) -> dict[str, str]:
    return {**clean_environment(), "VIVA_TOKEN": sign("ada", "candidate", SECRET, 600), **more}


def _run(url: str, *options: str, lines: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command(url, *options),
        input=lines,
        env=_environment(**more),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_whole_interview_through_a_pipe(start: Start, tmp_path: Path) -> None:
    instance = start(VIVA_BANK_PACE="400")
    kept = tmp_path / "transcript.md"
    lines = "\n".join(["y", "/nonsense", *ANSWERS]) + "\n"
    done = _run(instance.url, "--minutes", "15", "--save", str(kept), lines=lines)
    assert (done.returncode, done.stderr) == (0, "")
    assert "The interview is over" in done.stdout
    assert "/nonsense is no order" in done.stdout
    created = _run(instance.url, "--plain", "--yes")  # at once at the end of its input
    assert ID.search(created.stdout)
    text = kept.read_text(encoding="utf-8")
    given = [answer for answer in ANSWERS if answer in text]
    assert len(given) >= 6
    assert given == ANSWERS[: len(given)]
    for line in text.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        words = line.strip("> *_")[:40]
        assert words.split()[0] in text


def test_feedback_and_the_report_without_a_model(start: Start, tmp_path: Path) -> None:
    instance = start(VIVA_BANK_PACE="400")
    report, transcript_ = tmp_path / "mine.md", tmp_path / "said.md"
    said = "I cut the scope in two and told the client on the same day. It worked out well."
    lines = "\n".join([f"{number}: {said}" for number in range(9)]) + "\n"
    options = ("--yes", "--save", str(transcript_), "--report", str(report))
    done = _run(instance.url, *options, lines=lines)
    assert (done.returncode, done.stderr) == (0, "")
    assert "without a model, so this is not a rating" in done.stdout
    shown = done.stdout.partition("Interview report: ")[2]
    assert "Not rated" in shown
    assert re.search(r"│ .*I cut the scope in two", shown)
    assert "1. Interviewer" not in shown
    assert report.read_text(encoding="utf-8").startswith("# Interview report")
    assert transcript_.read_text(encoding="utf-8").startswith("# Transcript")


def test_scores_by_a_model_and_the_report_as_the_only_file(start: Start, tmp_path: Path) -> None:
    kept = tmp_path / "all.report.md"
    said = "I cut the scope in two and told the client on the same day. quality:strong"
    lines = "\n".join([f"{number}: {said}" for number in range(9)]) + "\n"
    with fake_openai("--tokens", "20", "--tokens-per-second", "400") as model:
        instance = start(**model)
        done = _run(instance.url, "--yes", "--save", str(kept), lines=lines)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"Feedback on .+: 5 of 5", done.stdout)
    assert "Overall: 5 of 5" in done.stdout
    text = kept.read_text(encoding="utf-8")
    assert text.startswith("# Interview report")
    assert "## Transcript" in text


def test_where_no_report_comes_that_is_said(start: Start, tmp_path: Path) -> None:
    instance = start(VIVA_BANK_PACE="400")
    done = _run(instance.url, "--yes", lines="/end\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Nothing was answered" in done.stdout
    asked = _run(instance.url, "--yes", "--report", str(tmp_path / "x.md"), lines="/end\n")
    assert asked.returncode == 1
    assert "Nothing was answered" in asked.stderr
    examined = _run(instance.url, "--yes", "--mode", "assessment", lines="Me.\n/end\n")
    assert "go to reviewers" in examined.stdout


def test_files_go_into_the_plan(start: Start, tmp_path: Path) -> None:
    instance = start(VIVA_BANK_PACE="400")
    cv, job, scan = (tmp_path / name for name in ("cv.pdf", "job.md", "scan.pdf"))
    cv.write_bytes(documents.paper("Ada Lovelace", "and her engine"))
    job.write_text("# Wanted: an “engineer”\n", encoding="utf-8")
    scan.write_bytes(documents.scan())
    given = ("--cv", str(cv), "--job-description", str(job))
    done = _run(instance.url, "--yes", *given)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Read cv.pdf: 2 pages, 28 characters.\nRead job.md: 23 characters." in done.stdout
    assert "A language model takes them up in its questions" in done.stdout
    (interview,) = interviews(instance.url)
    plan = whole(instance.url, interview["id"])
    assert plan["resume"] == "Ada Lovelace\n\nand her engine"
    assert plan["job_description"] == "# Wanted: an “engineer”"

    for options, words in (
        (("--cv", str(scan)), f"{scan}: the server refused (422): There is no text in it"),
        (("--cv", str(tmp_path / "none.pdf")), "cannot be read: No such file"),
        (("--resume", interview["id"], *given), "keeps the files it was begun with"),
    ):
        refused = _run(instance.url, "--yes", *options)
        assert refused.returncode == 1
        assert words in refused.stderr
    assert len(interviews(instance.url)) == 1


def test_leaving_and_coming_back(start: Start) -> None:
    instance = start(VIVA_BANK_PACE="400")
    first = _run(instance.url, "--yes", lines=f"{ANSWERS[0]}\n")
    assert "is over" not in first.stdout
    found = ID.search(first.stdout.split("--resume")[1])
    assert found is not None
    second = _run(instance.url, "--resume", found[0], lines=f"{ANSWERS[1]}\n/end\n")
    assert (second.returncode, second.stderr) == (0, "")
    turns = transcript(instance.url, found[0])
    answers = [turn["text"] for turn in turns if turn["speaker"] == "candidate"]
    assert answers[:2] == ANSWERS[:2]
    for turn in turns:
        assert (
            turn["text"] in first.stdout or turn["text"] in second.stdout or turn["text"] in ANSWERS
        )


def test_the_line_behind_a_hint_is_the_next_answer(start: Start) -> None:
    instance = start(VIVA_BANK_PACE="400")
    lines = ["/hint", ANSWERS[0], "/hint", "/hint", "/hint", ANSWERS[1], ""]
    done = _run(instance.url, "--yes", lines="\n".join(lines))
    assert (done.returncode, done.stderr) == (0, "")
    turns = transcript(instance.url, _id(done.stdout))
    assert [turn["kind"] for turn in turns[:4]] == ["question", "answer", "hint", "answer"]
    given = [turn["text"] for turn in turns if turn["speaker"] == "candidate"]
    assert [text for text in given if text] == ANSWERS[:2]


@pytest.mark.parametrize(
    "lines",
    [
        ["/pause", "/resume", *ANSWERS[:2]],
        ["/pause", ANSWERS[0], "/resume", ANSWERS[1]],
        [ANSWERS[0], "/pause", ANSWERS[1], ANSWERS[2], "/resume"],
    ],
)
def test_lines_behind_a_pause_are_the_next_answers(start: Start, lines: list[str]) -> None:
    instance = start(VIVA_BANK_PACE="400")
    done = _run(instance.url, "--yes", lines="\n".join([*lines, ""]))
    assert (done.returncode, done.stderr) == (0, "")
    turns = transcript(instance.url, _id(done.stdout))
    given = [turn["text"] for turn in turns if turn["speaker"] == "candidate"]
    assert given == [line for line in lines if line in ANSWERS]


def test_an_empty_line_is_no_answer(start: Start) -> None:
    instance = start(VIVA_BANK_PACE="400")
    lines = ["", ANSWERS[0], "  ", "", ANSWERS[1], "", ""]
    done = _run(instance.url, "--yes", lines="\n".join(lines))
    assert (done.returncode, done.stderr) == (0, "")
    turns = transcript(instance.url, _id(done.stdout))
    assert [turn["text"] for turn in turns if turn["speaker"] == "candidate"] == ANSWERS[:2]


def test_a_whole_interview_with_a_model(start: Start) -> None:
    with fake_openai("--tokens", "25", "--tokens-per-second", "200") as model:
        instance = start(**model)
        done = _run(instance.url, "--yes", lines="\n".join([*ANSWERS[:2], "/quit", ""]))
        assert (done.returncode, done.stderr) == (0, "")
        found = ID.search(done.stdout.split("--resume")[1])
        assert found is not None
        rest = _run(instance.url, "--resume", found[0], lines="\n".join([*ANSWERS[2:], ""]))
        assert "The interview is over" in rest.stdout
        turns = transcript(instance.url, found[0])
    shown = done.stdout + rest.stdout
    said = [turn for turn in turns if turn["speaker"] == "interviewer"]
    assert {turn["source"] for turn in said} == {"model"}
    assert all(turn["text"] in shown for turn in said)
    given = [turn["text"] for turn in turns if turn["speaker"] == "candidate"]
    assert given == ANSWERS[: len(given)]


@pytest.mark.parametrize(
    ("token", "options", "told"),
    [
        ("a.b.c", (), "viva token"),
        (None, ("--resume", "0190a5c0-0000-7000-8000-00000000000a"), "no such interview"),
        (None, ("--minutes", "14"), "refused"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(
    start: Start, token: str | None, options: tuple[str, ...], told: str
) -> None:
    instance = start(VIVA_BANK_PACE="400")
    more = {} if token is None else {"VIVA_TOKEN": token}
    _one_sentence(_run(instance.url, *options, **more), told)


@pytest.mark.parametrize("lines", ["n\n", ""])
def test_who_does_not_agree_leaves_nothing_behind(start: Start, lines: str) -> None:
    instance = start()
    done = _run(instance.url, lines=lines)
    assert done.returncode == 1
    assert "prepared questions" in done.stdout
    assert "erased" in done.stderr
    assert interviews(instance.url) == []


def test_the_notice_names_whom_the_words_are_sent_to(start: Start) -> None:
    with fake_openai() as model:
        instance = start(**model, VIVA_API="responses", VIVA_BACKGROUND="1")
        done = _run(instance.url, lines="n\n")
    assert "a language model at 127.0.0.1." in done.stdout
    assert "127.0.0.1 stores each" in done.stdout


def test_no_server_and_no_token_are_told(tmp_path: Path) -> None:
    done = _run("http://127.0.0.1:1")
    assert (done.returncode, "make run" in done.stderr) == (1, True)
    done = _run("http://127.0.0.1:1", "--data-dir", str(tmp_path), VIVA_TOKEN="")
    assert (done.returncode, "viva token" in done.stderr) == (1, True)


def test_an_address_without_its_scheme_is_told() -> None:
    _one_sentence(_run("127.0.0.1:8300"), "begins with http://")


@pytest.mark.parametrize(
    ("status", "body"), [(200, b"<html>"), (201, b'{"name": 1}'), (404, b"no"), (501, b"")]
)
def test_another_server_is_told_from_viva(status: int, body: bytes) -> None:
    class Stranger(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = _run(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    _one_sentence(done, "is not viva")


def test_a_place_where_nothing_can_be_saved_is_told_first(tmp_path: Path) -> None:
    for place in (tmp_path / "none" / "x.md", tmp_path):
        _one_sentence(_run("http://127.0.0.1:1", "--save", str(place)), str(place))


def test_output_that_nobody_reads_is_told(start: Start) -> None:
    instance = start(VIVA_BANK_PACE="400")
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        _command(instance.url, "--yes"),
        input=f"{ANSWERS[0]}\n",
        env=_environment(),
        cwd=ROOT,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writing)
    _one_sentence(done, "waits")


def _one_sentence(done: subprocess.CompletedProcess[str], told: str) -> None:
    assert done.returncode == 1
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


class Terminal:
    """The other end of a pseudo-terminal."""

    def __init__(self, process: subprocess.Popen[bytes], end: int) -> None:
        self.process = process
        self.screen = ""
        self._end = end

    def type(self, text: str) -> None:
        os.write(self._end, text.encode())

    def until(self, holds: Callable[[str], object], what: str) -> None:
        """Read the screen until it holds; its escape sequences are left out."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds(self.screen):
            assert self.process.poll() is None, f"it ended before {what}:\n{self.screen[-2000:]}"
            assert time.monotonic() < deadline, f"{what} never came:\n{self.screen[-2000:]}"
            self._read()

    def ended(self) -> int:
        deadline = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it does not end:\n{self.screen[-2000:]}"
            self._read()
        return self.process.returncode

    def _read(self) -> None:
        if not select.select([self._end], [], [], 0.1)[0]:
            return
        try:
            data = os.read(self._end, 65_536).decode(errors="replace")
        except OSError:  # the process has closed its end
            return
        if "\x1b[6n" in data:  # it asks where the cursor is
            self.type("\x1b[1;1R")
        self.screen += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[()=>].?", "", data)


@contextmanager
def _terminal(url: str, *options: str) -> Generator[Terminal]:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, 200))
    process = subprocess.Popen(
        _command(url, *options),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=ROOT,
        env=_environment(TERM="xterm", COLUMNS="200", LINES="50"),
        start_new_session=True,
        # Between two lines of the prompt the kernel, not the program, makes a signal of Ctrl-C; it
        # sends it to those whose own terminal this is.
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - one call, no lock
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_a_terminal_outlives_the_server(start: Start) -> None:
    instance = start(VIVA_BANK_PACE="12")
    with _terminal(instance.url, "--minutes", "15") as terminal:
        terminal.until(lambda screen: "Do you agree?" in screen, "the notice")
        terminal.type("y\r")
        terminal.until(lambda screen: re.search(r"Question  \w+\W+\w+", screen), "the question")
        instance.kill()
        terminal.until(lambda screen: "reconnecting" in screen, "the outage")
        instance.start()
        terminal.until(lambda screen: "your turn" in screen, "the candidate's turn")
        terminal.type("Kept alive.\r")
        terminal.until(lambda screen: "Follow-up" in screen or "Question" in screen, "the next")
        terminal.until(lambda screen: screen.count("Enter interrupts") > 1, "the next turn")
        terminal.type("\r")  # nothing typed: it interrupts
        terminal.until(lambda screen: screen.rstrip().count("your turn") > 1, "the turn after it")
        terminal.type("/end\r")
        assert terminal.ended() == 0
        assert "turns are stored" in terminal.screen


def test_a_pause_shows_the_time_at_which_it_began(start: Start) -> None:
    instance = start(VIVA_BANK_PACE="400")
    with _terminal(instance.url, "--yes", "--minutes", "15") as terminal:
        terminal.until(lambda screen: "your turn" in screen, "the candidate's turn")
        time.sleep(1.1)
        terminal.type("/pause\r")
        terminal.until(lambda screen: "paused" in screen, "the pause")
        terminal.type("\x0c")  # paint all of the screen anew
        paused = re.compile(r"(\d+:\d\d) left  ·  paused")
        terminal.until(paused.search, "the clock")
        assert re.match(r"14:\d\d", paused.findall(terminal.screen)[-1])


def test_ctrl_c_on_my_turn_keeps_the_draft(start: Start) -> None:
    instance = start(VIVA_BANK_PACE="400")
    with _terminal(instance.url, "--yes") as terminal:
        terminal.until(lambda screen: "your turn" in screen, "the candidate's turn")
        terminal.type("Half a draft")
        terminal.until(lambda screen: "Half a draft" in screen, "the draft")
        terminal.type("\x03")
        terminal.until(lambda screen: "Ctrl-D leaves" in screen, "the way to leave")
        terminal.type(", and the rest.\r")
        terminal.until(
            lambda screen: "Enter interrupts" in screen.partition("the rest.")[2], "the next"
        )
        terminal.type("\x04")
        assert terminal.ended() == 0
        answers = _answers(instance, terminal.screen)
    assert answers == ["Half a draft, and the rest."]


def test_ctrl_c_interrupts_the_interviewer(start: Start) -> None:
    instance = start(VIVA_BANK_PACE="3")
    with _terminal(instance.url, "--yes") as terminal:
        terminal.until(lambda screen: "Enter interrupts" in screen, "the question")
        terminal.type("\x03")
        terminal.until(lambda screen: "your turn" in screen, "the candidate's turn")
        terminal.type("/quit\r")
        assert terminal.ended() == 0
        turns = transcript(instance.url, _id(terminal.screen))
    assert turns[0]["outcome"] == "interrupted"


def _id(screen: str) -> str:
    found = ID.search(screen.split("--resume")[1])
    assert found is not None
    return found[0]


def _answers(instance: Instance, screen: str) -> list[str]:
    turns = transcript(instance.url, _id(screen))
    return [turn["text"] for turn in turns if turn["speaker"] == "candidate"]


def test_ctrl_d_leaves_and_says_how_to_come_back(start: Start) -> None:
    instance = start(VIVA_BANK_PACE="400")
    with _terminal(instance.url, "--yes") as terminal:
        terminal.until(lambda screen: "your turn" in screen, "the candidate's turn")
        terminal.type("\x04")
        assert terminal.ended() == 0
        assert "is over" not in terminal.screen


def test_the_way_back_that_is_printed_leads_back(start: Start, tmp_path: Path) -> None:
    instance = start(VIVA_BANK_PACE="400")
    data = tmp_path / "my data"
    data.mkdir()
    (data / "jwt.secret").write_text(SECRET)
    who = ("--user", "grace", "--data-dir", str(data))
    first = _run(instance.url, "--yes", *who, lines=f"{ANSWERS[0]}\n/quit\n", VIVA_TOKEN="")
    viva, *told = shlex.split(first.stdout.partition("The interview waits: ")[2])
    assert viva == "viva"
    second = subprocess.run(
        [sys.executable, "-m", "server", *told],
        input="/end\n",
        env=clean_environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (second.returncode, second.stderr) == (0, "")
    assert "is over" in second.stdout


@pytest.mark.parametrize("key", ["\x03", "\x04"])
def test_leaving_at_the_notice_is_to_decline_it(start: Start, key: str) -> None:
    instance = start(VIVA_BANK_PACE="400")
    with _terminal(instance.url) as terminal:
        terminal.until(lambda screen: "Do you agree?" in screen, "the notice")
        terminal.type(key)
        assert terminal.ended() == 1
        assert "what was prepared is erased" in terminal.screen
        assert "Traceback" not in terminal.screen
