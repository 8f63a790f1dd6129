"""What stands before every request: `Host`, `Origin`, size, and the security headers.

Pure ASGI, around the whole app, so that nothing can be routed past it.
"""

from http import HTTPStatus
from typing import Any

import msgspec
from litestar.utils import normalize_path

from server.problems import MEDIA_TYPE, ProblemError, general_code, told
from server.reporting.html import style_source

Scope = dict[str, Any]

BODY_BYTES = 256 * 1024
QUERY_BYTES, PARAMETERS = 2_048, 32
"""What is asked in an address is kept parsed, for the next who asks it: it must not be large."""
DOCUMENTS = "/api/documents"
DOCUMENT_BYTES = 2 * 1024 * 1024
"""The body of that one route, which is a file."""

_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (
        b"content-security-policy",
        (
            "default-src 'none'; script-src 'self'; "
            # A report that the page opens in a tab takes the page's policy along with its own.
            f"style-src 'self' {style_source()}; connect-src 'self'; "
            "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ).encode(),
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"microphone=(self), camera=(), geolocation=()"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


def body_bytes(path: str) -> int:
    """Return how large the body of a request to this path may be, however the path is spelt."""
    return DOCUMENT_BYTES if normalize_path(path) == DOCUMENTS else BODY_BYTES


class Guards:
    """Wraps an ASGI app. Empty ``hosts``: any; ``origins``: beside that of the request's own host.

    Origins matter to sockets alone. Plain HTTP needs no look at them: it carries no cookie, and
    without CORS headers a browser lets no page of another origin send the token, or read anything.
    """

    def __init__(self, app: Any, *, hosts: tuple[str, ...], origins: tuple[str, ...]) -> None:
        self._app = app
        named = {host.lower() for host in hosts}
        # Browsers leave the port of HTTP out (RFC 9110, §4.2.1).
        self._hosts = named | {host.removesuffix(":80") for host in named}
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """See ASGI 3.0."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        if not self._known_host(headers):
            await _refuse(send, 421, b"This host is not served here.")
            return
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > body_bytes(scope["path"]):
            await _refuse(send, 413, b"The request is too large.")
            return

        query = scope["query_string"]
        if len(query) > QUERY_BYTES or query.count(b"&") >= PARAMETERS:
            await _refuse(send, 414, b"The query is too long.")
            return

        async def headed(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                own = list(message.get("headers", ()))
                named = {name.lower() for name, _ in own}
                if b"allow" in named:
                    own = [(name, _allowed(name, value)) for name, value in own]
                # A page with a policy of its own keeps it: of two, a browser obeys both.
                message["headers"] = [*own, *(each for each in _HEADERS if each[0] not in named)]
            await send(message)

        await self._app(_plain(scope), receive, headed)

    async def _websocket(self, scope: Scope, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        if self._known_host(headers) and self._known_origin(headers):
            await self._app(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.close"})  # before accept: HTTP 403

    def _known_host(self, headers: dict[bytes, bytes]) -> bool:
        return not self._hosts or _host(headers) in self._hosts

    def _known_origin(self, headers: dict[bytes, bytes]) -> bool:
        """Whether a browser on this page may connect; native clients send no origin."""
        raw = headers.get(b"origin")
        if raw is None:
            return True
        origin = raw.decode("latin-1").lower()
        scheme, _, host = origin.partition("://")
        own = scheme in ("http", "https") and host == _host(headers)
        return bool(host) and (own or origin in self._origins)


def _plain(scope: Scope) -> Scope:
    """Return the request as the app takes it.

    HEAD is GET to it: uvicorn drops the body. An empty query value (``?status=``) is an absent one.
    """
    given = [pair for pair in scope["query_string"].split(b"&") if pair.partition(b"=")[2]]
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    return {**scope, "method": method, "query_string": b"&".join(given)}


def _allowed(name: bytes, value: bytes) -> bytes:
    """Return a header's value; `Allow` names HEAD wherever it names GET, see `_plain`."""
    methods = value.split(b", ")
    if name.lower() == b"allow" and b"GET" in methods and b"HEAD" not in methods:
        return value + b", HEAD"
    return value


def _host(headers: dict[bytes, bytes]) -> str:
    return headers.get(b"host", b"").decode("latin-1").lower()


def plain_problem(status: int, detail: bytes, more: bytes = b"") -> bytes:
    """Return a whole answer for what never becomes a request; the connection closes after it."""
    body = _problem(status, detail)
    phrase = HTTPStatus(status).phrase.encode()
    return (
        b"HTTP/1.1 %d %b\r\ncontent-type: application/problem+json\r\ncontent-length: %d\r\n"
        b"%bconnection: close\r\n\r\n%b"
    ) % (status, phrase, len(body), more, body)


def _problem(status: int, detail: bytes) -> bytes:
    error = ProblemError(status, general_code(status), detail.decode())
    return msgspec.json.encode(told(error))


async def _refuse(send: Any, status: int, detail: bytes) -> None:
    body = _problem(status, detail)
    headers = [(b"content-type", MEDIA_TYPE.encode()), *_HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
