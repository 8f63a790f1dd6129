"""Whether the live log leads on from what PostgreSQL holds.

A failover of Redis, or a crash, may lose the log's tail after it was stored. What was promised to
be stored is the truth then: the live session is dropped and rebuilt from PostgreSQL, its sockets
resynchronise, and the clients send again what `stored` did not cover.

A failover of PostgreSQL may lose what was stored, too. What it still holds is in the live log then:
`stored` goes back to that, and the rest is written again.

Short of that, the log may have lost events that only clients know of. The session is marked then,
so that what they send again may come before what it answers is there again. Or only steps without
events are lost: PostgreSQL holds a later version at the same head, or another state of the same
version, and the session is raised beyond it.
"""

import structlog
from msgspec.structs import replace

from protocol.ids import EventId
from protocol.session import Session
from storage.commits import presence_of
from storage.given import changing_text
from storage.live import Commit, Committed, LiveStore, State

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


async def marked(store: LiveStore, before: State, tick: int) -> bool:
    """Mark the session as one that lost events; False where it moved on: read it again.

    ``tick`` is when the sweeper looks at it next, in Unix ms.

    Raises:
        BackendDownError: Redis does not answer.
    """
    session = before.session
    if session.rebuilt or session.over:
        return True
    return await _step(store, before, replace(session, rebuilt=True), tick)


async def raised(store: LiveStore, before: State, tick: int) -> None:
    """Raise the session's version by a step that changes nothing, unless it moved on.

    PostgreSQL holds another state at the head of ``before``. That was a live one once: where
    ``before`` is live still, Redis lost it. ``tick`` is as for `marked`.

    Raises:
        BackendDownError: Redis does not answer.
    """
    await _step(store, before, before.session, tick)


async def _step(store: LiveStore, before: State, session: Session, tick: int) -> bool:
    commit = Commit(
        id=session.interview_id,
        version=before.version,
        head=str(before.head),
        kind="finish",  # adds nothing, so that a full Redis is no reason to turn a client away
        session=changing_text(session),
        tick=tick,
        presence=presence_of(session),
    )
    return isinstance(await store.commit(commit), Committed)
