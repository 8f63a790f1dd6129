"""Tickets and resume tokens: every byte counts, and they end."""

import base64

import msgspec
import pytest

from protocol.limits import RESUME_TOKEN_S, TICKET_S
from server.credentials import LONGEST, CredentialError, Credentials, Grant

SECRET = "a deployment's secret of enough bytes"
NOW = 1_795_000_000_000
WHOM = ("an interview", "ann — ünïcode", "candidate")


class Clock:
    now = NOW

    def __call__(self) -> int:
        return self.now


def _issuer(clock: Clock, secret: str = SECRET) -> Credentials:
    return Credentials(secret, clock)


def _refusal(credentials: Credentials, text: str) -> str:
    with pytest.raises(CredentialError) as refused:
        credentials.read(text)
    return str(refused.value)


def test_a_ticket_says_whom_and_lasts_a_minute() -> None:
    clock = Clock()
    credentials = _issuer(clock)
    text, expires = credentials.ticket("an interview", "ann", "observer")
    grant = credentials.read(text)
    assert (grant.kind, grant.interview_id, grant.user_id, grant.role) == (
        "ticket",
        "an interview",
        "ann",
        "observer",
    )
    assert (grant.issued, grant.expires) == (NOW, expires) == (NOW, NOW + TICKET_S * 1000)
    clock.now = expires - 1
    assert credentials.read(text) == grant
    clock.now = expires
    assert _refusal(credentials, text) == "expired"


def test_a_resume_token_lasts_a_day_from_its_issue() -> None:
    clock = Clock()
    credentials = _issuer(clock)
    text = credentials.resume_token("an interview", "ann", "candidate", issued=NOW - 5)
    grant = credentials.read(text)
    assert (grant.kind, grant.issued) == ("resume", NOW - 5)
    clock.now = NOW - 5 + RESUME_TOKEN_S * 1000 - 1
    assert credentials.read(text) == grant
    clock.now += 1
    assert _refusal(credentials, text) == "expired"


def test_no_two_tickets_are_the_same() -> None:
    credentials = _issuer(Clock())
    tickets = [
        credentials.read(credentials.ticket("an interview", "ann", "candidate")[0]).id
        for _ in range(100)
    ]
    assert len(set(tickets)) == 100


def test_every_byte_is_signed() -> None:
    credentials = _issuer(Clock())
    text, _ = credentials.ticket(*WHOM)
    assert credentials.read(text).user_id == WHOM[1]
    for place in range(len(text)):
        for other in ("A", "B", "_", ".", "=", " ", "\n", "é", "\0", ""):
            if other != text[place]:
                changed = text[:place] + other + text[place + 1 :]
                assert _refusal(credentials, changed) == "unknown", (place, other)


@pytest.mark.parametrize("suffix", ["=", "==", ".", "A", "\n", " ", "%00"])
def test_nothing_may_be_added(suffix: str) -> None:
    credentials = _issuer(Clock())
    text, _ = credentials.ticket(*WHOM)
    assert _refusal(credentials, text + suffix) == "unknown"
    assert _refusal(credentials, suffix + text) == "unknown"


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "a", "a.b", "é.é", "\ud800", "x" * LONGEST, f"{'x' * LONGEST}.y", "%", "\0.\0"],
)
def test_what_is_no_credential_is_unknown(text: str) -> None:
    assert _refusal(_issuer(Clock()), text) == "unknown"


def test_another_deployments_credential_is_unknown() -> None:
    clock = Clock()
    text, _ = _issuer(clock, SECRET + "!").ticket(*WHOM)
    assert _refusal(_issuer(clock), text) == "unknown"


def _signed(credentials: Credentials, content: object) -> str:
    """A payload of another kind, under the right signature."""
    payload = base64.urlsafe_b64encode(msgspec.msgpack.encode(content)).rstrip(b"=").decode()
    return f"{payload}.{credentials._signature(payload)}"  # pyright: ignore[reportPrivateUsage]


def test_a_signed_payload_of_another_shape_is_unknown() -> None:
    credentials = _issuer(Clock())
    good = ["ticket", "n", "i", "u", "candidate", NOW, NOW + 1]
    assert isinstance(credentials.read(_signed(credentials, good)), Grant)
    for bad in (
        ["passport", *good[1:]],
        [*good[:4], "king", *good[5:]],
        good[:-1],
        {"kind": "ticket"},
        "ticket",
        None,
    ):
        assert _refusal(credentials, _signed(credentials, bad)) == "unknown"


def test_a_long_user_fits() -> None:
    credentials = _issuer(Clock())
    user = "ü" * 128
    text = credentials.resume_token("i" * 36, user, "transcriber", issued=NOW)
    assert len(text) < LONGEST
    assert credentials.read(text).user_id == user
