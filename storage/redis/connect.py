"""Connections to Redis: bounded, without automatic retries, errors translated once.

redis-py by default repeats a call up to ten times with 5 s time-outs; one INCR whose replies were
lost ran eleven times. Here a call is made once, within a second, and the caller decides.
"""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from urllib.parse import SplitResult, urlsplit

import redis.asyncio as redis
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from storage.errors import BackendDownError, BadDataError, OutOfMemoryError

CALL_TIMEOUT_S = 0.8
CONNECT_TIMEOUT_S = 0.5
POOL_SIZE = 16
POOL_TIMEOUT_S = 1.0

Client = redis.Redis


def connect(url: str) -> Client:
    """Return a client for ``redis://``, ``rediss://``, ``unix://`` or ``redis+sentinel://``.

    The last is ``redis+sentinel://[user:password@]host:port[,host:port…]/service[/db]``. Nothing is
    opened yet.

    Raises:
        ValueError: the address is of no known kind; the message says what is wrong.
    """
    parts = urlsplit(url)
    if parts.scheme == "redis+sentinel":
        return _sentinel(parts)
    if parts.scheme == "redis+cluster":
        raise ValueError(
            "redis+cluster:// is not served yet (all keys are ready for it): "
            "use redis:// or redis+sentinel://"
        )
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError(f"{parts.scheme or 'it'} is no address of Redis; use redis://host:port/0")
    pools: Any = redis.BlockingConnectionPool
    return redis.Redis.from_pool(
        pools.from_url(url, max_connections=POOL_SIZE, timeout=POOL_TIMEOUT_S, **_options())
    )


@contextmanager
def translated() -> Generator[None]:
    """Turn redis-py's errors into those of `storage.errors`.

    The text of the original is kept out of the new error: replies can echo data.

    A cancellation that arrives meanwhile is raised in any case. redis-py sends under
    `asyncio.wait_for`, which loses one that comes just as its work is done (CPython issue 86296,
    mended in 3.12 only): a runner that lost its lease would run on.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        yield
    except exceptions.RedisError as error:
        _cancelled(task, before)
        raise translate(error) from error
    except (OSError, TimeoutError) as error:
        _cancelled(task, before)
        raise BackendDownError("Redis cannot be reached") from error
    _cancelled(task, before)


def _cancelled(task: "asyncio.Task[Any] | None", before: int) -> None:
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError


def translate(error: Exception) -> Exception:
    """Return what ``error`` means to a caller of this package."""
    if isinstance(error, exceptions.OutOfMemoryError) or str(error).startswith("OOM"):
        return OutOfMemoryError("Redis is out of memory")
    if isinstance(error, _DOWN):
        return BackendDownError("Redis does not answer")
    if str(error).startswith(_UNREADY):
        return BackendDownError("Redis is not ready")
    return BadDataError(f"Redis refused the call: {type(error).__name__}")


_DOWN = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.BusyLoadingError,
    exceptions.ReadOnlyError,
    exceptions.InvalidResponse,
)
_UNREADY = (
    "LOADING",
    "BUSY ",
    "MASTERDOWN",
    "READONLY",
    "CLUSTERDOWN",
    "MISCONF",
    "NOREPLICAS",
    "UNKILLABLE",
)


def _sentinel(parts: SplitResult) -> Client:
    path = [piece for piece in parts.path.split("/") if piece]
    nodes = [node.rpartition(":") for node in parts.netloc.rpartition("@")[2].split(",")]
    if not path or not all(host and port.isdigit() for host, _, port in nodes):
        raise ValueError("use redis+sentinel://host:port[,host:port]/service[/db]")
    options = _options() | {"db": int(path[1]) if len(path) > 1 else 0}
    if parts.password:
        options |= {"username": parts.username or "default", "password": parts.password}
    sentinel: Any = Sentinel(
        [(host, int(port)) for host, _, port in nodes], sentinel_kwargs=_options(), **options
    )
    return sentinel.master_for(path[0])


def _options() -> dict[str, Any]:
    return {
        "socket_timeout": CALL_TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 3,
    }
