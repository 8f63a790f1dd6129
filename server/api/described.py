"""How the HTTP API's refusals and its authentication stand in the OpenAPI document."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from litestar import Request, Response, Router
from litestar.exceptions import NotFoundException
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, OpenAPIType, Operation, Schema

from protocol.schema import portable
from server.problems import MEDIA_TYPE, Problem

BEARER = "bearer"
SECURED = [{BEARER: list[str]()}]

_MEANINGS = {
    400: "Something of the request is wrong; `detail` names it.",
    401: "No token, or none that is valid here.",
    403: "Not for this role.",
    404: "Absent, erased, or somebody else's.",
    409: "The interview is not over, or has no report.",
    406: "It comes in no form that `Accept` takes.",
    408: "The request took too long to arrive.",
    413: "The body is over 256 KiB.",
    415: "It is of another kind.",
    422: "The Idempotency-Key came with another request.",
    429: "Too many of them for now; see `Retry-After`.",
    503: "A backend does not answer; see `Retry-After`.",
}
Refusal = Literal[400, 401, 403, 404, 406, 408, 409, 413, 415, 422, 429, 503]


def refusals(
    *statuses: Refusal, told: Mapping[Refusal, str] | None = None
) -> dict[int, ResponseSpec]:
    """Return the problems that a handler may answer with, beside those that all of them share.

    ``told`` are those that mean something else there than elsewhere.
    """
    own: Mapping[Refusal, str] = told or {}
    meanings: dict[int, str] = {**_MEANINGS, **own}
    refused: set[int] = {400, 401, 503, *statuses, *own}
    return {
        status: ResponseSpec(
            Problem,
            generate_examples=False,
            description=meanings[status],
            media_type=MEDIA_TYPE,
        )
        for status in sorted(refused)
    }


def in_forms(forms: Iterable[str]) -> type[Operation]:
    """Return what describes that an answer comes as text in ``forms`` beside JSON."""

    @dataclass  # else `__post_init__` is not called
    class InForms(Operation):
        def __post_init__(self) -> None:  # by Litestar, when all else is described
            told = (self.responses or {})["200"]
            assert isinstance(told, OpenAPIResponse)  # noqa: S101
            text = OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING))
            told.content = dict.fromkeys(forms, text) | (told.content or {})

    return InForms


def document_router(path: str) -> Router:
    """Return the router of the document; what is not there it tells as all others do."""
    return Router(path, route_handlers=[], include_in_schema=False, after_request=_no_page)


def _no_page(response: Response[Any]) -> Response[Any]:
    if response.status_code == NotFoundException.status_code:  # Litestar's own page of HTML
        raise NotFoundException
    return response


class Document(JsonRenderPlugin):
    """The document, with patterns that other languages than Python read alike."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """See `JsonRenderPlugin`."""
        plugin: Any = super()  # its request is generic and left open
        return plugin.render(request, portable(openapi_schema))
