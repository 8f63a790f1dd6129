"""The HTTP API as the terminal needs it; every failure is one sentence."""

from collections.abc import Mapping
from typing import Any

import aiohttp

from server.notice import Notice

TIMEOUT = aiohttp.ClientTimeout(total=15, connect=5)


class TalkError(Exception):
    """The talk cannot begin or go on; the message is for the person at the terminal."""


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
        created = await self._ask("POST", "interviews", json=dict(plan))
        return str(created["id"])

    async def ticket(self, interview_id: str) -> str:
        """Return a ticket for one connection.

        Raises:
            TalkError: with a sentence.
        """
        given = await self._ask("POST", f"interviews/{interview_id}/tickets", json={})
        return str(given["ticket"])

    async def notice(self) -> Notice:
        """Return what is to be agreed to.

        Raises:
            TalkError: with a sentence.
        """
        shown = await self._ask("GET", "notice")
        return Notice(version=str(shown["version"]), points=tuple(map(str, shown["points"])))

    async def erase(self, interview_id: str) -> None:
        """Erase an interview everywhere.

        Raises:
            TalkError: with a sentence.
        """
        await self._ask("DELETE", f"interviews/{interview_id}", accept="*/*")

    async def markdown(self, interview_id: str) -> str:
        """Return the transcript as Markdown.

        Raises:
            TalkError: with a sentence.
        """
        return str(
            await self._ask("GET", f"interviews/{interview_id}/transcript", accept="text/markdown")
        )

    async def _ask(
        self, method: str, path: str, *, accept: str = "application/json", **options: Any
    ) -> Any:
        headers = {**self._headers, "Accept": accept}
        address = f"{self.url}/api/{path}"
        try:
            async with (
                aiohttp.ClientSession(timeout=TIMEOUT, headers=headers) as http,
                http.request(method, address, **options) as reply,
            ):
                if reply.status >= 400:
                    raise TalkError(await _refusal(reply))
                return await (reply.json() if accept == "application/json" else reply.text())
        except aiohttp.InvalidURL:
            raise TalkError(f"{self.url} is no address; it begins with http://") from None
        except (aiohttp.ClientConnectionError, TimeoutError, OSError):
            raise TalkError(
                f"no server answers at {self.url}; start one with `make run` or `viva up`"
            ) from None


async def _refusal(reply: aiohttp.ClientResponse) -> str:
    if reply.status == 401:
        return "the token is missing, wrong or expired; `viva token --user NAME` makes one"
    if reply.status == 404:
        return "there is no such interview, or it is not yours"
    try:
        problem = await reply.json(content_type=None)
        sentence = str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        sentence = "it did not say why"
    return f"the server refused ({reply.status}): {sentence}"
