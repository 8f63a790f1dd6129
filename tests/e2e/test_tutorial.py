"""The tutorial's own client, taken from the page, has an interview while its server is killed."""

import json
import os
import re
import selectors
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from server.auth import sign
from tests.e2e.instances import ROOT, SECRET, Instance, clean_environment

PAGE = ROOT / "docs" / "tutorial" / "first-interview.md"
ANSWERS = [f"What I did the {n}. time, déjà vu 🙂" for n in range(1, 7)]
PATIENCE_S = 60.0
END = re.compile(r"^interview [0-9a-f-]{36}$", re.MULTILINE)


class Typist:
    """The client as a process, and the person who reads it and types."""

    def __init__(self, url: str, token: str, script: Path) -> None:
        self.printed = ""
        self.process = subprocess.Popen(
            [sys.executable, "-u", str(script)],
            env={
                **clean_environment(),
                "VIVA_URL": url,
                "VIVA_TOKEN": token,
                "PYTHONIOENCODING": "utf-8",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def read_until(self, enough: Callable[[str], bool]) -> None:
        """Read what the client prints until that is enough."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + PATIENCE_S
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not enough(self.printed):
                assert selector.select(deadline - time.monotonic()), self.printed
                piece = os.read(self.process.stdout.fileno(), 65536)
                assert piece, self.printed
                self.printed += piece.decode(errors="replace")

    def type(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (client,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    path = tmp_path / "candidate.py"
    path.write_text(client, encoding="utf-8")
    return path


@pytest.fixture
def instance(start: Callable[..., Instance]) -> Instance:
    return start(VIVA_BANK_PACE="60")


@pytest.fixture
def typist(instance: Instance, script: Path) -> Generator[Typist]:
    typist = Typist(instance.url, _token(), script)
    yield typist
    typist.close()


def test_the_tutorials_client_loses_nothing(instance: Instance, typist: Typist) -> None:
    for number, answer in enumerate(ANSWERS, 1):
        typist.read_until(lambda printed, number=number: printed.count("You: ") == number)
        if number == 2:  # while the candidate types
            instance.kill()
            instance.start()
        typist.type(answer)
        if number == 3:  # while the interviewer is about to speak
            instance.kill()
            instance.start()
    typist.read_until(lambda printed: bool(END.search(printed)))
    assert typist.process.wait(PATIENCE_S) == 0

    interview_id = typist.printed.split()[-1]
    turns = _transcript(instance, interview_id)
    assert [turn["text"] for turn in turns if turn["speaker"] == "candidate"] == ANSWERS
    assert [turn["turn"] for turn in turns] == list(range(1, len(turns) + 1))
    for turn in turns:
        if turn["speaker"] == "interviewer":
            assert turn["text"].splitlines()[-1] in typist.printed


def _token() -> str:
    return sign("nurse", "candidate", SECRET, 600)


def _transcript(instance: Instance, interview_id: str) -> list[dict[str, Any]]:
    request = urllib.request.Request(
        f"{instance.url}/api/interviews/{interview_id}/transcript",
        headers={"Authorization": f"Bearer {_token()}"},
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)["turns"]
