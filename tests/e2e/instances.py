"""Server processes that end-to-end tests start, kill and start again."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

SECRET = "an end-to-end secret of enough bytes"
START_S = 30.0
STOP_S = 30.0
ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment() -> dict[str, str]:
    """The environment without what would set an instance up."""
    mine = ("VIVA_", "OPENAI_", "REDIS_", "DATABASE_", "CACHE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(mine)}


class Instance:
    """`viva serve` on one port."""

    def __init__(self, environment: Mapping[str, str], directory: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = directory / f"instance-{self.port}.log"
        self._environment = {**clean_environment(), "VIVA_JWT_SECRET": SECRET, **environment}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it is ready."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "server", "serve", "--port", str(self.port)],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_S
        while not self._ready():
            ended = self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                raise AssertionError(f"the instance did not start:\n{self.log()}")
            time.sleep(0.05)

    @property
    def pid(self) -> int:
        assert self._process is not None, "it was started"
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL: no goodbye."""
        self._end(signal.SIGKILL)

    def stop(self) -> int | None:
        """SIGTERM, and SIGKILL where that takes too long; return what it ended with."""
        return self._end(signal.SIGTERM)

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def _end(self, number: int) -> int | None:
        if self._process is None:
            return None
        self._process.send_signal(number)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        code, self._process = self._process.returncode, None
        return code

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health/ready", timeout=2) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, OSError):
            return False
