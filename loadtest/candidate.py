"""A simulated candidate on real sockets: answers, interrupts, and comes back whatever happens.

It goes to any of the instances it is given, keeps what it was promised, and can tell in the end
whether the stored transcript keeps all of it.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jwt
from aiohttp import ClientError, ClientTimeout
from aiohttp import ClientSession as Http
from msgspec import Struct
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from loadtest.processes import SECRET
from protocol import commands as c
from protocol import events as e
from protocol.client import ClientSession, Reconnect, Stopped
from protocol.closes import Close
from protocol.codec import Encoding

PLAN: Mapping[str, Any] = {"type": "behavioral", "role": "Engineer", "duration_minutes": 15}
RETRY_S = 0.3
HEARTBEAT_S = 10.0
HTTP_TIMEOUT = ClientTimeout(total=8.0)
GONE = 1006

_jwt: Any = jwt.PyJWT()  # its key's type is not known to a strict checker


def bearer(user: str, role: str, secret: str) -> dict[str, str]:
    """Return the headers by which somebody calls the API, good for a day."""
    claims = {"sub": user, "role": role, "exp": int(time.time()) + 86_400}
    return {"Authorization": f"Bearer {_jwt.encode(claims, secret)}"}


class Given(Struct):
    """A durable command that was given, and what it was answered."""

    command: c.DurableCommand
    accepted: bool = False
    rejected: str = ""


class Candidate:
    """One interview, from its creation to its end. Times are the harness's monotonic seconds."""

    def __init__(
        self,
        http: Http,
        urls: Callable[[], Sequence[str]],
        seed: str,
        plan: Mapping[str, Any] = PLAN,
        *,
        user: str | None = None,
        secret: str = SECRET,
    ) -> None:
        self.draw = random.Random(seed)
        self.user = user or f"user-{seed.replace(' ', '-')}"
        self.encoding: Encoding = self.draw.choice(("json", "msgpack"))
        self.types = self.draw.random() < 0.5
        """Whether it types its answers; else they are what was recorded of its speech."""
        self.session = ClientSession(self.encoding)
        self.interview_id = ""
        self.given: dict[str, Given] = {}
        self.faults: list[str] = []
        self.closes: list[int] = []
        self.resets: Counter[str] = Counter()
        """How often a turn began anew, by reason."""
        self.over = asyncio.Event()
        self.heard: Callable[[e.ServerMessage], None] = lambda _: None
        self.leaves_after: int | None = None
        self.says = "naïve 日本 👩🏽‍💻"
        """What it types, behind the name of the command."""
        self.interrupts = 0.02
        """How probable it is that it barges in, each time that it might."""
        self.away_s = 0.0
        """How much longer than it must it stays away, the next time that it is cut off."""
        self.silence_s = 0.0
        """The longest time that the interviewer kept its candidate waiting for words."""
        self._spoke = 0.0
        self._plan = plan
        self._http = http
        self._urls = urls
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue()
        self._socket: ClientConnection | None = None
        self._number = 0
        self._key = seed
        self._headers = bearer(self.user, "candidate", secret)

    @property
    def listening(self) -> bool:
        """Whether the interviewer has the word."""
        opened = self.session.view.open
        return opened is not None and opened.speaker == "interviewer"

    async def run(self) -> None:
        """Have the interview, over as many connections as it takes."""
        self.interview_id = (await self._ask("POST", "", json=self._plan))["id"]
        try:
            while not self.over.is_set():
                code = await self._connection()
                self.closes.append(code)
                match self.session.connection_closed(code, self.draw.random()):
                    case Reconnect(after_s=pause):
                        away_s, self.away_s = self.away_s, 0.0
                        await asyncio.sleep(pause + away_s)
                    case Stopped(code=final):
                        if final != Close.OVER:
                            self.faults.append(f"turned away with {final}")
                        return
        finally:
            self.over.set()

    async def transcript(self) -> list[dict[str, Any]]:
        """Return the stored turns."""
        return (await self._ask("GET", f"/{self.interview_id}/transcript"))["turns"]

    async def report(self) -> dict[str, Any]:
        """Return the report, or ``{"status": "pending"}`` and why."""
        return await self._ask("GET", f"/{self.interview_id}/report")

    async def erase(self) -> None:
        """Erase the interview."""
        await self._ask("DELETE", f"/{self.interview_id}")

    async def exists(self) -> bool:
        """Whether the API knows the interview."""
        return bool(await self._ask("GET", f"/{self.interview_id}", absent={}))

    def poke(self) -> None:
        """Put a command in flight, now, whatever the state."""
        if not self.over.is_set() and self.session.view.status == "live":
            self._give(self._speech())

    def interrupt(self) -> None:
        """Barge in, where the interviewer has the word."""
        opened = self.session.view.open
        if opened is not None and self.listening:
            heard = self.draw.choice((None, len(opened.text)))
            command = c.TurnCancel(
                id=self._name(), turn=opened.turn, attempt=opened.attempt, heard=heard
            )
            self._give(command)

    def hang_up(self) -> None:
        """Break the connection, as a network does; it comes back by itself."""
        if self._socket is not None:
            self._socket.transport.abort()

    # --- the connection ---

    async def _connection(self) -> int:
        try:
            ticket = None
            if self.session.resume_token is None:
                path = f"/{self.interview_id}/tickets"
                ticket = (await self._ask("POST", path, json={}))["ticket"]
            url = self.draw.choice(self._urls())
            async with connect(
                f"{url.replace('http', 'ws', 1)}/api/interviews/{self.interview_id}/socket",
                subprotocols=[f"interview.v1.{self.encoding}"],  # type: ignore[list-item]
                compression=None,
                proxy=None,
                open_timeout=5,
                close_timeout=1,
            ) as socket:
                self._socket = socket
                self._outgoing = asyncio.Queue()
                self._post(self.session.connection_opened(ticket))
                async with asyncio.TaskGroup() as group:
                    work = (self._send_all(socket), self._act(), self._beat())
                    tasks = [group.create_task(each) for each in work]
                    await self._listen(socket)
                    for task in tasks:
                        task.cancel()
                return socket.close_code or GONE
        except (InvalidHandshake, InvalidMessage, OSError, TimeoutError):
            return GONE  # nobody is there

    async def _listen(self, socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                received = self.session.receive(await socket.recv())
                self._note(received.message)
                self.heard(received.message)
                if received.misled is not None:
                    self.faults.append(f"misled: {received.misled.reason}")
                    await socket.close()
                self._post(received.frames)

    def _note(self, message: e.ServerMessage) -> None:
        if isinstance(message, e.Event):
            now = time.monotonic()
            if self.listening and self._spoke and not isinstance(message, e.TurnStarted):
                self.silence_s = max(self.silence_s, now - self._spoke)
            self._spoke = now
        match message:
            case e.Accepted(command_id=name):
                self.given[name].accepted = True
            case e.Rejected(command_id=name, code=code, retryable=retryable):
                if retryable:
                    asyncio.get_running_loop().call_later(RETRY_S, self._again, name)
                else:
                    self.given[name].rejected = code
            case e.TurnReset(reason=reason):
                self.resets[reason] += 1
            case e.Error(code=code):
                self.faults.append(f"told of an error: {code}")
            case _:
                pass

    def _again(self, name: str) -> None:
        self._post(self.session.again(name))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            self._post(self.session.send(c.Ping(nonce="beat")))

    async def _send_all(self, socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):  # durable commands go out again
            while True:
                await socket.send(await self._outgoing.get(), text=self.encoding == "json")

    def _post(self, frames: list[bytes]) -> None:
        for frame in frames:
            self._outgoing.put_nowait(frame)

    # --- what a candidate does ---

    async def _act(self) -> None:
        while True:
            await asyncio.sleep(self.draw.uniform(0.1, 0.5))
            view = self.session.view
            if view.over or (
                self.leaves_after is not None and len(view.turns) >= self.leaves_after
            ):
                continue
            if view.status == "created" and not self.given:
                consent = c.Consent(version="2026-01", at=1_795_000_000_000)
                self._give(c.InterviewStart(id=self._name(), consent=consent))
            elif view.open is not None and view.open.speaker == "candidate":
                self._answer()
            elif self.draw.random() < self.interrupts:
                self.interrupt()

    def _answer(self) -> None:
        pending = (g for g in self.given.values() if isinstance(g.command, c.AnswerSubmit))
        if any(not given.accepted and not given.rejected for given in pending):
            return
        chance = self.draw.random()
        if chance < 0.4:
            self._give(self._speech())
        elif chance < 0.45:
            self._give(c.HintRequest(id=self._name()))
        else:
            name = self._name()
            text = f"<{name}> {self.says}" if self.types else None
            self._give(c.AnswerSubmit(id=name, text=text))

    def _speech(self) -> c.SpeechFinal:
        name = self._name()
        return c.SpeechFinal(id=name, utterance_id=name, revision=1, text=f"[{name}] é")

    def _name(self) -> str:
        self._number += 1
        return f"c{self._number}"

    def _give(self, command: c.DurableCommand) -> None:
        self.given[command.id] = Given(command)
        self._post(self.session.send(command))

    # --- the HTTP API ---

    async def _ask(self, method: str, path: str, *, absent: Any = None, **options: Any) -> Any:
        """Ask any instance until one answers; a repeated creation is one, by its key."""
        headers = {**self._headers, "Idempotency-Key": f"{self._key} {method} {path}"}
        last = "no answer"
        for attempt in range(60):
            url = f"{self.draw.choice(self._urls())}/api/interviews{path}"
            with contextlib.suppress(ClientError, OSError, TimeoutError):
                async with self._http.request(
                    method, url, headers=headers, timeout=HTTP_TIMEOUT, **options
                ) as reply:
                    if reply.status == 404 and absent is not None:
                        return absent
                    if reply.status < 400:
                        return await reply.json() if reply.status != 204 else {}
                    last = f"{reply.status}: {(await reply.text())[:200]}"
                    if reply.status < 500 and reply.status != 429:
                        raise RuntimeError(f"{method} {path}: {last}")
            await asyncio.sleep(min(1.0, 0.1 * 2**attempt) * self.draw.random())
        raise TimeoutError(f"{method} {path}: {last}")
