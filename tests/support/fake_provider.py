"""The fake provider as a process of its own, for tests that do not run a loop."""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


@contextmanager
def fake_openai(*options: str) -> Generator[dict[str, str]]:
    """Run it while the body runs; gives the settings of an instance that uses it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "loadtest.fakeopenai", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip().partition("=")[2]
        assert process.stdout.readline() == "ready\n"
        yield {"OPENAI_API_KEY": "a key", "OPENAI_BASE_URL": url, "VIVA_QUESTION_CACHE": "0"}
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()
