"""Clients that stop reading: bounded memory, 4008, and nobody else feels them."""

import json
import statistics
import time
import urllib.request
from collections.abc import Callable, Generator
from typing import Any

import psutil
import pytest

from server.auth import sign
from tests.e2e.instances import SECRET, Instance
from tests.e2e.raw_sockets import RawSocket

Start = Callable[..., Instance]
STEPS = (0, 50, 100)
PUMPED = 60
"""Events of 30 KB each: far more than the kernel's buffers of one connection hold, and as many as
one answer may have."""
RECEIVE_BUFFER = 4096


@pytest.fixture(autouse=True)
def tidy() -> Generator[None]:
    yield
    RawSocket.abandon_all()


def _ask(instance: Instance, path: str, body: Any, role: Any = "candidate") -> Any:
    user = "ada" if role == "candidate" else "rex"
    request = urllib.request.Request(
        f"{instance.url}/api/interviews{path}",
        data=json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {sign(user, role, SECRET, 600)}",
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)


class Interview:
    """A candidate whose speech recogniser corrects itself at length."""

    def __init__(self, instance: Instance) -> None:
        plan = {"type": "behavioral", "role": "Talker", "duration_minutes": 15}
        self.id = str(_ask(instance, "", plan)["id"])
        self._instance = instance
        self._revision = 0
        self.socket = self.join("candidate")
        self.socket.say("interview.start", id="start", consent={"version": "1", "at": 1})
        while self.socket.hear("turn.started")["speaker"] != "candidate":
            pass

    def join(self, role: str, **options: Any) -> RawSocket:
        raw = RawSocket(self._instance.port, self.id, **options)
        ticket = _ask(self._instance, f"/{self.id}/tickets", {}, role)["ticket"]
        raw.say("hello", credential=ticket)
        raw.hear("live")
        return raw

    def pump(self) -> list[float]:
        """Log much, and return in how many seconds the server answered meanwhile."""
        pings: list[float] = []
        for _ in range(PUMPED):
            self._revision += 1
            self.socket.say(
                "speech.final",
                id=f"s{self._revision}",
                utterance_id="u",
                revision=self._revision,
                text="é" * 15_000,
            )
            self.socket.hear("accepted")
            began = time.monotonic()
            self.socket.say("ping", nonce="n")
            self.socket.hear("pong")
            pings.append(time.monotonic() - began)
            time.sleep(0.05)  # twenty commands a second
        return pings


def test_stalled_readers_cost_little_and_are_closed(start: Start) -> None:
    instance = start(VIVA_BANK_PACE="400", VIVA_LOG_LENGTH="64")
    server = psutil.Process(instance.pid)
    used: list[float] = []
    stalled: list[RawSocket] = []
    pings = Interview(instance).pump()  # what grows once, has grown
    began = time.monotonic()
    for step in STEPS:
        interview = Interview(instance)
        stalled += [
            interview.join("reviewer", receive_buffer=RECEIVE_BUFFER)
            for _ in range(step - len(stalled))
        ]
        began = time.monotonic()
        pings += interview.pump()
        used.append(server.memory_full_info().uss / 1e6)
        if step == STEPS[-1]:
            break
        for raw in stalled:  # these have been told; the next step has its own
            raw.abandon()
        stalled.clear()
    time.sleep(max(0.0, began + 16.0 - time.monotonic()))
    codes = [_code(raw) for raw in stalled]
    slope = (used[-1] - used[0]) / STEPS[-1]
    p99 = statistics.quantiles(pings, n=100)[98]
    print(  # noqa: T201
        f"memory with {STEPS} stalled readers: {[round(mb, 1) for mb in used]} MB,"
        f" {1000 * slope:.0f} KB each; pings meanwhile p99 {1000 * p99:.1f} ms;"
        f" closed: { {code: codes.count(code) for code in set(codes)} }"
    )
    assert slope < 1.0
    assert used[1] - used[0] < 50.0
    assert set(codes) <= {4008, 0}
    assert codes.count(4008) + codes.count(0) == STEPS[-1]
    assert p99 < 1.0


def _code(raw: RawSocket) -> int:
    """Read what is left; return the close code, 0 where TCP had to end it."""
    raw.tcp.settimeout(10)
    try:
        return raw.closed()
    except OSError:
        return 0
