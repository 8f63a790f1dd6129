"""A résumé or a job description as a file: its text goes back, and nothing is kept of it."""

import math
from dataclasses import dataclass
from typing import Any

from litestar import Request, post
from litestar.datastructures import CacheControlHeader
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema

from server.api.deps import Deps
from server.api.described import SECURED, refusals
from server.auth import Caller
from server.documents.faults import Fault, UnreadableError
from server.documents.reading import DocumentText, FullError, MediaType, TooOftenError
from server.guards import DOCUMENT_BYTES, DOCUMENTS
from server.problems import ProblemError

_KINDS: dict[str, MediaType] = {
    "application/pdf": "application/pdf",
    "text/plain": "text/plain",
    "text/markdown": "text/markdown",
}
_BUSY_S = "5"
_FAULTS: dict[Fault, tuple[str, str]] = {
    "damaged": ("document_damaged", "The file is damaged, or of another kind than it says."),
    "encrypted": (
        "document_encrypted",
        "The PDF is protected by a password: save it without one, or paste its text.",
    ),
    "costly": (
        "document_too_complex",
        "The PDF takes too much to be read: save it in a simpler form, or paste its text.",
    ),
    "no_text": ("document_without_text", "There is no text in it: is it a scan? Paste its text."),
}


@dataclass  # else `__post_init__` is not called
class _Upload(Operation):
    """Describes the body, which is a file."""

    def __post_init__(self) -> None:
        """Name the kinds; called by Litestar when all else is described."""
        # Of a binary body the media type says all there is to say (OpenAPI 3.1.0, §4.8.14.3).
        file = OpenAPIMediaType(schema=Schema(content_media_type="application/pdf"))
        text = OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING))
        content = {name: file if name == "application/pdf" else text for name in _KINDS}
        self.request_body = RequestBody(content, "The file, of at most 2 MiB.", required=True)


@post(
    DOCUMENTS,
    status_code=200,
    tags=["interviews"],
    security=SECURED,
    responses=refusals(
        408,
        415,
        429,
        told={
            413: "The file is over 2 MiB.",
            422: "It has no text, or is damaged, protected by a password, or too complex.",
            503: "This instance reads other documents; see `Retry-After`.",
        },
    ),
    operation_class=_Upload,
    cache_control=CacheControlHeader(no_store=True),
    request_max_body_size=DOCUMENT_BYTES,
)
async def read_document(
    deps: Deps, caller: Caller, request: Request[Any, Any, Any]
) -> DocumentText:
    """Read a PDF or a text file: its text, fit for `resume` and `job_description` of a plan.

    Nothing of it is kept. What is over the length that a plan takes is left out.
    """
    kind = _kind(request.headers.get("content-type", ""))
    try:
        async with deps.documents.admitted(caller.user):
            return await deps.documents.text(await request.body(), kind)
    except UnreadableError as error:
        raise ProblemError(422, *_FAULTS[error.fault]) from None
    except TooOftenError as error:
        raise ProblemError(
            429,
            "too_many_documents",
            "You have had many documents read; wait a little, or paste the text.",
            {"Retry-After": str(max(1, math.ceil(error.wait_s)))},
        ) from None
    except FullError:
        raise ProblemError(
            503,
            "busy",
            "Too many documents are being read; try again in a moment.",
            {"Retry-After": _BUSY_S},
        ) from None


def _kind(content_type: str) -> MediaType:
    """Return the media type that is declared.

    Raises:
        ProblemError: 415, it is none of those that are read.
    """
    kind = _KINDS.get(content_type.partition(";")[0].strip().lower())
    if kind is None:
        raise ProblemError(
            415,
            "unsupported_media_type",
            "A document is a PDF (application/pdf) or text (text/plain, text/markdown).",
            {"Accept-Post": ", ".join(_KINDS)},
        )
    return kind
