"""Whether the live log leads on from what PostgreSQL holds.

A failover of Redis, or a crash, may lose the log's tail after it was stored. What was promised to
be stored is the truth then: the live session is dropped and rebuilt from PostgreSQL, its sockets
resynchronise, and the clients send again what `stored` did not cover.

A failover of PostgreSQL may lose what was stored, too. What it still holds is in the live log then:
`stored` goes back to that, and the rest is written again.
"""

import structlog

from protocol.ids import EventId
from storage.live import LiveStore, State

_log = structlog.get_logger()


async def leads_on(store: LiveStore, before: State, held: EventId) -> bool:
    """Tell whether the log holds ``held``, PostgreSQL's head; drop the session where it does not.

    ``before`` is the live state, read before PostgreSQL was asked: a session that moved on
    meanwhile is not dropped. Where the log does hold it, Redis now knows that this is stored, and
    nothing behind it.

    Raises:
        BackendDownError: Redis does not answer.
    """
    interview_id = before.session.interview_id
    if await store.mark_stored(interview_id, held, believed=before.stored):
        return True
    if await store.evict(interview_id, before.version, before.head):
        _log.warning("session lost its tail", interview=interview_id, stored=str(held))
    return False
