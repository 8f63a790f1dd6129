"""The provider's Batch API: files go in, files come out, up to a day later.

Its files hold answers. They are deleted when a batch is over, and expire by themselves where
nobody came to do that.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Literal, Protocol

import structlog
from msgspec import Struct
from openai import APIStatusError, AsyncOpenAI, NotFoundError
from openai.types import Batch

from ai.assessor.lines import ENDPOINTS
from ai.assessor.source import WholeApi
from ai.failures import BROKEN, Remedy, translate
from ai.provider import open_client
from ai.settings import AiSettings

NAME = "viva_batch"
"""The metadata that holds our own name of a batch."""
CALL_S = 60.0
FILE_BYTES = 64 * 1024 * 1024
"""A longer file of answers is not read."""
KEEP_S = 3 * 86_400
PAGE, PAGES = 100, 20
"""So many of the newest batches and files are searched for ours."""
MARGIN_S = 600
"""How far the provider's clock may be off."""
_OVER = frozenset(("completed", "failed", "expired", "cancelled"))
_ABSENT = frozenset((404, 405, 501))

_log = structlog.get_logger()


class State(Struct, frozen=True, kw_only=True):
    """Where a batch stands; the files are there when it is ``over``."""

    status: str
    over: bool
    source: str
    output: str | None = None
    errors: str | None = None


class DepotError(Exception):
    """A call did not succeed. ``absent``: the provider has no Batch API. ``passing``: it may yet.

    ``code`` is short and fit for logs.
    """

    def __init__(self, code: str, *, absent: bool = False, passing: bool = True) -> None:
        super().__init__(code)
        self.code = code
        self.absent = absent
        self.passing = passing


class Depot(Protocol):
    """Takes batches. Every method may raise `DepotError`, and may then have taken effect."""

    async def find(self, name: str, since: int) -> str | None:
        """Return the provider's id of the batch that we call ``name``, made since (Unix s)."""
        ...

    async def discard(self, name: str) -> None:
        """Delete what was uploaded for ``name`` by somebody who got no further; fails never."""
        ...

    async def send(self, name: str, api: WholeApi, data: bytes) -> str:
        """Upload lines and begin their batch; return its id."""
        ...

    async def look(self, batch_id: str) -> State | None:
        """Return where a batch stands; None where there is no such batch."""
        ...

    async def fetch(self, file_id: str) -> bytes:
        """Return a file; empty where there is none any more."""
        ...

    async def cancel(self, batch_id: str) -> None:
        """Stop a batch that is ours and not wanted."""
        ...

    async def clear(self, state: State) -> None:
        """Delete a batch's files, as far as possible; fails never."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...


class OpenAIDepot:
    """See `Depot`. Connects with the first call."""

    def __init__(self, settings: AiSettings, client: AsyncOpenAI | None = None) -> None:
        self._client = client or open_client(settings)

    async def find(self, name: str, since: int) -> str | None:
        """See `Depot.find`."""
        async with _asking():
            async for batch in self._batches(since - MARGIN_S):
                if (batch.metadata or {}).get(NAME) == name:
                    return batch.id
        return None

    async def discard(self, name: str) -> None:
        """See `Depot.discard`."""
        left: list[str] = []
        try:
            async with _asking():
                page = await self._client.files.list(purpose="batch", order="desc", limit=PAGE)
                left = [file.id for file in page.data if file.filename == _file_name(name)]
        except DepotError as error:
            _log.warning("files of a batch not looked for", code=error.code)
        for file_id in left:
            await self._delete(file_id)

    async def send(self, name: str, api: WholeApi, data: bytes) -> str:
        """See `Depot.send`."""
        async with _asking(new=True):
            file = await self._client.files.create(
                file=(_file_name(name), data),
                purpose="batch",
                expires_after={"anchor": "created_at", "seconds": KEEP_S},
            )
        try:
            async with _asking(new=True):
                batch = await self._client.batches.create(
                    input_file_id=file.id,
                    endpoint=ENDPOINTS[api],
                    completion_window="24h",
                    metadata={NAME: name},
                    output_expires_after={"anchor": "created_at", "seconds": KEEP_S},
                )
        except DepotError as error:
            if not error.passing:
                await self._delete(file.id)  # no batch can have begun with it
            raise
        return batch.id

    async def look(self, batch_id: str) -> State | None:
        """See `Depot.look`."""
        try:
            async with _asking():
                batch = await self._client.batches.retrieve(batch_id)
        except DepotError as error:
            if error.code == _GONE:
                return None
            raise
        return State(
            status=batch.status,
            over=batch.status in _OVER,
            source=batch.input_file_id,
            output=batch.output_file_id,
            errors=batch.error_file_id,
        )

    async def fetch(self, file_id: str) -> bytes:
        """See `Depot.fetch`."""
        data = bytearray()
        try:
            async with (
                _asking(),
                self._client.files.with_streaming_response.content(file_id) as response,
            ):
                async for piece in response.iter_bytes():
                    data += piece
                    if len(data) > FILE_BYTES:
                        break
        except DepotError as error:
            if error.code == _GONE:
                return b""
            raise
        if len(data) > FILE_BYTES:
            raise DepotError("oversized", passing=False)
        return bytes(data)

    async def cancel(self, batch_id: str) -> None:
        """See `Depot.cancel`."""
        async with _asking():
            await self._client.batches.cancel(batch_id)

    async def clear(self, state: State) -> None:
        """See `Depot.clear`."""
        for file_id in (state.source, state.output, state.errors):
            if file_id:
                await self._delete(file_id)

    async def aclose(self) -> None:
        """See `Depot.aclose`."""
        await self._client.close()

    async def _delete(self, file_id: str) -> None:
        try:
            async with _asking():
                await self._client.files.delete(file_id)
        except DepotError as error:
            if error.code != _GONE:
                _log.warning("file of a batch not deleted", code=error.code)

    async def _batches(self, since: int) -> AsyncIterator[Batch]:
        """Give the newest batches, as far back as ``since``."""
        page = await self._client.batches.list(limit=PAGE)
        for _ in range(PAGES):
            for batch in page.data:
                if batch.created_at < since:
                    return
                yield batch
            if not page.has_next_page():
                return
            page = await page.get_next_page()


def _file_name(name: str) -> str:
    return f"viva-{name}.jsonl"


_GONE = "gone"
_Kind = Literal["gone", "absent", "refused", "passing"]


def _kind(error: Exception, *, new: bool) -> _Kind:
    if not isinstance(error, APIStatusError):
        return "passing"
    if new and error.status_code in _ABSENT:
        return "absent"
    if isinstance(error, NotFoundError):
        return "gone"
    return "passing"


@contextlib.asynccontextmanager
async def _asking(*, new: bool = False) -> AsyncGenerator[None]:
    """Bound and translate one call; ``new``: what it names is made by it, so cannot be missing."""
    try:
        async with asyncio.timeout(CALL_S):
            yield
    except TimeoutError:
        raise DepotError("call_timeout") from None
    except (*BROKEN, ValueError) as error:  # bodies that are no JSON, too
        if isinstance(error, ValueError):
            raise DepotError("malformed") from None
        match _kind(error, new=new):
            case "absent":
                raise DepotError("no_batch_api", absent=True, passing=False) from None
            case "gone":
                raise DepotError(_GONE, passing=False) from None
            case _:
                failure = translate(error, 0, stored=False)
                passing = failure.remedy is not Remedy.BANK
                raise DepotError(failure.code, passing=passing) from None
