"""Decisions made durable: load the session, apply the state machine, commit, tell who must know."""

from collections.abc import Callable
from typing import Protocol

import structlog
from msgspec import Struct
from msgspec.structs import replace

from protocol.clock import OVERTIME_MS, last_sign
from protocol.commands import AnswerSubmit, DurableCommand, InterviewEnd, TurnCancel
from protocol.effects import Reject, Stop
from protocol.guide import GuideQuestion
from protocol.ids import EventId, parse_event_id
from protocol.machine import Input, Left, Received, Transition, interrupts, transition
from protocol.plan import Plan
from protocol.probing import Lack
from protocol.scalars import Source
from protocol.session import Session
from server.clock import Clock, backoff
from server.hub import Hub
from server.lineage import leads_on, marked
from storage.answers import digest_of, ids_for, rejection
from storage.commits import commit_of, timer_of
from storage.errors import BackendDownError, ErasedError, MissingError, OutOfMemoryError
from storage.live import (
    ANY_ORDINAL,
    Answer,
    Astray,
    Commit,
    Committed,
    Conflict,
    Erased,
    Fenced,
    Full,
    LiveStore,
    Missing,
    Restore,
    State,
    partition_of,
)

ROUNDS = 32
"""How often a decision is made anew because the state moved on meanwhile."""
CUT_ROUNDS = 8
"""How often a cut is decided so that it knows of all words: its runner may always be faster."""
GRACE_MS = 1_800_000
"""How long the candidate may be away before the interview is abandoned."""
PATIENCE_S = 3.0
"""How long a command waits for a backend before its sender is asked to send it again."""

_log = structlog.get_logger()


class AstrayError(Exception):
    """The log does not hold what the caller has seen: it lost its tail."""


class Archive(Protocol):
    """What is asked of PostgreSQL here."""

    async def rebuild(self, interview_id: str) -> Restore | None:
        """Return what PostgreSQL holds; None where it knows no such interview.

        Raises:
            ErasedError: it was erased.
        """
        ...


class Speakers(Protocol):
    """What is asked of the interviewer here; see `ai.interviewer`."""

    def source(self, handle: str | None, attempt: int) -> Source:
        """Return who speaks an attempt that saved ``handle`` last; None: nothing yet."""
        ...


Reading = Callable[[Plan, GuideQuestion | None, str], tuple[Lack, ...]]
"""Tells what an answer lacks; see `ai.lacks`."""


class Verdict(Struct, frozen=True):
    """The answer to a command: the id of its effect's last event, or why there is none."""

    accepted: EventId | None = None
    rejected: Reject | None = None
    duplicate: bool = False


class Followers(Protocol):
    """Who acts on what was committed. None of these may block."""

    def run(self, interview_id: str) -> None:
        """A turn is to be generated."""

    def stop(self, interview_id: str) -> None:
        """The turn that was being generated is over."""

    def store(self, partition: int) -> None:
        """The partition's outbox holds something."""


class Sessions:
    """The instance's way to the sessions: each change of state is an `apply` or a `command`."""

    def __init__(
        self,
        store: LiveStore,
        archive: Archive,
        hub: Hub,
        clock: Clock,
        speakers: Speakers,
        *,
        idle_ms: int,
        grace_ms: int = GRACE_MS,
        read: Reading | None = None,
    ) -> None:
        self._store = store
        self._archive = archive
        self._hub = hub
        self._clock = clock
        self._speakers = speakers
        self._idle_ms = idle_ms
        self._grace_ms = grace_ms
        self._read = read
        self.followers: Followers | None = None

    async def load(
        self,
        interview_id: str,
        *,
        command: str = "",
        turns: bool = False,
        entries: bool = False,
        seen: EventId | None = None,
    ) -> State:
        """Return the session; it is rebuilt from PostgreSQL where Redis does not hold it.

        Raises:
            AstrayError: its log does not hold ``seen``.
            MissingError: there is no such interview.
            ErasedError: it was erased.
            BackendDownError: Redis, or PostgreSQL where it is needed, does not answer.
        """
        for _ in range(ROUNDS):
            found = await self._store.load(
                interview_id, command=command, turns=turns, entries=entries, seen=seen
            )
            match found:
                case State():
                    return found
                case Astray():
                    raise AstrayError
                case Erased():
                    raise ErasedError
                case Missing():
                    await self.rebuild(interview_id)
        raise BackendDownError("the session vanishes as fast as it is rebuilt")

    async def rebuild(self, interview_id: str) -> None:
        """Put an interview that PostgreSQL holds back into Redis; see `load` for the errors."""
        restore = await self._archive.rebuild(interview_id)
        if restore is None:
            raise MissingError
        session = restore.session
        first = session.phase == "lobby"
        if first:  # it goes live for the first time: whoever joins is shown the notice
            session = replace(session, phase="consent")
        else:
            session = replace(self._waiting(restore), rebuilt=True)
        tick = timer_of(session, self._clock.now(), self._idle_ms)
        restore = replace(restore, session=session, tick=tick)
        if isinstance(await self._store.create(restore), Erased):
            raise ErasedError
        if first:
            _log.debug("session begun", interview=interview_id)
        else:
            _log.info("session rebuilt", interview=interview_id, head=str(restore.head))

    def _waiting(self, restore: Restore) -> Session:
        """Return the session as it waits for somebody, if its clock ran when it was stored last.

        Nobody knows what the clock did since. Whoever is there is noticed at once: they may have
        answered all the while, for as long as an interview lasts, and the grace comes after that.
        """
        session, now = restore.session, self._clock.now()
        since = last_sign(session, restore.turns)
        answering = min(max(0, now - since), session.plan.duration_ms + OVERTIME_MS)
        left = Left(since=since, grace_ms=answering + self._grace_ms, at=now)
        return transition(session, left).session

    async def reconcile(self, interview_id: str, seen: EventId) -> bool:
        """Make sure that the live log leads on from what is stored; False: look at it anew.

        For a client that holds ``seen`` where the log does not, unless that was only trimmed away:
        a failover may have lost more, even what was stored. Going on before that is known could
        lose what is answered next; so could an answer that is sent again and refused for good,
        only because its question is not there again yet.

        Raises:
            BackendDownError: Redis or PostgreSQL does not answer.
        """
        if not isinstance(await self._store.load(interview_id, seen=seen), Astray):
            return True
        before = await self.load(interview_id)
        restore = await self._archive.rebuild(interview_id)
        if restore is not None and not await leads_on(self._store, before, restore.head):
            return False
        tick = timer_of(before.session, self._clock.now(), self._idle_ms)
        return await marked(self._store, before, tick)

    async def command(
        self, interview_id: str, command: DurableCommand, seen: EventId | None = None
    ) -> Verdict:
        """Decide a durable command, once, however often and wherever it is sent.

        ``seen`` is the newest event its sender was sent. On a log that lost it the command would
        mean something else: an answer whose first words are gone must not be ended.

        Raises:
            AstrayError: the log does not hold ``seen``; the sender has to resynchronise.
            MissingError, ErasedError: the interview is gone.
        """
        deadline = self._clock.monotonic() + PATIENCE_S
        attempt = 0
        while True:
            try:
                return await self._decide(interview_id, command, seen)
            except (BackendDownError, OutOfMemoryError) as error:
                if self._clock.monotonic() > deadline:
                    _log.warning("command postponed", reason=type(error).__name__)
                    return Verdict(rejected=_UNAVAILABLE)
                await backoff(self._clock, attempt)
                attempt += 1

    async def apply(
        self,
        interview_id: str,
        happened: Input,
        *,
        fence: str = "",
        ordinal: int = ANY_ORDINAL,
        seen: int = 0,
        state: State | None = None,
    ) -> State | Fenced:
        """Apply an input that is no command; return the state that it led to.

        For ``fence``, ``ordinal`` and ``seen`` see `storage.live.Commit`.

        Raises:
            BackendDownError, OutOfMemoryError: it may have taken effect; apply it again.
            MissingError, ErasedError: the interview is gone.
        """
        for _ in range(ROUNDS):
            before = state or await self.load(interview_id)
            done = transition(before.session, happened)
            if done.session is before.session and not done.effects:
                return before
            commit = commit_of(
                before,
                done,
                happened,
                now=self._clock.now(),
                fence=fence,
                ordinal=ordinal,
                seen=seen,
                idle_ms=self._idle_ms,
            )
            match await self._commit(commit):
                case Committed(head=head):
                    return replace(
                        before,
                        session=done.session,
                        version=before.version + 1,
                        head=head,
                        ordinal=0,
                        handle="",
                        entries=(),
                    )
                case Fenced() as fenced:
                    return fenced
                case _:
                    state = None
        raise BackendDownError("the session changes faster than it can be followed")

    async def _decide(
        self, interview_id: str, command: DurableCommand, seen: EventId | None
    ) -> Verdict:
        digest = digest_of(command)
        for number in range(ROUNDS):
            before = await self.load(
                interview_id, command=command.id, entries=isinstance(command, _CUTS), seen=seen
            )
            if before.answer is not None:
                return _repeated(before.answer, digest)
            if isinstance(command, AnswerSubmit) and interrupts(before.session, command):
                before = await self.load(interview_id, command=command.id, entries=True, seen=seen)
            received = Received(
                command=command,
                at=self._clock.now(),
                logged=before.logged,
                source=self._source(before),
                lacks=self._lacks(before.session, command),
            )
            done = transition(before.session, received)
            reject = next((e for e in done.effects if isinstance(e, Reject)), None)
            if reject is not None and reject.retryable:
                return Verdict(rejected=reject)
            commit = replace(
                commit_of(before, done, received, now=received.at, idle_ms=self._idle_ms),
                ordinal=_ends_with(before, done) if number < CUT_ROUNDS else ANY_ORDINAL,
                command=command.id,
                digest=digest,
                answer=rejection(reject) if reject else "",
                max_commands=ids_for(command),
            )
            match await self._commit(commit):
                case Committed(head=head):
                    return Verdict(rejected=reject) if reject else Verdict(accepted=head)
                case Answer() as answer:
                    return _repeated(answer, digest)
                case Full():
                    return Verdict(rejected=_FULL)
                case _:
                    continue
        return Verdict(rejected=_UNAVAILABLE)

    def _lacks(self, session: Session, command: DurableCommand) -> tuple[Lack, ...] | None:
        if not isinstance(command, AnswerSubmit):
            return None
        return self.lacks(session, command.text)

    def lacks(self, session: Session, text: str | None = None) -> tuple[Lack, ...] | None:
        """Return what ``text`` lacks as the open answer, or what was recorded of it so far.

        None where that cannot be told.
        """
        turn = session.open
        if self._read is None or turn is None:
            return None
        question = session.guide.question(turn.question_id or "") if session.guide else None
        return self._read(session.plan, question, text or turn.spoken)

    def _source(self, before: State) -> Source:
        opened = before.session.open
        handle = before.handle if before.ordinal else None
        return self._speakers.source(handle, 1 if opened is None else opened.attempt)

    async def _commit(
        self, commit: Commit
    ) -> Committed | Answer | Conflict | Fenced | Full | Missing:
        result = await self._store.commit(commit)
        if isinstance(result, Erased):
            raise ErasedError
        if isinstance(result, Committed):
            self._hub.add(commit.id, result.entries)
            self._follow(commit)
        return result

    def _follow(self, commit: Commit) -> None:
        if self.followers is None:
            return
        if commit.lease in ("run", "idle") and not commit.fence:
            self.followers.stop(commit.id)
        if commit.lease == "run":
            self.followers.run(commit.id)
        if commit.store:
            self.followers.store(partition_of(commit.id))


_CUTS = TurnCancel | InterviewEnd
"""Commands that may cut the interviewer's open turn, and so need its logged text."""

_UNAVAILABLE = Reject("unavailable", "a backend is down; send the command again", retryable=True)
_FULL = Reject("too_many_commands", "the interview has used up its command ids")
_REUSED = Reject("id_reused", "this id was used for other content; choose a new one")


def _ends_with(before: State, done: Transition) -> int:
    """Return the ordinal that a cut was decided on: what its runner logs meanwhile is kept, too."""
    cuts = any(isinstance(effect, Stop) for effect in done.effects)
    return before.ordinal if cuts else ANY_ORDINAL


def _repeated(answer: Answer, digest: str) -> Verdict:
    if answer.digest != digest:
        return Verdict(rejected=_REUSED)
    if answer.rejected is not None:
        return Verdict(rejected=answer.rejected, duplicate=True)
    return Verdict(accepted=parse_event_id(answer.accepted), duplicate=True)
