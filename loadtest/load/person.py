"""A simulated user: creates an interview, connects, comes back, and reads the transcript."""

import asyncio
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from loadtest.load.api import Api, ApiError, connect
from loadtest.load.check import faults
from loadtest.load.crowd import Crowd
from loadtest.load.interview import Interview
from loadtest.load.keys import Keys
from loadtest.load.stored import StoredError
from loadtest.load.wire import GONE, HandshakeError, Socket
from protocol.client import Reconnect
from protocol.closes import Close

CONNECT_S = 20.0
LIVE_S = 30.0
"""So long a socket may take until it is `live`."""
AGAIN_S = 1.0
NEVER = 0
"""In place of a close code: nobody was there, which was counted as what it was."""
_STALLED = frozenset((Close.TOO_SLOW, Close.HEARTBEAT_LOST, GONE))


class Person:
    """One user, from the arrival on."""

    def __init__(self, crowd: Crowd, api: Api, keys: Keys, number: int) -> None:
        self._crowd = crowd
        self._tally = crowd.tally
        self._scenario = crowd.scenario
        self._api = api
        self._keys = keys
        self._number = number
        self._draw = random.Random(f"{crowd.scenario.seed} user {number}")
        self._headers = keys.headers(f"{crowd.scenario.seed}-{number}")
        self._quiet = self._draw.random() < self._scenario.users.quiet
        self._stalls = self._draw.random() < self._scenario.stalls.share
        self._nth = 0
        self._due = 0.0
        """Since when it has been waiting for an interview; 0 while it has one, or once counted."""
        self._dropped = False
        """Whether its connection was broken on purpose."""
        self._drops: asyncio.TimerHandle | None = None
        """The timer that breaks the connection that it has now."""
        self._live = False
        self.opened = 0.0
        """When the socket was opened that it has, or waits for."""

    async def run(self, due: float) -> None:
        """Have an interview, or one after another until the run ends."""
        again = bool(self._scenario.users.count) and self._scenario.script.again
        self._tally.users += 1
        self._due = due
        self._crowd.coming.add(self)
        try:
            while not self._crowd.ending:
                had = await self._visit()
                if not again:
                    return
                await asyncio.sleep(0 if had else AGAIN_S)
                if had:  # else it has been waiting for the same interview since
                    self._due = self._crowd.now()
        finally:
            self._tally.users -= 1
            self._crowd.coming.discard(self)
            self._crowd.waited_all(self)

    def waits(self) -> Iterator[tuple[str, float]]:
        """See `Crowd.waits`."""
        if self._due:
            due, self._due = self._due, 0.0  # its end would count once more
            yield "arrival", due

    async def _visit(self) -> bool:
        """Have one interview; whether it could be begun."""
        self._nth += 1
        script = self._scenario.script
        plan = {
            "type": script.type,
            "role": script.role,
            "duration_minutes": script.duration_minutes,
        }
        try:
            interview_id = await self._ask("create", "POST", "", plan, wanted="id")
        except ApiError:
            return False
        interview = Interview(self._crowd, self._draw, quiet=self._quiet, stalls=self._stalls)
        self._tally.counts["interviews"] += 1
        self._crowd.guests.add(interview)
        try:
            await self._attend(interview, f"/{interview_id}")
        finally:
            self._crowd.guests.discard(interview)
        if self._settled(interview) and interview.begun:
            self._crowd.had.append((self._headers, interview_id))
            if interview.certain:
                await self._look(interview, interview_id)
            if self._draw.random() < self._scenario.transcripts:
                await self._check(interview, f"/{interview_id}")
        return True

    async def _attend(self, interview: Interview, path: str) -> None:
        """Stay connected until the interview wants no more.

        What counts is the time from when it was to be, or from when a connection broke that was
        `live`: attempts that fail meanwhile begin nothing anew.
        """
        interview.due, self._due = self._due, 0.0
        interview.joined = lambda: self._joined(interview)
        while not interview.finished:
            code = await self._connection(interview, path)
            if self._live:
                self._live, interview.away_since = False, self._crowd.now()
                if self._drops is not None:
                    self._drops.cancel()
            if interview.finished:
                break
            if code:
                self._tally.closes[str(code)] += 1
            decided = interview.session.connection_closed(code or GONE, self._draw.random())
            if not isinstance(decided, Reconnect):
                if code != Close.OVER:
                    self._tally.error(f"closed {code}", "and is not to come back")
                if interview.due:  # it never was let in
                    self._crowd.waited("arrival", interview.due)
                    interview.due = 0.0
                interview.finish()
                break
            await asyncio.sleep(self._pause(interview, code, decided.after_s))

    def _pause(self, interview: Interview, code: int, after_s: float) -> float:
        """Tell a close that was meant from one that is an error; how long to stay away."""
        if self._dropped:
            self._dropped = False
            return self._draw.uniform(0, 2 * self._scenario.users.away_s)
        stalled = interview.stalls and code in _STALLED
        if code and not (stalled or self._crowd.excused() or code == Close.DRAINING):
            self._tally.error(f"closed {code}")
        return after_s

    async def _connection(self, interview: Interview, path: str) -> int:
        """Have one connection; with which code it ended, `NEVER` where there was none."""
        ticket = None
        try:
            if interview.session.resume_token is None:
                ticket = await self._ask("ticket", "POST", f"{path}/tickets", {}, wanted="ticket")
            socket = await self._open(interview, path)
        except (ApiError, HandshakeError, OSError, TimeoutError) as error:
            if not isinstance(error, ApiError):
                self._not_joined(interview)
                if not self._crowd.excused():
                    self._tally.error("connect", f"{type(error).__name__}: {error}")
            return NEVER
        if interview.finished:  # the run ended meanwhile
            socket.abort()
            return NEVER
        self._tally.connected += 1
        interview.attach(socket, ticket)
        late = self._crowd.later(LIVE_S, lambda: self._late(interview, socket))
        assert interview.gone is not None  # noqa: S101 - it was just attached
        try:
            return await interview.gone
        finally:
            late.cancel()
            self._tally.connected -= 1
            socket.abort()
            if not self._live:
                self._not_joined(interview)

    async def _open(self, interview: Interview, path: str) -> Socket:
        urls = self._draw.sample(self._keys.urls, len(self._keys.urls))
        for left, address in enumerate(urls, 1 - len(urls)):
            url = urlsplit(address)
            target = f"{url.path.rstrip('/')}/api/interviews{path}/socket"
            name = f"interview.v1.{interview.encoding}"
            socket = Socket(interview, url, target, name)
            self.opened = self._crowd.now()
            try:
                async with asyncio.timeout(CONNECT_S):
                    await connect(url, lambda socket=socket: socket)
                    if interview.stalls:
                        socket.shrink()
                    await socket.opened
            except ConnectionRefusedError:  # is passed over, as by a balancer
                socket.opened.cancel()
                if not left:
                    raise
            except BaseException:
                socket.opened.cancel()
                socket.abort()
                raise
            else:
                return socket
        raise AssertionError("the loop returns or raises")

    def _late(self, interview: Interview, socket: Socket) -> None:
        if not interview.session.live and not interview.stalls:
            self._tally.error("late", f"a socket was not live after {LIVE_S:.0f} s")
            socket.abort()

    def _not_joined(self, interview: Interview) -> None:
        """Count the time of a socket that never was `live`, or those that are would look quick."""
        if not interview.stalls:
            self._crowd.waited("join", self.opened)

    def _joined(self, interview: Interview) -> None:
        now, latencies = self._crowd.now(), self._tally.latencies
        if interview.due:
            latencies.record("arrival", now - interview.due)
        elif interview.away_since:
            self._tally.counts["reconnects"] += 1
            if not interview.stalls:
                latencies.record("back", now - interview.away_since)
        self._live, self._dropped = True, False
        interview.away_since, interview.due = 0.0, 0.0
        latencies.record("join", now - self.opened)
        if interview.stalls and self._crowd.stalling:
            interview.stall(stalled=True)
        drops = self._scenario.users.drops_per_minute
        if drops:
            after_s = self._draw.expovariate(drops / 60)
            self._drops = self._crowd.later(after_s, lambda: self._drop(interview))

    def _drop(self, interview: Interview) -> None:
        if interview.gone is not None and interview.gone.done():
            return  # it broke by itself
        if not interview.finished and not self._crowd.ending:
            self._dropped = True
            interview.hang_up()

    def _settled(self, interview: Interview) -> bool:
        """Whether all was answered and stored when it ended; what was not is an error."""
        for name in interview.unanswered:
            self._tally.error("unanswered", f"{name} was not answered in time")
        if not interview.settled:  # the server closed its socket before, or the time was over
            self._crowd.unchecked(interview)
        return interview.settled

    async def _look(self, interview: Interview, interview_id: str) -> None:
        """Hold what PostgreSQL has against what was seen and accepted, where it can be asked."""
        if self._crowd.stored is None:
            return
        try:
            turns = await self._crowd.stored.turns(interview_id)
        except StoredError as error:
            self._tally.wrong("unchecked", f"PostgreSQL could not be read: {error}")
            return
        self._tally.counts["stored"] += 1
        self._hold(interview, turns, "PostgreSQL: ")

    async def _check(self, interview: Interview, path: str) -> None:
        """Hold the transcript that is served against what was seen and accepted."""
        try:
            turns = await self._ask("transcript", "GET", f"{path}/transcript", wanted="turns")
        except ApiError:
            self._tally.wrong("unchecked", "the transcript could not be read")
            return
        self._tally.counts["transcripts"] += 1
        self._hold(interview, turns)

    def _hold(
        self, interview: Interview, turns: Sequence[Mapping[str, Any]], where: str = ""
    ) -> None:
        for fault in faults(interview.seen, interview.accepted, turns):
            self._tally.wrong(fault.figure, f"{where}{fault.told}")

    async def _ask(
        self, name: str, method: str, path: str, body: Any = None, *, wanted: str
    ) -> Any:
        """Ask the API for one value; where an instance was killed on purpose, also another one."""
        began = self._crowd.now()
        place = self._draw.randrange(1_000_000)
        attempt = 0
        while True:
            try:
                reply = await self._api.ask(
                    place + attempt, method, f"/api/interviews{path}", self._headers, body
                )
                found = reply.value(wanted)
            except ApiError as error:
                attempt += 1
                if self._crowd.struck() and not error.status and attempt < 3:
                    continue
                self._tally.error(f"{name}: {error.kind}", str(error))
                self._crowd.waited(name, began)
                raise
            self._tally.latencies.record(name, self._crowd.now() - began)
            return found
