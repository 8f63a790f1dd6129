"""From ``hello`` to ``welcome``: who comes, which interview, and where in its log."""

import hashlib

from msgspec import Struct

from protocol.closes import Close
from protocol.commands import Hello
from protocol.events import Welcome
from protocol.ids import EventId
from protocol.limits import HEARTBEAT_MS, LIMITS, TICKET_S
from protocol.machine import Arrived
from protocol.resume import fit, last_event_id
from protocol.scalars import Role
from protocol.session import Session, snapshot
from server.clock import Clock, backoff
from server.credentials import CredentialError, Credentials, Grant
from server.sessions import PATIENCE_S, ROUNDS, Sessions
from storage.errors import BackendDownError, ErasedError, MissingError, OutOfMemoryError
from storage.live import Erased, Join, Joined, LiveStore, Missing, Overtaken, Stale, State


class RefusedError(Exception):
    """The socket is closed with ``code`` instead of a welcome."""

    def __init__(self, code: Close) -> None:
        super().__init__(code.name)
        self.code = code


class Seat(Struct, frozen=True):
    """Who a socket is to its interview: the ``number``-th socket, which took ``slot``."""

    role: Role
    slot: str
    number: int


class Admission(Struct, frozen=True, kw_only=True):
    """A socket that was let in: as whom, where its reading starts, and what it is told first."""

    seat: Seat
    position: EventId
    stored: EventId
    session: Session
    welcome: Welcome


class Door:
    """Lets sockets in. It asks Redis, and PostgreSQL only for sessions that Redis does not hold."""

    def __init__(
        self, store: LiveStore, sessions: Sessions, credentials: Credentials, clock: Clock
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._credentials = credentials
        self._clock = clock

    def identify(self, interview_id: str, hello: Hello) -> Grant:
        """Read the credential.

        Raises:
            RefusedError: 4401 for one expired or unknown, 4503 for one of another interview.
        """
        try:
            grant = self._credentials.read(hello.credential)
        except CredentialError:
            raise RefusedError(Close.CREDENTIAL) from None
        if grant.interview_id != interview_id:
            raise RefusedError(Close.FORBIDDEN)
        return grant

    async def admit(self, grant: Grant, hello: Hello, *, since: float) -> Admission:
        """Register the socket and find its place in the log. ``hello`` came at ``since``.

        Raises:
            RefusedError: with the close code.
        """
        deadline = self._clock.monotonic() + PATIENCE_S
        nonce, attempt = self._clock.nonce(), 0
        while True:
            try:
                return await self._admit(grant, hello, nonce, since)
            except (MissingError, ErasedError):
                raise RefusedError(Close.FORBIDDEN) from None
            except (BackendDownError, OutOfMemoryError):
                if self._clock.monotonic() > deadline:
                    raise RefusedError(Close.BACKEND_DOWN) from None
                await backoff(self._clock, attempt)
                attempt += 1

    async def _admit(self, grant: Grant, hello: Hello, nonce: str, since: float) -> Admission:
        if grant.kind == "ticket":
            redeemed = await self._store.redeem(grant.interview_id, grant.id, nonce, 2 * TICKET_S)
            if not redeemed:
                raise RefusedError(Close.CREDENTIAL)
        now = self._clock.now()
        slot = _slot(grant, hello.client)
        join = Join(
            id=grant.interview_id,
            slot=slot,
            last_event_id=last_event_id(hello.last_event_id),
            issued=grant.issued if grant.kind == "resume" else None,
            now=now,
            nonce=nonce,
            age_ms=int((self._clock.monotonic() - since) * 1000),
        )
        joined = await self._join(join)
        state = joined.state
        if grant.role != "observer" and state.session.user_id != grant.user_id:
            raise RefusedError(Close.FORBIDDEN)
        if grant.role != "observer" and state.session.status == "disconnected":
            await self._sessions.apply(grant.interview_id, Arrived(at=now))
            joined = await self._join(join)  # so that the welcome tells of a clock that runs
            state = joined.state
        last = last_event_id(hello.last_event_id)
        position = last if joined.recovered and last is not None else state.head
        return Admission(
            seat=Seat(grant.role, slot, joined.number),
            position=position,
            stored=state.stored,
            session=state.session,
            welcome=self._welcome(grant, state, now, recovered=joined.recovered),
        )

    async def _join(self, join: Join) -> Joined:
        for _ in range(ROUNDS):
            match await self._store.join(join):
                case Joined() as joined:
                    seen = join.last_event_id
                    if joined.recovered or seen is None:
                        return joined
                    if await self._sessions.reconcile(join.id, seen):
                        return joined
                case Stale():
                    raise RefusedError(Close.CREDENTIAL)
                case Overtaken():  # its client has left it, or comes back and is the newer one
                    raise RefusedError(Close.BACKEND_DOWN)
                case Missing():
                    await self._sessions.rebuild(join.id)
                case Erased():
                    raise RefusedError(Close.FORBIDDEN)
        raise BackendDownError("the session vanishes as fast as it is rebuilt")

    def _welcome(self, grant: Grant, state: State, now: int, *, recovered: bool) -> Welcome:
        whole = None
        if not recovered:
            url = f"/api/interviews/{grant.interview_id}/transcript"
            whole = fit(snapshot(state.session, state.turns, state.logged, now), url)
        return Welcome(
            interview_id=grant.interview_id,
            role=grant.role,
            recovered=recovered,
            head=str(state.head),
            resume_token=self._credentials.resume_token(
                grant.interview_id, grant.user_id, grant.role, issued=now
            ),
            heartbeat_ms=HEARTBEAT_MS,
            limits=LIMITS,
            snapshot=whole,
            clock=state.session.clock(now) if recovered else None,
        )


def _slot(grant: Grant, client: str | None) -> str:
    """Return what at most one socket may hold: a role, or an observer's ``client``."""
    if grant.role != "observer":
        return grant.role
    if not client:
        return ""
    name = hashlib.sha256(f"{grant.user_id}\0{client}".encode()).hexdigest()[:16]
    return f"observer:{name}"
