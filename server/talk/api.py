"""The HTTP API as the terminal needs it; every failure is one sentence."""

from collections.abc import Mapping
from typing import Any, TypeVar

import aiohttp
import msgspec
from msgspec import Struct

from server.cli import typed
from server.notice import Notice

TIMEOUT = aiohttp.ClientTimeout(total=15, connect=5)
DOCUMENT_TIMEOUT = aiohttp.ClientTimeout(total=75, connect=5)
"""It is sent, waits for its turn, and is read."""

PROBLEM = "application/problem+json"
PENDING = 202
NOT_HERE = (404, 405, 501)
"""What other servers than viva say to a request for its API."""

T = TypeVar("T")


class TalkError(Exception):
    """The talk cannot begin or go on; the message is for the person at the terminal."""


class RefusedError(TalkError):
    """The server answered with a problem; ``code`` is for programs."""

    def __init__(self, sentence: str, code: str) -> None:
        super().__init__(sentence)
        self.code = code


class DocumentText(Struct, frozen=True):
    """What a file says; ``clipped``: without its end, which a plan does not take."""

    text: str
    pages: int | None
    clipped: bool


class _Created(Struct, frozen=True):
    id: str


class _Given(Struct, frozen=True):
    ticket: str


class _Pending(Struct, frozen=True):
    reason: str = ""
    detail: str = ""


class Api:
    """One server, as one user."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}

    async def create(self, plan: Mapping[str, Any]) -> str:
        """Create an interview; return its id.

        Raises:
            TalkError: with a sentence.
        """
        return (await self._told(_Created, "POST", "interviews", json=dict(plan))).id

    async def document(self, content: bytes, kind: str) -> DocumentText:
        """Return the text of a file, fit for a plan.

        Raises:
            TalkError: with a sentence.
        """
        headers, patience = {"Content-Type": kind}, DOCUMENT_TIMEOUT
        return await self._told(
            DocumentText, "POST", "documents", data=content, headers=headers, timeout=patience
        )

    async def ticket(self, interview_id: str) -> str:
        """Return a ticket for one connection.

        Raises:
            TalkError: with a sentence.
        """
        path = f"interviews/{interview_id}/tickets"
        return (await self._told(_Given, "POST", path, json={})).ticket

    async def notice(self) -> Notice:
        """Return what is to be agreed to.

        Raises:
            TalkError: with a sentence.
        """
        return await self._told(Notice, "GET", "notice")

    async def erase(self, interview_id: str) -> None:
        """Erase an interview everywhere.

        Raises:
            TalkError: with a sentence.
        """
        await self._ask("DELETE", f"interviews/{interview_id}")

    async def markdown(self, interview_id: str) -> str:
        """Return the transcript as Markdown.

        Raises:
            TalkError: with a sentence.
        """
        path = f"interviews/{interview_id}/transcript"
        text = await self._ask("GET", path, headers={"Accept": "text/markdown"})
        return text.decode(errors="replace")

    async def report(self, interview_id: str) -> str | None:
        """Return the report as Markdown; None while it is being written.

        Raises:
            TalkError: with a sentence.
        """
        path = f"interviews/{interview_id}/report"
        status, text = await self._reply("GET", path, headers={"Accept": "text/markdown"})
        if status != PENDING:
            return text.decode(errors="replace")
        pending = self._decoded(_Pending, text)
        if pending.reason == "day_budget":  # nobody at a terminal waits for midnight
            raise RefusedError(pending.detail, pending.reason)
        return None

    async def _told(self, kind: type[T], method: str, path: str, **options: Any) -> T:
        return self._decoded(kind, await self._ask(method, path, **options))

    def _decoded(self, kind: type[T], text: bytes) -> T:
        try:
            return msgspec.json.decode(text, type=kind)
        except msgspec.MsgspecError:
            raise self._stranger() from None

    async def _ask(self, method: str, path: str, **options: Any) -> bytes:
        return (await self._reply(method, path, **options))[1]

    async def _reply(self, method: str, path: str, **options: Any) -> tuple[int, bytes]:
        try:
            async with (
                aiohttp.ClientSession(timeout=TIMEOUT, headers=self._headers) as http,
                http.request(method, f"{self.url}/api/{path}", **options) as reply,
            ):
                if reply.status in NOT_HERE and reply.content_type != PROBLEM:
                    raise self._stranger()
                if reply.status >= 400:
                    raise await _refusal(reply)
                return reply.status, await reply.read()
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
            raise TalkError(
                f"{self.url} is no address; one begins with http:// or https://"
            ) from None
        except (aiohttp.ClientConnectionError, TimeoutError, OSError):
            raise TalkError(
                f"no server answers at {self.url}; start one with `make run` or `{typed('up')}`"
            ) from None
        except aiohttp.ClientError:  # it does not speak HTTP
            raise self._stranger() from None

    def _stranger(self) -> TalkError:
        return TalkError(f"what answers at {self.url} is not viva; --url tells where it is")


async def _refusal(reply: aiohttp.ClientResponse) -> RefusedError:
    try:
        problem: Any = await reply.json(content_type=None)
        code, sentence = str(problem["code"]), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        code, sentence = "", "it did not say why"
    if reply.status == 401:
        command = typed("token", "--user", "NAME")
        sentence = f"the token is missing, wrong or expired; `{command}` makes one"
    elif reply.status == 404:
        sentence = "there is no such interview, or it is not yours"
    else:
        sentence = f"the server refused ({reply.status}): {sentence}"
    return RefusedError(sentence, code)
