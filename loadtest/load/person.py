"""A simulated user: creates an interview, connects, comes back, and reads the transcript."""

import asyncio
import random
from typing import Any
from urllib.parse import urlsplit

from loadtest.load.api import Api, ApiError, connect
from loadtest.load.check import faults
from loadtest.load.crowd import Crowd
from loadtest.load.interview import Interview
from loadtest.load.keys import Keys
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
        self._headers = keys.headers(f"load-{crowd.scenario.seed}-{number}")
        self._quiet = self._draw.random() < self._scenario.users.quiet
        self._stalls = self._draw.random() < self._scenario.stalls.share
        self._nth = 0
        self._dropped = False
        """Whether its connection was broken on purpose."""

    async def run(self, due: float) -> None:
        """Have an interview, or one after another until the run ends."""
        again = bool(self._scenario.users.count) and self._scenario.script.again
        self._tally.users += 1
        try:
            while not self._crowd.ending:
                had = await self._visit(due)
                if not again:
                    return
                await asyncio.sleep(0 if had else AGAIN_S)
                due = self._crowd.now()
        finally:
            self._tally.users -= 1

    async def _visit(self, due: float) -> bool:
        """Have one interview; whether it could be begun."""
        self._nth += 1
        script = self._scenario.script
        plan = {
            "type": script.type,
            "role": script.role,
            "duration_minutes": script.duration_minutes,
        }
        try:
            created = await self._ask("create", "POST", "", plan)
        except ApiError:
            return False
        interview = Interview(self._crowd, self._draw, quiet=self._quiet, stalls=self._stalls)
        self._tally.counts["interviews"] += 1
        self._crowd.guests.add(interview)
        try:
            await self._attend(interview, f"/{created['id']}", due)
        finally:
            self._crowd.guests.discard(interview)
        if interview.begun and self._draw.random() < self._scenario.transcripts:
            await self._check(interview, f"/{created['id']}")
        return True

    async def _attend(self, interview: Interview, path: str, due: float) -> None:
        """Stay connected until the interview wants no more."""
        lost_at = 0.0
        while not interview.finished:
            began = self._crowd.now()

            def joined(lost_at: float = lost_at, began: float = began) -> None:
                self._joined(interview, due, lost_at, began)

            interview.joined = joined
            code = await self._connection(interview, path)
            lost_at = self._crowd.now()
            if interview.finished:
                break
            if code:
                self._tally.closes[str(code)] += 1
            decided = interview.session.connection_closed(code or GONE, self._draw.random())
            if not isinstance(decided, Reconnect):
                if code != Close.OVER:
                    self._tally.error(f"closed {code}", "and is not to come back")
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
                asked = await self._ask("ticket", "POST", f"{path}/tickets", {})
                ticket = asked["ticket"]
            socket = await self._open(interview, path)
        except (ApiError, HandshakeError, OSError, TimeoutError) as error:
            if not isinstance(error, ApiError) and not self._crowd.excused():
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

    async def _open(self, interview: Interview, path: str) -> Socket:
        urls = self._keys.urls
        for attempt in range(len(urls) + 1):  # as a balancer does: one that refuses is passed over
            url = urlsplit(self._draw.choice(urls))
            target = f"{url.path.rstrip('/')}/api/interviews{path}/socket"
            name = f"interview.v1.{interview.encoding}"
            socket = Socket(interview, url, target, name)
            try:
                async with asyncio.timeout(CONNECT_S):
                    await connect(url, lambda socket=socket: socket)
                    if interview.stalls:
                        socket.shrink()
                    await socket.opened
            except ConnectionRefusedError:
                socket.opened.cancel()
                if attempt == len(urls):
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

    def _joined(self, interview: Interview, due: float, lost_at: float, began: float) -> None:
        now, latencies = self._crowd.now(), self._tally.latencies
        if not lost_at:
            latencies.record("arrival", now - due)
        elif not interview.stalls:
            latencies.record("back", now - lost_at)
        if lost_at:
            self._tally.counts["reconnects"] += 1
        latencies.record("join", now - began)
        if interview.stalls and self._crowd.stalling:
            interview.stall(stalled=True)
        drops = self._scenario.users.drops_per_minute
        if drops:
            self._crowd.later(self._draw.expovariate(drops / 60), lambda: self._drop(interview))

    def _drop(self, interview: Interview) -> None:
        if not interview.finished and not self._crowd.ending:
            self._dropped = True
            interview.hang_up()

    async def _check(self, interview: Interview, path: str) -> None:
        """Hold the stored transcript against what was seen and accepted."""
        for name in interview.unanswered:
            self._tally.error("unanswered", f"{name} was not answered in time")
        if not interview.settled:
            return  # it was counted as unchecked
        seen = interview.view.turns
        try:
            reply = await self._ask("transcript", "GET", f"{path}/transcript")
        except ApiError:
            self._tally.wrong("unchecked", "the transcript could not be read")
            return
        self._tally.counts["transcripts"] += 1
        for fault in faults(seen, interview.accepted, reply["turns"]):
            self._tally.wrong(fault.figure, fault.told)

    async def _ask(self, name: str, method: str, path: str, body: Any = None) -> Any:
        """Ask the API; where an instance was killed on purpose, ask another one, too."""
        began = self._crowd.now()
        place = self._draw.randrange(1_000_000)
        attempt = 0
        while True:
            try:
                reply = await self._api.ask(
                    place + attempt, method, f"/api/interviews{path}", self._headers, body
                )
            except ApiError as error:
                attempt += 1
                if self._crowd.excused() and not error.status and attempt < 3:
                    continue
                self._tally.error(f"{name}: {error.kind}", str(error))
                raise
            self._tally.latencies.record(name, self._crowd.now() - began)
            return reply.json()
