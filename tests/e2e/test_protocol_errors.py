"""The contract's protocol errors, each with raw frames; in the end the server serves on."""

import json
import time
import urllib.request
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from server.auth import sign
from tests.e2e.instances import SECRET, Instance
from tests.e2e.raw_sockets import BINARY, CLOSE, PING, TEXT, RawSocket, frame
from tests.support.databases import flush_redis, fresh_database
from tests.support.migrations import migrated

ABSENT = "0190a5c0-0000-7000-8000-00000000000a"
CONSENT = {"version": "1", "at": 1}


@pytest.fixture(scope="module")
def instance(services: Any, tmp_path_factory: pytest.TempPathFactory) -> Generator[Instance]:
    """One instance for all of them: what one test does to it, the next would feel."""
    flush_redis(services.redis_url)
    with fresh_database(services.database_url) as database_url:
        migrated(database_url)
        directory: Path = tmp_path_factory.mktemp("instance")
        settings = {
            "REDIS_URL": services.redis_url,
            "DATABASE_URL": database_url,
            "VIVA_BANK_PACE": "400",
            "VIVA_MAX_INTERVIEWS_PER_USER": "1000",
        }
        running = Instance(settings, directory)
        running.start()
        yield running
        running.stop()
        assert "Exception in ASGI" not in running.log()
        assert '"level": "critical"' not in running.log()


@pytest.fixture(autouse=True)
def tidy() -> Generator[None]:
    """Leave no socket open."""
    yield
    RawSocket.abandon_all()


def ask(
    instance: Instance, method: str, path: str, body: Any = None, role: str = "candidate"
) -> Any:
    request = urllib.request.Request(
        f"{instance.url}/api/interviews{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {sign('ada', role, SECRET, 600)}",  # type: ignore[arg-type]
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.loads(reply.read() or b"null")


@pytest.fixture
def interview(instance: Instance) -> str:
    plan = {"type": "technical", "role": "Engineer", "duration_minutes": 15}
    return str(ask(instance, "POST", "", plan)["id"])


def ticket(instance: Instance, interview: str, role: str | None = None) -> str:
    asked = {} if role is None else {"role": role}
    return str(ask(instance, "POST", f"/{interview}/tickets", asked)["ticket"])


Join = Callable[..., RawSocket]


@pytest.fixture
def join(instance: Instance, interview: str) -> Join:
    """Open a socket and join; what came up to `live` is read."""

    def joined(role: str | None = None, **options: Any) -> RawSocket:
        raw = RawSocket(instance.port, interview, **options)
        raw.say("hello", credential=ticket(instance, interview, role))
        raw.hear("live")
        return raw

    return joined


def test_no_common_subprotocol_is_told_by_4506(instance: Instance, interview: str) -> None:
    for subprotocol in (None, "interview.v2.json", "chat"):
        raw = RawSocket(instance.port, interview, subprotocol=subprotocol)
        assert (raw.status, raw.closed()) == (101, 4506)


@pytest.mark.parametrize("origin", ["null", "https://evil.example", "http://127.0.0.1:1"])
def test_a_foreign_origin_is_refused_before_accept(
    instance: Instance, interview: str, origin: str
) -> None:
    assert RawSocket(instance.port, interview, origin=origin).status == 403


def test_the_own_origin_is_welcome(instance: Instance, interview: str) -> None:
    raw = RawSocket(instance.port, interview, origin=instance.url)
    raw.say("hello", credential=ticket(instance, interview))
    assert raw.hear()["type"] == "welcome"


def test_no_hello_in_time(instance: Instance, interview: str) -> None:
    raw = RawSocket(instance.port, interview)
    began = time.monotonic()
    assert raw.closed() == 4508
    assert 4.5 < time.monotonic() - began < 7


@pytest.mark.parametrize("size", [4097, 60_000, 65_537, 200_000])
def test_a_large_hello(instance: Instance, interview: str, size: int) -> None:
    raw = RawSocket(instance.port, interview)
    raw.text(json.dumps({"type": "hello", "credential": "x" * size}))
    assert raw.closed() == 1009


def test_a_large_frame(join: Join) -> None:
    raw = join()
    raw.text(json.dumps({"type": "ping", "nonce": "x" * 70_000}))
    assert raw.closed() == 1009


@pytest.mark.parametrize("credential", ["", "x", "a.b", "é", "x" * 3000])
def test_an_unknown_credential(instance: Instance, interview: str, credential: str) -> None:
    raw = RawSocket(instance.port, interview)
    raw.say("hello", credential=credential)
    assert raw.closed() == 4401


def test_a_tampered_ticket(instance: Instance, interview: str) -> None:
    whole = ticket(instance, interview)
    for place in (0, len(whole) // 2, len(whole) - 1):
        raw = RawSocket(instance.port, interview)
        other = "A" if whole[place] != "A" else "B"
        raw.say("hello", credential=whole[:place] + other + whole[place + 1 :])
        assert raw.closed() == 4401


def test_a_ticket_is_good_once_and_for_one_interview(instance: Instance, interview: str) -> None:
    given = ticket(instance, interview)
    elsewhere = RawSocket(instance.port, ABSENT)
    elsewhere.say("hello", credential=given)
    assert elsewhere.closed() == 4503
    first = RawSocket(instance.port, interview)
    first.say("hello", credential=given)
    first.hear("live")
    second = RawSocket(instance.port, interview)
    second.say("hello", credential=given)
    assert second.closed() == 4401
    first.say("ping", nonce="still here")
    assert first.hear("pong")["nonce"] == "still here"


BROKEN = {
    "not JSON": frame(TEXT, b"{nonsense"),
    "empty": frame(TEXT, b""),
    "NaN": frame(TEXT, b'{"type":"ping","nonce":NaN}'),
    "two values": frame(TEXT, b'{"type":"ping","nonce":"a"}{}'),
    "binary": frame(BINARY, b'{"type":"ping","nonce":"a"}'),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_an_undecodable_frame(join: Join, broken: bytes) -> None:
    raw = join()
    raw.raw(broken)
    assert raw.closed() == 4500


@pytest.mark.parametrize(
    "broken",
    [frame(BINARY, b"\xc1"), frame(TEXT, b"{}"), frame(BINARY, b"")],
    ids=["reserved byte", "text", "empty"],
)
def test_an_undecodable_frame_of_messagepack(join: Join, broken: bytes) -> None:
    raw = join(subprotocol="interview.v1.msgpack")
    raw.raw(broken)
    assert raw.closed() == 4500


VIOLATIONS = {
    "invalid UTF-8": (frame(TEXT, b"\xff\xfe"), 1007),
    "reserved bit": (frame(TEXT, b"{}", rsv=4), 1002),
    "unknown opcode": (frame(3, b""), 1002),
    "unmasked": (frame(TEXT, b"{}", mask=False), 1002),
    "long ping": (frame(PING, b"x" * 126), 1002),
    "fragmented ping": (frame(PING, b"x", fin=False), 1002),
    "stray continuation": (frame(0, b"x"), 1002),
    "close code 1005": (frame(CLOSE, b"\x03\xed"), 1002),
}


@pytest.mark.parametrize(("sent", "code"), VIOLATIONS.values(), ids=VIOLATIONS.keys())
def test_a_violation_of_the_protocol_beneath(join: Join, sent: bytes, code: int) -> None:
    raw = join()
    raw.raw(sent)
    assert raw.closed() == code


def test_a_message_in_fragments_is_one(join: Join) -> None:
    raw = join()
    message = '{"type":"ping","nonce":"é日本"}'.encode()
    for place, byte in enumerate(message):
        opcode = TEXT if place == 0 else 0
        raw.raw(frame(opcode, bytes([byte]), fin=place == len(message) - 1))
        if place == 5:
            raw.raw(frame(PING, b"between"))
    assert raw.hear("pong")["nonce"] == "é日本"


MISFITS = [
    '{"type":"nonsense"}',
    '{"type":"ping"}',
    '{"type":"hello","credential":"again"}',
    '{"type":"answer.submit","id":"has space"}',
    '{"type":"answer.submit","id":""}',
    '{"type":"answer.submit","id":"%s"}' % ("x" * 65),
    '{"type":"answer.submit","id":"a","text":"\\u0000"}',
    '{"type":"answer.submit","id":"a","text":"\\ud800"}',
    '{"type":"turn.cancel","id":"a","turn":0,"attempt":1}',
    '{"type":"turn.cancel","id":"a","turn":9007199254740992,"attempt":1}',
    '{"type":"turn.cancel","id":"a","turn":1.5,"attempt":1}',
    '{"type":"interview.start","id":"a"}',
    '{"type":"interview.start","id":"a","consent":{"version":"1","at":-1}}',
    "[]",
    "null",
    '"text"',
    "[" * 5000 + "]" * 5000,
]


@pytest.mark.parametrize("misfit", MISFITS, ids=range(len(MISFITS)))
def test_a_message_that_fits_no_schema(join: Join, misfit: str) -> None:
    raw = join()
    for _ in range(2):
        raw.text(misfit)
        error = raw.hear("error", "rejected")
        assert error["type"] == "error"
        assert "Traceback" not in error["message"]
    raw.say("ping", nonce="on")
    raw.hear("pong")  # two are forgiven
    raw.text(misfit)
    assert raw.closed() == 4510


def test_an_unknown_field_is_rejected_and_the_socket_stays(join: Join) -> None:
    raw = join()
    for number in range(4):
        raw.say("answer.submit", id=f"a{number}", txet="misspelt")
        answer = raw.hear("rejected")
        assert (answer["command_id"], answer["code"]) == (f"a{number}", "unknown_field")
        assert not answer["retryable"]
    raw.say("ping", nonce="on")
    raw.hear("pong")


EXTENDED = [
    '{"type":"ping","nonce":"n","id":"p"}',
    '{"type":"ack","event_id":"1-1","at":1}',
    '{"type":"speech.partial","utterance_id":"u","revision":1,"text":"t","\\u0000":1}',
]


@pytest.mark.parametrize("extended", EXTENDED, ids=range(len(EXTENDED)))
def test_so_does_that_of_a_command_without_an_id(join: Join, extended: str) -> None:
    raw = join()
    for _ in range(4):
        raw.text(extended)
        error = raw.hear("error")
        assert error["code"] == "unknown_field"
        assert "\0" not in error["message"]
    raw.say("ping", nonce="on")
    raw.hear("pong")


def test_an_absent_interview_and_somebody_elses_look_alike(
    instance: Instance, interview: str
) -> None:
    given = ticket(instance, interview)
    raw = RawSocket(instance.port, ABSENT)
    raw.say("hello", credential=given)
    assert raw.closed() == 4503


def test_what_does_not_fit_the_state(join: Join) -> None:
    raw = join()
    raw.say("answer.submit", id="early")
    assert raw.hear("rejected")["code"] == "wrong_state"
    raw.say("interview.start", id="start", consent=CONSENT)
    accepted = raw.hear("accepted")
    raw.say("interview.start", id="start", consent=CONSENT)
    again = raw.hear("accepted")
    assert (again["id"], again["duplicate"]) == (accepted["id"], True)
    raw.say("interview.start", id="start", consent={"version": "2", "at": 1})
    assert raw.hear("rejected")["code"] == "id_reused"
    raw.say("interview.start", id="other", consent=CONSENT)
    assert raw.hear("rejected")["code"] == "wrong_state"
    raw.say("answer.submit", id="early")  # remembered, though it would fit by now
    assert raw.hear("rejected")["code"] == "wrong_state"
    raw.say("speech.final", id="s", utterance_id="u", revision=1, text="x")
    answer = raw.hear("rejected", "accepted")
    assert answer["type"] == "accepted" or (answer["code"], answer["retryable"]) == (
        "no_open_answer",
        True,
    )


@pytest.mark.parametrize(
    ("role", "kind"),
    [
        ("transcriber", "interview.start"),
        ("transcriber", "interview.end"),
        ("transcriber", "hint.request"),
    ],
)
def test_what_a_role_may_not_send(join: Join, role: str, kind: str) -> None:
    raw = join(role)
    fields = {"consent": CONSENT} if kind == "interview.start" else {}
    raw.say(kind, id="a", **fields)
    assert raw.hear("rejected")["code"] == "forbidden"


def test_an_observer_only_looks(instance: Instance, interview: str) -> None:
    asked = ask(instance, "POST", f"/{interview}/tickets", {}, role="reviewer")
    request = sign("eve", "reviewer", SECRET, 600)
    assert asked, request
    raw = RawSocket(instance.port, interview)
    other = urllib.request.Request(
        f"{instance.url}/api/interviews/{interview}/tickets",
        method="POST",
        data=b"{}",
        headers={"Authorization": f"Bearer {request}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(other, timeout=10) as reply:
        raw.say("hello", credential=json.load(reply)["ticket"])
    assert raw.hear("welcome")["role"] == "observer"
    raw.say("interview.start", id="a", consent=CONSENT)
    assert raw.hear("rejected")["code"] == "forbidden"


def test_the_newer_socket_replaces_the_older(join: Join) -> None:
    older = join()
    newer = join()
    assert older.closed() == 4505
    newer.say("ping", nonce="on")
    newer.hear("pong")


def test_too_many_commands_are_rejected_for_a_while(join: Join) -> None:
    raw = join()
    for number in range(60):
        raw.say("hint.request", id=f"h{number}")
    answers = [raw.hear("rejected") for _ in range(60)]
    codes = [answer["code"] for answer in answers]
    limited = [answer for answer in answers if answer["code"] == "rate_limited"]
    assert 10 <= len(limited) <= 20
    assert codes.count("wrong_state") == 60 - len(limited)
    assert all(answer["retryable"] for answer in limited)
    raw.say("ping", nonce="exempt")
    raw.hear("pong")


@pytest.mark.torture
def test_a_flood_of_commands_is_closed_after_a_while(join: Join) -> None:
    raw = join()
    began = time.monotonic()
    code, number = 0, 0
    while code == 0:
        assert time.monotonic() - began < 25
        number += 1
        raw.say("hint.request", id=f"h{number}")
        time.sleep(0.02)
        opcode, payload = raw.read()
        code = int.from_bytes(payload[:2], "big") if opcode == CLOSE else 0
    assert code == 4029
    assert time.monotonic() - began > 8


@pytest.mark.torture
def test_a_client_that_vanished_is_noticed(instance: Instance, interview: str) -> None:
    raw = RawSocket(instance.port, interview)
    raw.say("hello", credential=ticket(instance, interview))
    raw.hear("live")
    began = time.monotonic()
    raw.tcp.settimeout(60)
    while True:  # it reads, and never answers a ping nor says anything
        head = raw.tcp.recv(65_536)
        if not head or b"\x0f\xa9" in head:
            break
    assert time.monotonic() - began <= 40


def test_in_the_end_the_server_serves_on(join: Join) -> None:
    raw = join()
    raw.say("interview.start", id="start", consent=CONSENT)
    raw.hear("accepted")
    for number in range(6):
        while raw.hear("turn.started")["speaker"] != "candidate":
            pass
        raw.say("answer.submit", id=f"a{number}", text="It serves on.")
    raw.hear("interview.ended")
    assert raw.closed() == 4504
