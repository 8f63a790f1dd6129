"""A provider that turns us away: one call finds it out for two instances, and both stay ready."""

import asyncio
import json
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.e2e.instances import Instance
from tests.e2e.test_api import ask
from tests.support.ended import ANSWER, ended
from tests.support.interviews import NOW, opened

PATIENCE_S = 20.0
OPENINGS = re.compile(r"^viva_model_circuit_openings_total\{(.+)\} (.+)$", re.MULTILINE)


class Refusing(ThreadingHTTPServer):
    calls = 0


class _Refusal(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Refusing)
        self.server.calls += 1
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b'{"error": {"message": "no", "type": "invalid_request_error", "code": null}}'
        self.send_response(401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name in the library
        pass


@pytest.fixture
def refusing() -> Generator[Refusing]:
    with Refusing(("127.0.0.1", 0), _Refusal) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield server
        server.shutdown()
        serving.join(10)


def _health(instance: Instance) -> dict[str, Any]:
    with urllib.request.urlopen(f"{instance.url}/health/ready", timeout=5) as reply:
        assert reply.status == 200
        found: dict[str, Any] = json.load(reply)
    return found


def _metrics(instance: Instance) -> str:
    with urllib.request.urlopen(f"{instance.url}/metrics", timeout=5) as reply:
        return str(reply.read(), "utf-8")


def test_one_call_finds_out_for_all(
    start: Callable[..., Instance], refusing: Refusing, database_url: str
) -> None:
    settings = {
        "OPENAI_API_KEY": "a key that was taken back",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{refusing.server_address[1]}/v1",
        "VIVA_MODEL": "small",
        "VIVA_ASSESSOR_MODEL": "strong",
        "VIVA_PRICES": "small=0/0/0,strong=0/0/0",
    }
    instances = [start(**settings), start(**settings)]
    for instance in instances:
        assert _health(instance)["circuits"] == {"small": "closed", "strong": "closed"}

    async def put() -> str:
        async with opened(database_url) as archive:
            return (await ended(archive, NOW, answers=(ANSWER, ANSWER))).interview_id

    path = f"/api/interviews/{asyncio.run(put())}/report"
    assert ask(instances[0], "POST", path, user="ann").status == 202
    deadline = time.monotonic() + PATIENCE_S
    expected = {"small": "closed", "strong": "open"}
    while any(_health(instance)["circuits"] != expected for instance in instances):
        assert time.monotonic() < deadline, "not all have heard of it"
        time.sleep(0.1)
    assert refusing.calls == 1
    shown = [_metrics(instance) for instance in instances]
    state = 'viva_model_circuit_open{model="strong",task="rate"} 1.0'
    assert all(state in text for text in shown)
    found = [opening for text in shown for opening in OPENINGS.findall(text)]
    assert found == [('code="unauthorized",model="strong",task="rate"', "1.0")]
    assert all(_health(instance)["status"] == "ready" for instance in instances)
    told = ask(instances[1], "GET", path, user="ann")
    assert (told.status, told.json["reason"]) == (202, "delayed")
    assert 3 < int(told.headers["Retry-After"]) <= 60 + 5
