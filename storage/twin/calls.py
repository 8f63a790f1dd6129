"""How a call of the store in memory reaches its server."""

from collections.abc import Callable
from typing import TypeVar

from storage import live
from storage.twin.records import Interview, Partition
from storage.twin.server import TwinServer

_T = TypeVar("_T")


class Calls:
    """One instance's way to a `TwinServer`. ``name`` tells a `Wire` whose calls these are."""

    def __init__(
        self, server: TwinServer, name: str = "", *, max_log: int = live.LOG_LENGTH
    ) -> None:
        self._server = server
        self._name = name
        self._max_log = max_log

    def _held(self, interview_id: str) -> Interview | live.Gone:
        held = self._server.interviews.get(interview_id)
        if held is not None:
            return held
        return live.Erased() if self._server.erased(interview_id) else live.Missing()

    def _free(self, interview_id: str) -> None:
        self._server.interviews.pop(interview_id, None)
        partition = self._server.partition(interview_id)
        partition.timers.pop(interview_id, None)
        partition.leases.pop(interview_id, None)
        partition.presence.pop(interview_id, None)

    async def _call(self, operation: str, effect: Callable[[], _T], *, adds: bool = False) -> _T:
        return await self._server.call(self._name, operation, effect, adds=adds)

    async def _write(
        self, operation: str, interview_id: str, effect: Callable[[], _T], *, adds: bool = False
    ) -> _T:
        return await self._call(
            operation, lambda: self._server.write(interview_id, effect), adds=adds
        )

    async def _change(
        self,
        operation: str,
        partition: int,
        effect: Callable[[Partition], _T],
        *,
        adds: bool = False,
    ) -> _T:
        return await self._call(
            operation, lambda: self._server.write_partition(partition, effect), adds=adds
        )
