"""The bytes of a connection of redis-py's pool, sent and read without its layers.

redis-py reads each reply through four coroutines, and sends in a task of its own. Of an append,
which is most of what viva asks of Redis, that was the larger part. Setting a connection up (TLS,
passwords, Sentinel) stays redis-py's; only the bytes between two of its own calls are ours.
"""

from collections.abc import Sequence
from typing import Any

import hiredis
from redis import exceptions

CHUNK = 65_536
_MORE = object()


class Replies:
    """What a connection sends, as it comes. Nobody else may read from it meanwhile."""

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
        chunk = await self._stream.read(CHUNK)
        if not chunk:
            raise exceptions.ConnectionError("closed by the server")
        self._parser.feed(chunk)
        replies: list[Any] = []
        while (reply := self._parser.gets()) is not _MORE:
            replies.append(reply)
        return replies

    @property
    def torn(self) -> bool:
        """Whether a part of a reply has come."""
        return self._parser.has_data()


async def exchange(connection: Any, calls: Sequence[bytes]) -> list[Any]:
    """Send packed calls; return their replies, an error standing in for that of a refused call.

    The caller bounds the time, and closes the connection where this raises: replies may still come.

    Raises:
        redis.exceptions.ConnectionError: the connection is gone.
        redis.exceptions.InvalidResponse: the server sent what is no reply, or one too many.
    """
    answers = Replies(connection)
    writer = connection._writer  # noqa: SLF001
    writer.write(b"".join(calls))
    await writer.drain()
    replies: list[Any] = []
    while len(replies) < len(calls):
        some = await answers.some()
        replies += [each for each in some if not isinstance(each, hiredis.PushNotification)]
    if len(replies) > len(calls) or answers.torn:
        raise exceptions.InvalidResponse("more replies than calls")
    return replies
