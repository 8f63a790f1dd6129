"""A token that was verified once is remembered, and not for longer than it is valid."""

import time
from typing import Any

import pytest

from server import auth
from server.auth import Authenticator, Caller, sign
from server.problems import ProblemError

SECRET = "a secret of thirty-two characters"

pytestmark = pytest.mark.anyio


class Request:
    def __init__(self, token: str) -> None:
        self.headers = {"authorization": f"Bearer {token}"}


async def caller_of(authenticator: Authenticator, token: str) -> Caller:
    request: Any = Request(token)
    return await authenticator(request, None)


async def test_it_expires_though_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    authenticator, token = Authenticator(SECRET), sign("ada", "reviewer", SECRET, 60)
    assert await caller_of(authenticator, token) == Caller("ada", "reviewer")
    monkeypatch.setattr(auth, "_jwt", None)  # from here on nothing is decoded
    assert await caller_of(authenticator, token) == Caller("ada", "reviewer")
    monkeypatch.undo()
    later = time.time() + 60 + 11
    monkeypatch.setattr(auth.time, "time", lambda: later)
    monkeypatch.setattr("jwt.api_jwt.datetime", _At(later))
    with pytest.raises(ProblemError) as caught:
        await caller_of(authenticator, token)
    assert "expired" in str(caught.value.detail)


async def test_what_is_not_valid_is_not_remembered() -> None:
    authenticator = Authenticator(SECRET)
    for _ in range(2):
        with pytest.raises(ProblemError):
            await caller_of(authenticator, sign("ada", "admin", SECRET[::-1], 60))


async def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "KNOWN", 3)
    authenticator = Authenticator(SECRET)
    tokens = [sign(f"user-{number}", "candidate", SECRET, 60) for number in range(8)]
    for number, token in enumerate(tokens):
        assert (await caller_of(authenticator, token)).user == f"user-{number}"
    assert list(authenticator._known) == tokens[-3:]  # type: ignore[reportPrivateUsage]


class _At:
    """`datetime` at one time, as PyJWT asks for it."""

    def __init__(self, at: float) -> None:
        self._at = at

    def now(self, **_: Any) -> "_At":
        return self

    def timestamp(self) -> float:
        return self._at
