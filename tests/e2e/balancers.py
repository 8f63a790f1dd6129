"""Debian's HAProxy and nginx as plain processes, on the very configurations of `deploy/`."""

import os
import shutil
import string
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from server.embedded.ports import free_port
from tests.e2e.instances import ROOT, Instance, clean_environment

DEPLOY = ROOT / "deploy"
HEALTHCHECK = DEPLOY / "healthcheck.py"
START_S = 10.0
STOP_S = 5.0
CHECK_S = 10.0


def binary(name: str) -> str | None:
    """The program, also where only root's PATH has it."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


def haproxy_environment(
    port: int, status_port: int, instances: Sequence[str], **more: str
) -> dict[str, str]:
    """What `deploy/haproxy.cfg` reads."""
    return {
        "BALANCER_ADDRESS": f"127.0.0.1:{port}",
        "STATUS_ADDRESS": f"127.0.0.1:{status_port}",
        "MAX_CONNECTIONS": "200",
        "PUBLIC_HOST": f"127.0.0.1:{port}",
        **{f"INSTANCE_{number}": at for number, at in enumerate(instances, start=1)},
        **more,
    }


def rendered_nginx(port: int, instances: Sequence[str], scratch: Path, **more: str) -> str:
    """`deploy/nginx.conf` with its words replaced, as envsubst would."""
    servers = " ".join(f"server {at} max_fails=1 fail_timeout=2s;" for at in instances)
    words = {
        "BALANCER_ADDRESS": f"127.0.0.1:{port}",
        "CONNECTIONS_PER_ADDRESS": "2000",
        "INSTANCES": servers,
        "SCRATCH": str(scratch),
    }
    return string.Template((DEPLOY / "nginx.conf").read_text()).safe_substitute(words | more)


class Balancer:
    """HAProxy or nginx in front of instances, given as ``host:port``."""

    def __init__(self, kind: str, directory: Path) -> None:
        self.kind = kind
        self.port = free_port()
        self.status_port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self._directory = directory
        self._log = directory / f"{kind}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def start(self, instances: Sequence[str], **more: str) -> None:
        """Start it and wait until it passes requests on; ``more`` is said to it, too."""
        command, environment = self._command(instances, more)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env={**clean_environment(), **environment}, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_S
        while not self._passes():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{self.kind} did not start:\n{self.log()}")
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def states(self) -> dict[str, str]:
        """HAProxy's word for each instance, such as UP or DOWN."""
        with urllib.request.urlopen(self._status("/stats;csv"), timeout=2) as reply:
            rows = [line.split(",") for line in reply.read().decode().splitlines()]
        state = rows[0].index("status")
        return {row[1]: row[state] for row in rows if row[0] == "viva" and row[1] != "BACKEND"}

    def await_states(self, *states: str) -> None:
        """Wait until HAProxy sees the instances so, in their order."""
        deadline = time.monotonic() + CHECK_S
        while (found := tuple(self.states().values())) != states:
            assert time.monotonic() < deadline, found
            time.sleep(0.05)

    def _command(
        self, instances: Sequence[str], more: Mapping[str, str]
    ) -> tuple[list[str], dict[str, str]]:
        program = binary(self.kind)
        assert program is not None
        if self.kind == "haproxy":
            environment = haproxy_environment(self.port, self.status_port, instances, **more)
            return [program, "-db", "-f", str(DEPLOY / "haproxy.cfg")], environment
        path = self._directory / "nginx.conf"
        path.write_text(rendered_nginx(self.port, instances, self._directory, **more))
        arguments = ["-e", "stderr", "-p", str(self._directory), "-c", str(path)]
        return [program, *arguments, "-g", "daemon off;"], {}

    def _status(self, path: str) -> str:
        return f"http://127.0.0.1:{self.status_port}{path}"

    def _passes(self) -> bool:
        asked = self._status("/health") if self.kind == "haproxy" else f"{self.url}/health/ready"
        try:
            with urllib.request.urlopen(asked, timeout=2) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, OSError):
            return False


class ServedInstance(Instance):
    """An instance that serves the balancer's host alone; asked as its container asks it."""

    def __init__(
        self, environment: Mapping[str, str], directory: Path, balancer: Balancer, **more: str
    ) -> None:
        self._host = balancer.host
        super().__init__({**environment, "VIVA_HOSTS": self._host, **more}, directory)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def healthy(self) -> bool:
        """What the container's health check says."""
        command = [sys.executable, str(HEALTHCHECK), str(self.port)]
        environment = {**clean_environment(), "VIVA_HOSTS": self._host}
        return subprocess.run(command, env=environment, check=False, timeout=10).returncode == 0

    @property
    def sockets(self) -> int:
        """How many sockets are open here, by its metrics; none where it is gone."""
        request = urllib.request.Request(f"{self.url}/metrics", headers={"Host": self._host})
        try:
            with urllib.request.urlopen(request, timeout=2) as reply:
                lines = reply.read().decode().splitlines()
        except urllib.error.URLError:
            return 0
        found = [line.split(" ")[1] for line in lines if line.startswith("viva_sockets{")]
        return sum(int(float(number)) for number in found)

    def _ready(self) -> bool:
        return self.healthy
