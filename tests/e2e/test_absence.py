"""A candidate who is cut off with the instance that served them: the clock stands, for a while."""

import json
import time
import urllib.request
from collections.abc import Callable, Generator
from typing import Any

import pytest

from protocol import commands as c
from server.auth import sign
from server.presence import LAPSE_S, PULSE_S, TOLD_S
from tests.e2e.clients import Client, post, until_asked
from tests.e2e.instances import SECRET, Instance
from tests.e2e.raw_sockets import RawSocket

Start = Callable[..., Instance]
GRACE_S = 45.0
NOTICED_S = LAPSE_S + 3 * PULSE_S


@pytest.fixture(autouse=True)
def tidy() -> Generator[None]:
    yield
    RawSocket.abandon_all()


def _begun(instance: Instance) -> tuple[Client, str]:
    plan = {"type": "behavioral", "role": "Runner", "duration_minutes": 15}
    interview_id = str(post(instance, "", plan)["id"])
    client = Client(interview_id, "json")
    client.connect(instance, post(instance, f"/{interview_id}/tickets", {})["ticket"])
    client.until_live()
    consent = c.Consent(version="1", at=1)
    client.post(client.session.send(c.InterviewStart(id="start", consent=consent)))
    until_asked(client)
    return client, interview_id


def _status(instance: Instance, interview_id: str) -> str:
    headers = {"Authorization": f"Bearer {sign('ada', 'candidate', SECRET, 600)}"}
    request = urllib.request.Request(
        f"{instance.url}/api/interviews/{interview_id}", headers=headers
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        return str(json.load(reply)["status"])


def _becomes(instance: Instance, interview_id: str, status: str, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while (found := _status(instance, interview_id)) != status:
        assert time.monotonic() < deadline, f"it is still {found}"
        time.sleep(0.5)


def test_a_killed_instance_stops_the_clocks_of_its_candidates(start: Start) -> None:
    settings: dict[str, Any] = {"VIVA_BANK_PACE": "60", "VIVA_GRACE_S": str(GRACE_S)}
    doomed, other = start(**settings), start(**settings)
    returns, returning = _begun(doomed)
    _, staying_away = _begun(doomed)
    _, there = _begun(other)
    began = time.monotonic()
    doomed.kill()
    _becomes(other, returning, "disconnected", NOTICED_S)
    _becomes(other, staying_away, "disconnected", TOLD_S)
    assert _status(other, there) == "live"
    away_s = time.monotonic() - began
    fresh = Client(returning, "json")
    fresh.connect(other, post(other, f"/{returning}/tickets", {})["ticket"])
    fresh.until_live()
    clock = json.loads(fresh.frames[0])["snapshot"]["clock"]
    assert clock["running"]
    assert clock["elapsed_ms"] < 1_000 * (away_s - LAPSE_S / 2)
    assert fresh.session.view.status == "live"
    fresh.post(fresh.session.send(c.AnswerSubmit(id="back", text="I am back.")))
    until_asked(fresh)
    assert returns.session.view.turns[0] == fresh.session.view.turns[0]
    _becomes(other, returning, "live", 10)
    _becomes(other, staying_away, "abandoned", GRACE_S)
