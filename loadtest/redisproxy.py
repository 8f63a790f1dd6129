"""A proxy in front of Redis that fails single calls, or the whole way to Redis, at a known point.

One proxy per instance tells whose calls it sees. Rules name a Function without the hash of its
source (``append`` for ``append_1a2b3c4d``), or a command in lower case, and fire at one moment of
the call: before it reaches Redis, after its effect and in place of its reply, or after its reply.
"""

import asyncio
import contextlib
import re
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Literal
from urllib.parse import urlsplit

from loadtest.resp import Splitter, arguments, is_push

Moment = Literal["before", "instead", "after"]
"""``before``: Redis never hears of the call. ``instead``: it takes effect, and its reply is lost.
``after``: it takes effect, and its reply arrives. `Rule.then` runs at that moment; but for the last
one, the connection is cut.
"""
Mode = Literal["pass", "refuse", "swallow"]

CHUNK = 64 * 1024
_HASH = re.compile(r"_[0-9a-f]{6,40}$")
_UNANSWERED = {
    "subscribe",
    "unsubscribe",
    "psubscribe",
    "ssubscribe",
    "sunsubscribe",
    "punsubscribe",
}

Arguments = Sequence[bytes]


class Rule:
    """What happens to one call. ``fired`` is set when it has happened."""

    def __init__(self, name: str, moment: Moment, then: Callable[[], None], nth: int) -> None:
        self.name = name
        self.moment: Moment = moment
        self.then = then
        self.left = nth
        self.fired = asyncio.Event()

    def fire(self) -> None:
        """Let it happen."""
        self.then()
        self.fired.set()


class _Cut(Exception):  # noqa: N818 - a decision, not an error
    pass


class RedisProxy:
    """Listens on a port of its own for as long as `running` lasts."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._upstream = (parts.hostname or "127.0.0.1", parts.port or 6379)
        self._parts = parts
        self.port = 0
        self.calls: Counter[str] = Counter()
        self.seen: Callable[[str, Arguments], None] | None = None
        self.answered: Callable[[str, Arguments, bytes], None] | None = None
        self._rules: list[Rule] = []
        self._mode: Mode = "pass"
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._passing = asyncio.Event()
        self._passing.set()

    @property
    def url(self) -> str:
        """The address that an instance is given instead of Redis's own."""
        user = f"{self._parts.netloc.rpartition('@')[0]}@" if "@" in self._parts.netloc else ""
        return self._parts._replace(netloc=f"{user}127.0.0.1:{self.port}").geturl()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator["RedisProxy"]:
        """Listen while the body runs."""
        await self._listen()
        try:
            yield self
        finally:
            self.break_all()
            if self._server is not None:
                self._server.close()
                await self._server.wait_closed()

    def once(self, name: str, moment: Moment, then: Callable[[], None], *, nth: int = 1) -> Rule:
        """Fail the ``nth`` call of ``name`` from now on; ``then`` runs at that very moment."""
        rule = Rule(name, moment, then, nth)
        self._rules.append(rule)
        return rule

    def forget(self, rule: Rule) -> None:
        """Take back a rule that has not fired."""
        if rule in self._rules:
            self._rules.remove(rule)

    async def set_mode(self, mode: Mode) -> None:
        """Let everything pass, refuse connections, or swallow every byte without a word."""
        self._mode = mode
        if mode == "swallow":
            self._passing.clear()
        else:
            self._passing.set()
        if mode == "refuse" and self._server is not None:
            self._server.close()
            self.break_all()
            self._server = None
        elif self._server is None:
            await self._listen()

    def break_all(self) -> None:
        """Reset every open connection."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._passing.wait()
            to_redis = await asyncio.open_connection(*self._upstream)
            self._writers.add(to_redis[1])
            try:
                await _Connection(self, reader, writer, *to_redis).run()
            finally:
                self._writers.discard(to_redis[1])
                to_redis[1].transport.abort()
        except OSError:
            return  # the other side has gone, or Redis is not there
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    def match(self, name: str, values: Arguments) -> Rule | None:
        """Count a call; return the rule whose turn it is."""
        self.calls[name] += 1
        if self.seen is not None:
            self.seen(name, values)
        for rule in self._rules:
            if rule.name == name:
                rule.left -= 1
                if rule.left == 0:
                    self._rules.remove(rule)
                    return rule
        return None

    async def passing(self) -> None:
        """Wait while bytes are swallowed."""
        await self._passing.wait()


class _Connection:
    """One client's connection, and the one to Redis behind it."""

    def __init__(
        self,
        proxy: RedisProxy,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        redis_reader: asyncio.StreamReader,
        redis_writer: asyncio.StreamWriter,
    ) -> None:
        self._proxy = proxy
        self._reader, self._writer = reader, writer
        self._redis_reader, self._redis_writer = redis_reader, redis_writer
        self._waiting: deque[tuple[str, Arguments, Rule | None]] = deque()
        self._subscribed = False

    async def run(self) -> None:
        """Pass bytes on until one side has gone, or a rule cuts it."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._requests())
                group.create_task(self._replies())
        except* (_Cut, OSError):
            pass  # either is how a connection ends

    async def _requests(self) -> None:
        splitter = Splitter()
        while chunk := await self._reader.read(CHUNK):
            await self._proxy.passing()
            for request in splitter.feed(chunk):
                self._request(request)
            await self._redis_writer.drain()
        raise _Cut

    def _request(self, request: bytes) -> None:
        values = arguments(request)
        name = _name(values)
        rule = self._proxy.match(name, values)
        if name in _UNANSWERED:
            self._subscribed = True
        if rule is not None and rule.moment == "before":
            rule.fire()
            raise _Cut
        self._waiting.append((name, values, rule))
        self._redis_writer.write(request)

    async def _replies(self) -> None:
        splitter = Splitter()
        while chunk := await self._redis_reader.read(CHUNK):
            await self._proxy.passing()
            for reply in splitter.feed(chunk):
                await self._reply(reply)
            await self._writer.drain()
        raise _Cut

    async def _reply(self, reply: bytes) -> None:
        rule = None
        if not is_push(reply) and not self._subscribed and self._waiting:
            name, values, rule = self._waiting.popleft()
            if self._proxy.answered is not None:
                self._proxy.answered(name, values, reply)
        if rule is not None and rule.moment == "instead":
            rule.fire()
            raise _Cut
        self._writer.write(reply)
        if rule is not None:
            await self._writer.drain()
            rule.fire()


def _name(values: Arguments) -> str:
    """Return what a call is called: its Function without the hash, or the command."""
    command = values[0].decode(errors="replace").lower()
    if command in ("fcall", "fcall_ro") and len(values) > 1:
        return _HASH.sub("", values[1].decode(errors="replace"))
    return command
