"""Tickets and resume tokens: signed, self-contained, so that they survive a Redis that lost all.

A credential is ``<payload>.<signature>``, both base64url without padding (RFC 4648, §5); the
payload is MessagePack, the signature HMAC-SHA256 under a key derived from the deployment's secret
(HKDF-Expand's first block, RFC 5869).
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Literal

import msgspec
from msgspec import Struct

from protocol.limits import RESUME_TOKEN_S, TICKET_S
from protocol.scalars import Role

LONGEST = 2048
"""No credential is longer; anything that is cannot be one."""


class CredentialError(Exception):
    """The credential is expired, or none of this deployment's."""


class Grant(Struct, frozen=True, kw_only=True, array_like=True):
    """What a credential says. Times in Unix milliseconds."""

    kind: Literal["ticket", "resume"]
    id: str
    interview_id: str
    user_id: str
    role: Role
    issued: int
    expires: int


class Credentials:
    """Issues and reads the credentials of one deployment."""

    def __init__(
        self,
        secret: str,
        now: Callable[[], int],
        nonce: Callable[[], str] = lambda: secrets.token_urlsafe(12),
    ) -> None:
        self._key = hmac.digest(secret.encode(), b"viva credentials v1\x01", "sha256")
        self._now = now
        self._nonce = nonce

    def ticket(self, interview_id: str, user_id: str, role: Role) -> tuple[str, int]:
        """Return a ticket for one join, and when it expires. Whoever redeems it uses it up."""
        issued = self._now()
        whom = (interview_id, user_id, role)
        grant = self._grant("ticket", *whom, issued=issued, seconds=TICKET_S)
        return self._sign(grant), grant.expires

    def resume_token(self, interview_id: str, user_id: str, role: Role, *, issued: int) -> str:
        """Return a token for reconnects, good for a day."""
        return self._sign(
            self._grant(
                "resume", interview_id, user_id, role, issued=issued, seconds=RESUME_TOKEN_S
            )
        )

    def read(self, text: str) -> Grant:
        """Return what a credential grants.

        Raises:
            CredentialError: it is expired or unknown.
        """
        payload, _, signature = text.partition(".")
        if len(text) > LONGEST or not text.isascii():
            raise CredentialError("unknown")
        if not hmac.compare_digest(signature, self._signature(payload)):
            raise CredentialError("unknown")
        try:
            grant = _grants.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        except (binascii.Error, ValueError):
            raise CredentialError("unknown") from None
        if grant.expires <= self._now():
            raise CredentialError("expired")
        return grant

    def _grant(
        self,
        kind: Literal["ticket", "resume"],
        interview_id: str,
        user_id: str,
        role: Role,
        *,
        issued: int,
        seconds: int,
    ) -> Grant:
        return Grant(
            kind=kind,
            id=self._nonce(),
            interview_id=interview_id,
            user_id=user_id,
            role=role,
            issued=issued,
            expires=issued + seconds * 1000,
        )

    def _sign(self, grant: Grant) -> str:
        payload = _encode(msgspec.msgpack.encode(grant))
        return f"{payload}.{self._signature(payload)}"

    def _signature(self, payload: str) -> str:
        return _encode(hmac.digest(self._key, payload.encode(), hashlib.sha256))


_grants = msgspec.msgpack.Decoder(Grant)


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
