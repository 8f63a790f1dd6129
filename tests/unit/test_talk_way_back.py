"""How the terminal tells the way back to an interview, and where there is none."""

import io
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from server.cli import parser
from server.commands import talk
from server.talk.api import PROBLEM

INTERVIEW = "0190a5c0-0000-7000-8000-00000000000a"


class Forgetful(BaseHTTPRequestHandler):
    """Creates every interview, and knows none."""

    def do_POST(self) -> None:
        created = self.path == "/api/interviews"
        body = f'{{"id": "{INTERVIEW}"}}' if created else '{"code": "not_found", "detail": "No."}'
        self.send_response(201 if created else 404)
        self.send_header("Content-Type", "application/json" if created else PROBLEM)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Say nothing."""


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Generator[str]:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with ThreadingHTTPServer(("127.0.0.1", 0), Forgetful) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_interview_that_was_created_waits(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    args = parser().parse_args(["talk", "--url", url, "--token", "t"])
    assert talk.run(args) == 1
    told = f"waits (with the same --token): viva talk --resume {INTERVIEW} --url {url}"
    assert told in capsys.readouterr().out


def test_the_way_back_begins_with_the_program_that_was_called(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", [".venv/bin/viva", "talk"])
    assert talk.run(parser().parse_args(["talk", "--url", url, "--token", "t"])) == 1
    assert f": .venv/bin/viva talk --resume {INTERVIEW}" in capsys.readouterr().out


def test_an_interview_that_nobody_knows_does_not_wait(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    args = parser().parse_args(["talk", "--url", url, "--token", "t", "--resume", "1"])
    assert talk.run(args) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "there is no such interview, or it is not yours\n"
