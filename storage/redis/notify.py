"""The instance's one notification connection: Redis pub/sub, made good whenever it breaks.

Notifications only wake. So a lost connection is answered by a new one and by waking everybody in
doubt, and nothing is remembered of what was missed. Redis itself bounds what may wait for a slow
subscriber, and cuts the connection beyond that.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import hiredis
import structlog
from redis import exceptions

from storage.errors import BackendDownError, StorageError
from storage.live import Listener
from storage.redis.connect import Client, translated
from storage.redis.keys import interview_keys

WATCH_S = 4.0
"""How long `RedisNotifier.watch` waits: clients that are sent away may come back much later."""
PING_S = 1.5
"""How often a silent connection is tried; one that stays silent that long after it is given up."""
BATCH = 512
"""How many channels one command names."""

_BACKOFF_S = 0.05
_BACKOFF_CAP_S = 1.0
_GRACE_S = 0.25

_CHUNK = 65_536
_MORE = object()

_log = structlog.get_logger()

_FLOWS = asyncio.Event()
"""Stands for each watch that was confirmed: one of its own would be the largest thing about it.

It is never cleared: that would doubt all of them.
"""
_FLOWS.set()


class RedisNotifier:
    """`storage.live.Notifier` over one connection, which `run` keeps up.

    ``draw`` returns a number in [0, 1), for the jitter between attempts to connect.
    """

    def __init__(self, client: Client, *, draw: Callable[[], float] = random.random) -> None:
        self._pool: Any = client.connection_pool  # redis-py's connections are typed loosely
        self._draw = draw
        self._watches: dict[str, asyncio.Event] = {}
        self._names: dict[bytes, str] = {}
        self._changed: set[str] = set()
        self._change = asyncio.Event()
        self._subscribed: set[str] = set()
        self._unconfirmed: Counter[str] = Counter()
        self._heard = 0

    async def watch(self, interview_id: str) -> None:
        """Begin to receive the interview's notifications; returns when they flow.

        Raises:
            BackendDownError: that was not confirmed within `WATCH_S`. The watch stays, and is made
                good as soon as Redis answers.
        """
        confirmed = self._watches.get(interview_id)
        if confirmed is None:
            confirmed = self._watches[interview_id] = asyncio.Event()
            self._names[_channel(interview_id).encode()] = interview_id
            self._note(interview_id)
        if confirmed.is_set():
            return
        try:
            async with asyncio.timeout(WATCH_S):
                await confirmed.wait()
        except TimeoutError:
            raise BackendDownError("Redis does not confirm a subscription") from None

    async def unwatch(self, interview_id: str) -> None:
        """Stop receiving them; nothing is waited for."""
        if self._watches.pop(interview_id, None) is not None:
            self._names.pop(_channel(interview_id).encode(), None)
            self._note(interview_id)

    def _flow(self, interview_id: str) -> None:
        confirmed, self._watches[interview_id] = self._watches[interview_id], _FLOWS
        confirmed.set()

    def hears(self, interview_id: str) -> bool:
        """See `Notifier.hears`."""
        confirmed = self._watches.get(interview_id)
        return confirmed is not None and confirmed.is_set()

    async def run(self, listener: Listener) -> None:
        """Deliver to ``listener`` until cancelled; owned by the instance's task group."""
        attempt = 0
        while True:
            heard = self._heard
            try:
                async with self._connection() as connection:
                    await self._serve(connection, listener)
            except StorageError as lost:
                if self._heard > heard:
                    attempt = 0
                if attempt == 0:
                    _log.warning("notifications lost", error=type(lost).__name__)
            pause = min(_BACKOFF_CAP_S, _BACKOFF_S * 2 ** min(attempt, 16))
            await asyncio.sleep(pause * self._draw())
            attempt += 1

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[Any]:
        # RESP2: notifications come as plain lists, with no layer for push messages between.
        options = self._pool.connection_kwargs | {"protocol": 2}
        connection = self._pool.connection_class(**options)
        try:
            with translated():
                await connection.connect()
            yield connection
        finally:
            for interview_id, confirmed in self._watches.items():
                if confirmed is _FLOWS:
                    self._watches[interview_id] = asyncio.Event()
            await connection.disconnect(nowait=True)

    async def _serve(self, connection: Any, listener: Listener) -> None:
        self._subscribed.clear()
        self._unconfirmed.clear()
        self._changed = set(self._watches)
        self._change.set()
        # No task group: in Python 3.11 one that ends by an error can forget a cancellation.
        tasks = [
            asyncio.create_task(self._read(connection, listener)),
            asyncio.create_task(self._follow(connection)),
            asyncio.create_task(self._beat(connection)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    async def _read(self, connection: Any, listener: Listener) -> None:
        replies = _Replies(connection)
        with translated():
            while True:
                for message in await replies.some():
                    self._take(message, listener)

    def _take(self, message: Any, listener: Listener) -> None:
        self._heard += 1
        if isinstance(message, Exception):
            raise message
        if isinstance(message, bytes):
            return  # the answer to a PING while nothing is subscribed
        kind, channel, content = message if len(message) == 3 else (b"", b"", b"")
        interview_id = self._names.get(channel)
        if kind == b"message":
            if interview_id is not None:
                _deliver(listener, interview_id, content)
        elif kind == b"subscribe":
            self._confirm(channel, interview_id, listener)

    def _confirm(self, channel: bytes, interview_id: str | None, listener: Listener) -> None:
        # A watch that was dropped and renewed meanwhile waits for the last of its confirmations.
        name = interview_id or channel.decode().rpartition(":")[2]
        self._unconfirmed[name] -= 1
        if self._unconfirmed[name] > 0:
            return
        del self._unconfirmed[name]
        if interview_id is not None:
            self._flow(interview_id)
            listener(interview_id, "")

    async def _follow(self, connection: Any) -> None:
        """Bring the subscriptions in line with what is watched, many at a time."""
        while True:
            await self._change.wait()
            self._change.clear()
            changed, self._changed = self._changed, set()
            watched = changed & self._watches.keys()
            for name in watched & self._subscribed:
                if not self._unconfirmed[name]:
                    self._flow(name)
            await self._send(connection, b"UNSUBSCRIBE", (changed - watched) & self._subscribed)
            await self._send(connection, b"SUBSCRIBE", watched - self._subscribed)

    async def _send(self, connection: Any, command: bytes, names: Iterable[str]) -> None:
        waiting = list(names)
        for start in range(0, len(waiting), BATCH):
            batch = waiting[start : start + BATCH]
            if command == b"SUBSCRIBE":
                self._subscribed.update(batch)
                self._unconfirmed.update(batch)
            else:
                self._subscribed.difference_update(batch)
            with translated():
                await connection.send_command(command, *map(_channel, batch), check_health=False)

    async def _beat(self, connection: Any) -> None:
        """Try a silent connection: the other end may be gone without a word."""
        while True:
            heard = self._heard
            with translated():
                await connection.send_command(b"PING", check_health=False)
            await asyncio.sleep(PING_S)
            if self._heard == heard:
                await asyncio.sleep(_GRACE_S)  # if this process was held up, what came is read now
            if self._heard == heard:
                raise BackendDownError("Redis is silent")

    def _note(self, interview_id: str) -> None:
        self._changed.add(interview_id)
        self._change.set()


def _channel(interview_id: str) -> str:
    return interview_keys(interview_id)[0]


def _deliver(listener: Listener, interview_id: str, content: bytes) -> None:
    try:
        listener(interview_id, content.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        # Not written by this program. Waking is always right.
        _log.warning("notification unreadable", interview=interview_id)
        listener(interview_id, "")


class _Replies:
    """What a connection sends, read without redis-py's layers: four coroutines a reply."""

    def __init__(self, connection: Any) -> None:
        self._stream: Any = connection._reader  # noqa: SLF001  # see above
        if self._stream is None:
            raise exceptions.ConnectionError("not connected")
        self._parser = hiredis.Reader(
            protocolError=exceptions.InvalidResponse,
            replyError=exceptions.ResponseError,
            notEnoughData=_MORE,
        )

    async def some(self) -> list[Any]:
        """Return the next replies, errors among them; none where only part of one came.

        Raises:
            redis.exceptions.ConnectionError: the connection is gone.
            redis.exceptions.InvalidResponse: the server sent what is no reply.
        """
        chunk = await self._stream.read(_CHUNK)
        if not chunk:
            raise exceptions.ConnectionError("closed by the server")
        self._parser.feed(chunk)
        replies: list[Any] = []
        while (reply := self._parser.gets()) is not _MORE:
            replies.append(reply)
        return replies
