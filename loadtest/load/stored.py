"""The turns as PostgreSQL holds them: what the servers serve of them may come from Redis."""

import asyncio
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row

READ_S = 10.0
_TURNS = """
SELECT turn, speaker, text, sha256, outcome FROM turns WHERE interview_id = %s ORDER BY turn
"""


class StoredError(Exception):
    """The database could not be read; the message says why."""


class Stored:
    """One connection to the database of the run's own servers, for one interview at a time."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.AsyncConnection[DictRow] | None = None
        self._lock = asyncio.Lock()

    async def turns(self, interview_id: str) -> list[dict[str, Any]]:
        """Return the turns of an interview, in their order.

        Raises:
            StoredError: the database did not answer in time, or refused.
        """
        async with self._lock:
            try:
                async with asyncio.timeout(READ_S):
                    return await self._read(interview_id)
            except (psycopg.Error, OSError, TimeoutError) as error:
                await self.close()
                raise StoredError(f"{type(error).__name__}: {error}") from None

    async def _read(self, interview_id: str) -> list[dict[str, Any]]:
        if self._connection is None:
            self._connection = await psycopg.AsyncConnection[DictRow].connect(
                self._url, autocommit=True, row_factory=dict_row
            )
        cursor = await self._connection.execute(_TURNS, (interview_id,))
        return await cursor.fetchall()

    async def close(self) -> None:
        """Let the connection go."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
