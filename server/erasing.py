"""Erases what the provider stores of a turn, once nobody goes on with it.

Who ended a turn knows that. Who lost one asks the log, which names the response if another instance
can know of it. Its own lease is given up before: else its first words could be logged behind that.
"""

import asyncio
from typing import Protocol

import structlog

from server.clock import Clock
from server.leases import Lease
from server.patience import patiently
from storage.live import LiveStore, State

PATIENCE_S = 60.0
"""How long the log is asked while Redis does not answer."""

_log = structlog.get_logger()


class Keeper(Protocol):
    """Who knows what the provider stores; see `ai.interviewer`."""

    def stores(self, handle: str) -> bool:
        """Whether the provider stores something under ``handle``."""
        ...

    def needs(self, logged: str, handle: str) -> bool:
        """Whether who goes on from ``logged`` needs what is stored under ``handle``."""
        ...

    async def forget(self, handle: str) -> bool:
        """Erase it: nobody goes on with it."""
        ...


class Eraser:
    """One instance's."""

    def __init__(self, store: LiveStore, keeper: Keeper, clock: Clock) -> None:
        self._store = store
        self._keeper = keeper
        self._clock = clock

    def stores(self, lease: Lease) -> bool:
        """Whether there may be something to erase."""
        return self._keeper.stores(lease.handle)

    async def erase(self, lease: Lease, *, over: bool) -> None:
        """Erase what is stored of the turn, which is ``over``, or else if nobody needs it.

        Takes little more than a minute at most, and raises nothing.
        """
        try:
            if over or await patiently(self._clock, lambda: self._unneeded(lease), PATIENCE_S):
                await self._keeper.forget(lease.handle)
        except asyncio.CancelledError:
            _log.warning("stored response not erased", reason="the instance ends")
            raise
        except Exception as error:  # noqa: BLE001  # an errand for one turn may not end the others
            _log.warning("stored response not erased", reason=type(error).__name__)

    async def _unneeded(self, lease: Lease) -> bool:
        await self._store.release(lease.interview_id, lease.fence)
        state = await self._store.load(lease.interview_id)
        # With the attempt or the turn what it logged is over, and the handle empty.
        return not (isinstance(state, State) and self._keeper.needs(state.handle, lease.handle))
