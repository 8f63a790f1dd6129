"""Errors of the HTTP API as problem details (RFC 9457), never with an exception's text."""

from collections.abc import Mapping
from typing import Any, cast

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from msgspec import Struct

from storage.errors import BackendDownError, ErasedError, MissingError, OutOfMemoryError

_log = structlog.get_logger()

_TITLES = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    408: "Request timeout",
    409: "Conflict",
    413: "Request too large",
    414: "Query too long",
    415: "Unsupported media type",
    421: "Misdirected request",
    422: "Unprocessable",
    426: "Upgrade required",
    429: "Too many requests",
    431: "Header too large",
    500: "Internal error",
    502: "Bad gateway",
    503: "Unavailable",
    504: "Gateway timeout",
}
"""502 and 504 are said by the balancers of deploy/ alone."""
RETRY_AFTER_S = 2


MEDIA_TYPE = "application/problem+json"


class Problem(Struct, frozen=True, kw_only=True):
    """Problem details (RFC 9457): `code` for programs, `detail` for people."""

    type: str
    title: str
    status: int
    code: str
    detail: str


class ProblemError(Exception):
    """An error with a sentence that was written for the client."""

    def __init__(
        self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})


def absent() -> ProblemError:
    """Return the one answer for an interview that is absent, or somebody else's."""
    return ProblemError(404, "no_such_interview", "There is no such interview.")


def told(error: ProblemError) -> Problem:
    """Return the body that tells of it."""
    return Problem(
        type=f"urn:viva:problem:{error.code}",
        title=_title(error.status),
        status=error.status,
        code=error.code,
        detail=error.detail,
    )


def general_code(status: int) -> str:
    """Return the code of what has none more exact than its status."""
    return _title(status).lower().replace(" ", "_")


def _title(status: int) -> str:
    return _TITLES.get(status, "Error")


def problem(error: ProblemError) -> Response[Problem]:
    """Return the response."""
    return Response(
        told(error),
        status_code=error.status,
        media_type=MEDIA_TYPE,
        headers=error.headers | {"Cache-Control": "no-store"},
    )


def _own(_: Request[Any, Any, Any], error: ProblemError) -> Response[Any]:
    return problem(error)


def _invalid(_: Request[Any, Any, Any], error: ValidationException) -> Response[Any]:
    extra = cast("list[dict[str, str]]", error.extra if isinstance(error.extra, list) else [])
    if any(_NO_BODY.items() <= item.items() for item in extra):
        detail = "The request needs a body of JSON."
    else:
        detail = "; ".join(_fault(item) for item in extra) or "The request does not fit its schema."
    return problem(ProblemError(400, "invalid_request", detail))


_NO_BODY = {"key": "data", "message": "'data'"}
"""What Litestar makes of the `KeyError` where a handler's ``data`` is not there."""


def _fault(item: dict[str, str]) -> str:
    """Name the field. msgspec's messages hold no values but those that are none of an enum's."""
    message = item.get("message", "invalid")
    if message.startswith("Invalid enum value"):
        message = "Invalid enum value"
    return f"{item.get('key', 'body')}: {message}"


def _http(_: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    allow = (error.headers or {}).get("allow")
    headers = {"Allow": allow} if allow else {}
    status = error.status_code
    return problem(ProblemError(status, general_code(status), f"{_title(status)}.", headers))


def _gone(_: Request[Any, Any, Any], _error: Exception) -> Response[Any]:
    return problem(absent())


def _down(_: Request[Any, Any, Any], _error: Exception) -> Response[Any]:
    return problem(
        ProblemError(
            503,
            "backend_down",
            "A backend does not answer; try again in a moment.",
            {"Retry-After": str(RETRY_AFTER_S)},
        )
    )


def _unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    _log.error(
        "request failed", method=request.method, route=request.route_handler.name, exc_info=error
    )
    return problem(ProblemError(500, "internal_error", "Something went wrong on our side."))


HANDLERS: dict[Any, Any] = {
    ProblemError: _own,
    ValidationException: _invalid,
    HTTPException: _http,
    MissingError: _gone,
    ErasedError: _gone,
    BackendDownError: _down,
    OutOfMemoryError: _down,
    Exception: _unexpected,
}
