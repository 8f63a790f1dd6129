"""Who calls the HTTP API: a JWT (RFC 7519) in ``Authorization: Bearer``, HS256 and nothing else."""

import time
from typing import Any, Literal

import jwt
from litestar import Request
from msgspec import Struct

from server.problems import ProblemError

UserRole = Literal["candidate", "reviewer", "admin"]

_jwt: Any = jwt  # its signatures are open-ended
_ALGORITHM = "HS256"
_ROLES: tuple[UserRole, ...] = ("candidate", "reviewer", "admin")
_LEEWAY_S = 10
KNOWN = 4096
"""How many tokens are remembered as valid: a page sends the same one with each request."""
KNOWN_LENGTH = 4096
"""Longer ones are verified each time."""
LONGEST_USER = 128
_FOR_EVER = 1 << 53  # of a token that says no end


class Caller(Struct, frozen=True):
    """The user of a request."""

    user: str
    role: UserRole

    @property
    def reviews(self) -> bool:
        """Whether they may look at everybody's interviews."""
        return self.role != "candidate"


def sign(user: str, role: UserRole, secret: str, seconds: int) -> str:
    """Return a JWT for ``user`` that expires after ``seconds``."""
    now = int(time.time())
    claims = {"sub": user, "role": role, "iat": now, "exp": now + seconds}
    return _jwt.encode(claims, secret, algorithm=_ALGORITHM)


class Authenticator:
    """Reads the caller of a request; a Litestar dependency."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._known: dict[str, tuple[Caller, float]] = {}

    async def __call__(self, request: Request[Any, Any, Any], deps: Any) -> Caller:  # noqa: ARG002
        """Return the caller.

        It asks for the other dependency so that Litestar resolves one after the other: side by side
        each request would start a group of tasks for them.

        Raises:
            ProblemError: 401, with the challenge of RFC 6750, §3.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _unauthenticated("Send a token: Authorization: Bearer <JWT>.", "")
        token = token.strip()
        caller, until = self._known.get(token, (None, 0.0))
        return caller if caller is not None and time.time() < until else self._verified(token)

    def _verified(self, token: str) -> Caller:
        try:
            claims = _jwt.decode(
                token,
                self._secret,
                algorithms=[_ALGORITHM],
                leeway=_LEEWAY_S,
                options={"require": ["sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise _unauthenticated("The token is expired.", "invalid_token") from None
        except jwt.InvalidTokenError:
            raise _unauthenticated("The token is not valid here.", "invalid_token") from None
        caller = _caller(claims)
        if len(token) > KNOWN_LENGTH:
            return caller
        while len(self._known) >= KNOWN:
            del self._known[next(iter(self._known))]  # the oldest
        # Of what depends on the time, only its end can make a token invalid that was valid once.
        self._known[token] = caller, int(claims.get("exp", _FOR_EVER)) + _LEEWAY_S
        return caller


def may_be_user(user: str) -> bool:
    """Whether this can be somebody's id: JSON may hold NUL and lone surrogates, UTF-8 text may not.

    UTF-8 has no code for a surrogate (RFC 3629, §3), and PostgreSQL's ``text`` takes no NUL.
    """
    try:
        user.encode()
    except UnicodeEncodeError:
        return False
    return 0 < len(user) <= LONGEST_USER and "\0" not in user


def _caller(claims: dict[str, Any]) -> Caller:
    user, role = claims["sub"], claims.get("role", "candidate")
    if not isinstance(user, str) or not may_be_user(user):
        raise _unauthenticated("The token names no user.", "invalid_token")
    if role not in _ROLES:
        raise _unauthenticated("The token's role is unknown.", "invalid_token")
    return Caller(user, role)


def _unauthenticated(detail: str, error: str) -> ProblemError:
    challenge = f'Bearer error="{error}"' if error else "Bearer"
    return ProblemError(401, "not_authenticated", detail, {"WWW-Authenticate": challenge})
