"""The function library: its source, named by its own hash, and loading it where it is missing."""

import asyncio
import hashlib
from importlib.resources import files
from typing import Any

from redis import exceptions

from storage.redis import replies

FILES = (
    "session.lua",
    "turns.lua",
    "keeping.lua",
    "outbox.lua",
    "jobs.lua",
    "budgets.lua",
    "cache.lua",
    "gate.lua",
)
"""One library of several files: what the later ones use, the first defines."""

_TEMPLATE = "\n".join((files("storage.redis") / name).read_text(encoding="utf-8") for name in FILES)

HASH = hashlib.sha1(_TEMPLATE.encode(), usedforsecurity=False).hexdigest()[:12]
"""Names the library's version, so that old and new instances live side by side."""

NAME = f"viva_{HASH}"

SOURCE = _TEMPLATE.replace("@HASH@", HASH)


def function(name: str) -> str:
    """Return the versioned name of a function."""
    return f"{name}_{HASH}"


_OTHERS = 8
"""So many other versions' libraries are left alone."""


class Loader:
    """Loads the library where it is missing. One does for all who find it so together.

    A Redis that begins anew meets every caller at once, and the library is long.
    """

    def __init__(self, client: Any, patience_s: float) -> None:
        """``patience_s`` bounds a load, and the wait for that of others."""
        self._client = client  # redis-py's signatures are open-ended
        self._patience_s = patience_s
        self._loading = asyncio.Lock()
        self.loads = 0

    async def load_again(self, loads: int) -> None:
        """Load it, unless that was done since `loads` was ``loads``.

        Raises:
            TimeoutError: others tried for too long.
        """
        async with asyncio.timeout(self._patience_s), self._loading:
            if self.loads == loads:
                await self.load()
                self.loads += 1

    async def load(self) -> None:
        """Load it unless it is there."""
        try:
            await self._client.execute_command("FUNCTION", "LOAD", SOURCE)
        except exceptions.ResponseError as error:
            if "already exists" not in str(error):
                raise

    async def drop_others(self) -> None:
        """Drop those of other versions where there are many.

        An instance that still uses one of them finds it missing, and loads it again.
        """
        listed = await self._client.execute_command("FUNCTION", "LIST", "LIBRARYNAME", "viva_*")
        others = [name for name in map(replies.library_name, listed) if name != NAME]
        if len(others) >= _OTHERS:
            for name in others:
                await self._client.execute_command("FUNCTION", "DELETE", name)
