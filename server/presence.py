"""Who is there: the interview's clock stands while nobody is who could answer.

The candidate's sockets, and those of the voice-to-text front end, are told to Redis, by each
instance for its own: who came or left with the next pulse, a few seconds later, and who stays with
every second one, as a look at all of thousands is dear. What nobody told for `LAPSE_S` has lapsed,
and whichever instance finds it first applies `Left`: as of the last sign of life that anybody
heard. So nothing hangs on the news that a socket was closed, which an instance that was killed
never gives. Somebody present where an interview waits is found in the same round trip, and
`Arrived` applied.

An absence is committed only if the interview was not seen since it was found missing.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import structlog

from protocol.machine import Arrived, Left
from server.clock import Clock, due_part
from server.sessions import Sessions
from storage.errors import ErasedError, MissingError, StorageError
from storage.live import PARTITIONS, Attendance, Attendant, LiveStore, State, partition_of

PULSE_S = 4.0
SPREAD_S = 1.0
PARTS = 16
"""A pulse tells so many parts of the interviews one after the other, over so long: 2,500 at once
take Redis 35 ms, and this process ten, in which no word goes out."""
LATE_PARTS = 4
"""At most so many parts that are late go together."""
TURNS = 2
"""Of those who stay a pulse tells one partition in so many; of those who came or left, all."""
LATEST_S = 1.25 * PULSE_S
"""So long after one pulse the next begins, at the latest."""
TOLD_S = TURNS * LATEST_S + SPREAD_S
"""Who stays is told so often at the least, where nothing fails or is late."""
LAPSE_S = 20.0
"""An interview is missed when it was not told for so long: a call or two may fail."""
LIMIT = 32
"""At most so many lapsed interviews of one partition a pulse."""
AT_ONCE = 16
"""So many of those who were found missing, or there again, are seen to at the same time."""

_log = structlog.get_logger()


class Attending(Protocol):
    """A socket through which somebody could answer."""

    @property
    def heard(self) -> float:
        """The monotonic time of its last frame."""
        ...


class Presence:
    """One instance's part in it."""

    def __init__(
        self, store: LiveStore, sessions: Sessions, clock: Clock, *, grace_ms: int
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._clock = clock
        self._grace_ms = grace_ms
        self._sockets: list[dict[str, tuple[Attending, ...]]] = [{} for _ in range(PARTITIONS)]
        self._came: list[set[str]] = [set() for _ in range(PARTITIONS)]
        self._left: dict[str, float] = {}
        self._beats = 0
        self._owed: set[int] = set()
        self._trust = [_Trust() for _ in range(PARTITIONS)]
        self._failing = False
        self._todo: dict[str, int | None] = {}
        self._found = asyncio.Event()

    def enter(self, interview_id: str, socket: Attending) -> None:
        """Somebody came who can answer."""
        partition = partition_of(interview_id)
        here = self._sockets[partition]
        here[interview_id] = (*here.get(interview_id, ()), socket)
        self._came[partition].add(interview_id)

    def leave(self, interview_id: str, socket: Attending) -> None:
        """They left, or were lost: what counts is when they were heard last."""
        here = self._sockets[partition_of(interview_id)]
        before = here.get(interview_id, ())
        others = tuple(each for each in before if each is not socket)
        if len(others) < len(before):
            self._left[interview_id] = max(socket.heard, self._left.get(interview_id, 0.0))
            if others:
                here[interview_id] = others
            else:
                del here[interview_id]

    async def run(self) -> None:
        """Tell and learn for ever; owned by the instance's task group."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._work())
            began = self._clock.monotonic()
            while True:
                due = began + PULSE_S * (0.75 + self._clock.random() / 2)
                await asyncio.sleep(due - self._clock.monotonic())
                before, began = began, self._clock.monotonic()
                if began - before > LATEST_S + SPREAD_S:  # those whose turn it is not wait for long
                    self._owed.update(range(PARTITIONS))
                await self._beat(began)

    async def _beat(self, began: float) -> None:
        """Tell once who is here. What comes back is worked through beside the pulse."""
        self._beats += 1
        left, self._left = self._left, {}
        absent: dict[int, list[str]] = {}
        for interview_id in left:
            absent.setdefault(partition_of(interview_id), []).append(interview_id)
        away: dict[str, int | None] = {}
        lapsed: dict[str, int | None] = {}
        failed: StorageError | None = None
        handed = 0
        done = 0
        while done < PARTS:
            due = await due_part(self._clock, began, done, parts=PARTS, over_s=SPREAD_S)
            parts = range(done, min(due, done + LATE_PARTS))
            done = parts.stop
            try:
                told = await self._tell(parts, left, absent)
            except StorageError as error:  # which must not silence the parts behind these
                if failed is None:
                    self._work_at(away)  # what was found missing before counts no longer
                    handed = len(away)
                failed = failed or error
                for trust in self._trust:  # it was Redis that failed, and of other instances, too
                    trust.lose()
                lapsed.clear()
                for number in _partitions(parts):
                    self._not_told(number, left, absent.get(number, ()))
                continue
            for number, each in told:
                away |= dict.fromkeys(each.away)
                lapsed |= each.lapsed if self._trust[number].holds else ()
        if failed is not None and not self._failing:
            _log.warning("presence not told", error=type(failed).__name__)
        self._failing = failed is not None
        if failed is None or len(away) > handed or lapsed:
            self._work_at({**away, **lapsed})

    async def _tell(
        self, parts: range, left: Mapping[str, float], absent: Mapping[int, Sequence[str]]
    ) -> list[tuple[int, Attendance]]:
        """Tell some parts; return what their partitions answer, each by its number."""
        asked = self._clock.monotonic()
        numbers = _partitions(parts)
        attendants = {
            number: self._attendants(number, left, absent.get(number, ())) for number in numbers
        }
        told = await self._store.attend(attendants, int(LAPSE_S * 1000), LIMIT)
        now = self._clock.monotonic()
        answers: list[tuple[int, Attendance]] = []
        for number, each in zip(numbers, told, strict=True):
            if each is None:
                self._not_told(number, left, absent.get(number, ()))
            else:
                self._trust[number].told(asked, now)
                answers.append((number, each))
        return answers

    def _not_told(self, partition: int, left: Mapping[str, float], names: Iterable[str]) -> None:
        """Tell of all with the next pulse, and of those who left again.

        Behind the grace it makes no difference any more when it was.
        """
        self._owed.add(partition)
        since = self._clock.monotonic() - self._grace_ms / 1000
        for name in names:
            heard = max(left[name], self._left.get(name, 0.0))
            if heard > since:
                self._left[name] = heard

    def _work_at(self, found: Mapping[str, int | None]) -> None:
        """Have the workers go on with what was found now."""
        self._todo = dict(found)
        self._found.set()

    async def _work(self) -> None:
        while True:
            await self._found.wait()
            self._found.clear()
            todo = iter(self._todo.items())
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(self._work_through(todo))

    async def _work_through(self, todo: Iterator[tuple[str, int | None]]) -> None:
        """See to one after the other of those that others take from, too, until there are newer."""
        for interview_id, seen in todo:
            # They may have come or gone since their part of the pulse.
            here = interview_id in self._sockets[partition_of(interview_id)]
            if here == (seen is None):
                await self._act(interview_id, seen)
            if self._found.is_set():
                return

    async def _act(self, interview_id: str, seen: int | None) -> None:
        try:
            if seen is None:
                await self._sessions.apply(interview_id, Arrived(at=self._clock.now()))
            else:
                await self._miss(interview_id, seen)
        except (MissingError, ErasedError):
            self._left.setdefault(interview_id, self._clock.monotonic())  # it is forgotten then
        except StorageError as error:  # one of the next pulses finds it again
            _log.warning("presence not noted", interview=interview_id, error=type(error).__name__)
        except Exception:  # noqa: BLE001  # a next pulse finds it again, on each instance
            _log.exception("presence not noted", interview=interview_id)

    async def _miss(self, interview_id: str, seen: int) -> None:
        found = await self._store.load(interview_id)
        if not isinstance(found, State):
            raise MissingError
        since, now = found.heard or seen, self._clock.now()
        left = Left(since=since, grace_ms=self._grace_ms, at=now)
        await self._sessions.apply(interview_id, left, seen=seen, state=found)

    def _attendants(
        self, partition: int, left: Mapping[str, float], absent: Sequence[str]
    ) -> list[Attendant]:
        """Take what is to be told; where that fails, `_not_told` has all told again."""
        now, here = self._clock.monotonic(), self._sockets[partition]
        came, self._came[partition] = self._came[partition], set()
        if partition in self._owed or (self._beats + partition) % TURNS == 0:
            self._owed.discard(partition)
            whom = here
        else:
            whom = {name: here[name] for name in (*came, *absent) if name in here}
        told: list[Attendant] = []
        for name, sockets in whom.items():  # without helper calls: it runs for each socket
            heard = sockets[0].heard
            for other in sockets[1:]:
                heard = max(heard, other.heard)
            if left and name in left:
                heard = max(heard, left[name])
            told.append(Attendant(name, True, max(0, int((now - heard) * 1000))))
        told += [
            Attendant(name, False, _ago_ms(now - left[name])) for name in absent if name not in here
        ]
        return told


class _Trust:
    """Whether silence means absence: not while Redis was away, or this process, a moment ago.

    Then nobody could tell who is there, and all would seem to be missing. What kept this instance
    from asking may have kept others from telling, whose last word was up to `TOLD_S` old by then: a
    pause counts as soon as the two together could take `LAPSE_S`. One for each partition: that
    Redis refuses one, say because its keys are damaged, says nothing of the others. A call that was
    refused was none.
    """

    __slots__ = ("_asked_before", "_watching_since", "holds")

    def __init__(self) -> None:
        self.holds = False
        self._asked_before = 0.0
        self._watching_since: float | None = None

    def told(self, asked: float, now: float) -> None:
        """Note a call made at ``asked`` and answered ``now``, by the monotonic clock."""
        if self._watching_since is None or now - self._asked_before > LAPSE_S - TOLD_S:
            self._watching_since = now
        self._asked_before = asked
        self.holds = asked - self._watching_since >= LAPSE_S

    def lose(self) -> None:
        """Note that nothing could be told."""
        self._watching_since, self.holds = None, False


def _partitions(parts: range) -> range:
    return range(parts.start * PARTITIONS // PARTS, parts.stop * PARTITIONS // PARTS)


def _ago_ms(seconds: float) -> int:
    return max(0, int(seconds * 1000))
