"""Whether the live log leads on from what PostgreSQL holds.

A failover of Redis, or a crash, may lose the log's tail after it was stored. What was promised to
be stored is the truth then: the live session is dropped and rebuilt from PostgreSQL, its sockets
resynchronise, and the clients send again what `stored` did not cover.
"""

import structlog

from protocol.ids import EventId
from storage.live import LiveStore

_log = structlog.get_logger()


async def leads_on(store: LiveStore, interview_id: str, version: int, held: EventId) -> bool:
    """Tell whether the log holds ``held``, PostgreSQL's head; drop the session where it does not.

    ``version`` is the live state's, read before PostgreSQL was asked: a session that moved on
    meanwhile is not dropped. Where the log does hold it, Redis now knows that it is stored.

    Raises:
        BackendDownError: Redis does not answer.
    """
    if await store.mark_stored(interview_id, held, ()):
        return True
    if await store.evict(interview_id, version):
        _log.warning("session lost its tail", interview=interview_id, stored=str(held))
    return False
