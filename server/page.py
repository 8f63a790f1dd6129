"""The web page's files, read once, with entity tags that are the same on every instance.

Modules import each other by plain names, so a browser has to ask each time whether it holds the
current one: ``no-cache`` and a strong tag make that one short answer a file (RFC 9111, §5.2.2.4).
"""

import hashlib
from pathlib import Path
from typing import Any

from litestar import Request, Response, route
from litestar.exceptions import NotFoundException
from msgspec import Struct

FOLDER = Path(__file__).with_name("web")
_START = "index.html"
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
"""Litestar adds a charset to those that are text."""


class _File(Struct, frozen=True):
    content: bytes
    media_type: str
    tag: str


def page_route() -> Any:
    """Return the route of `/` and of the files that it names."""
    files = {path.name: _read(path) for path in FOLDER.iterdir() if path.suffix in _TYPES}

    @route(
        ["/", "/{name:str}"],
        http_method=["GET", "HEAD"],
        include_in_schema=False,
        sync_to_thread=False,
    )
    def page(request: Request[Any, Any, Any], name: str = _START) -> Response[bytes]:
        """Show the page, or one of its files."""
        file = files.get(name)
        if file is None:
            raise NotFoundException
        headers = {"Cache-Control": "no-cache", "ETag": file.tag}
        if _holds(request.headers.get("if-none-match", ""), file.tag):
            return Response(b"", status_code=304, headers=headers)
        return Response(file.content, media_type=file.media_type, headers=headers)

    return page


def _read(path: Path) -> _File:
    content = path.read_bytes()
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return _File(content, _TYPES[path.suffix], tag)


def _holds(if_none_match: str, tag: str) -> bool:
    """Compare weakly (RFC 9110, §13.1.2): a proxy may have made the tag weak."""
    given = [each.strip().removeprefix("W/") for each in if_none_match.split(",")]
    return tag in given or given == ["*"]
