"""The files that a plan takes up, read by the server like those of the page."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from server.guards import DOCUMENT_BYTES
from server.talk.api import Api, DocumentText, TalkError
from server.talk.text import inert

_KINDS = {".pdf": "application/pdf", ".md": "text/markdown", ".markdown": "text/markdown"}


async def texts(
    api: Api, files: dict[str, Path | None], write: Callable[[str], object]
) -> dict[str, str]:
    """Return the fields of the plan that come from files, and tell what was read.

    Raises:
        TalkError: one cannot be read; the sentence names it.
    """
    given = {field: place for field, place in files.items() if place is not None}
    contents = {field: await asyncio.to_thread(_content, place) for field, place in given.items()}
    found: dict[str, str] = {}
    for field, place in given.items():
        try:
            read = await api.document(
                contents[field], _KINDS.get(place.suffix.lower(), "text/plain")
            )
        except TalkError as error:
            raise TalkError(f"{place}: {error}") from None
        write(inert(_told(place, read)))
        found[field] = read.text
    if found:
        write("A language model takes them up in its questions; prepared questions do not.\n")
    return found


def _content(place: Path) -> bytes:
    try:
        with place.open("rb") as file:
            content = file.read(DOCUMENT_BYTES + 1)
    except OSError as error:
        raise TalkError(f"{place} cannot be read: {error.strerror}") from None
    if len(content) > DOCUMENT_BYTES:
        raise TalkError(f"{place} is over 2 MiB; give its text alone")
    return content


def _told(place: Path, read: DocumentText) -> str:
    pages = "" if read.pages is None else f"{read.pages} page{'s' * (read.pages != 1)}, "
    end = "; it is long, and its end is left out" if read.clipped else ""
    return f"Read {place.name}: {pages}{len(read.text):,} characters{end}.\n"
