"""Connections to Redis: bounded, without automatic retries, errors translated once.

redis-py by default repeats a call up to ten times with 5 s time-outs; one INCR whose replies were
lost ran eleven times. Here a call is made once, within a second, and the caller decides.
"""

import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import redis.asyncio as redis
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from storage.cancelling import cancellable
from storage.errors import BackendDownError, BadDataError, OutOfMemoryError, StorageError
from storage.redis.wire import CALL_TIMEOUT_S, CONNECT_TIMEOUT_S, Wire

POOL_SIZE = 4
"""For what redis-py itself asks: whether Redis is there, which functions it has."""
POOL_TIMEOUT_S = 1.0


class Client(redis.Redis):
    """redis-py's client, and the wires that nearly all calls go over.

    ``urgent`` is for those that must not wait behind others where Redis is slow: renewals, whose
    turns lapse meanwhile, and appends.
    """

    def __init__(self, **options: Any) -> None:
        base: Any = super()  # redis-py's signatures are open-ended
        base.__init__(**options)
        self.call_s: float = self.connection_pool.connection_kwargs["socket_timeout"]
        """How long a reply may take."""
        self.wire = Wire(self.connection_pool, self.call_s)
        self.urgent = Wire(self.connection_pool, self.call_s)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:  # noqa: FBT001  # redis-py's signature
        """Close every connection; what is under way fails."""
        await self.wire.aclose()
        await self.urgent.aclose()
        await super().aclose(close_connection_pool)


def connect(url: str, call_s: float = CALL_TIMEOUT_S) -> Client:
    """Return a client for ``redis://``, ``rediss://``, ``unix://`` or ``redis+sentinel://``.

    The last is ``redis+sentinel://[user:password@]host:port[,host:port…]/service[/db]``. Nothing is
    opened yet.

    Raises:
        ValueError: the address cannot be read; the message says what it has to be, and nothing of
            what it is: a password stands in it.
    """
    scheme = url.partition("://")[0]
    if scheme == "redis+cluster":
        raise ValueError(
            "it is of a Cluster, which is not served yet (all keys are ready for it): "
            "use redis:// or redis+sentinel://"
        )
    try:
        if scheme == "redis+sentinel":
            return _sentinel(urlsplit(url), call_s)
        if scheme in ("redis", "rediss", "unix"):
            return _single(url, urlsplit(url), call_s)
    except (ValueError, TypeError):  # redis-py meets an option it does not know by the latter
        raise ValueError(_FORMS.get(scheme, _FORMS["redis"])) from None
    raise ValueError(
        "it has to begin with redis://, rediss://, unix:// or redis+sentinel://, "
        "as in redis://:password@host:port/0"
    )


_FORMS = {
    "redis": "it has to be like redis://:password@host:port/0, with numbers as port and database, "
    "and only options that redis-py knows",
    "redis+sentinel": "it has to be like redis+sentinel://host:port[,host:port]/service[/0], "
    "with numbers as ports and database, and without options: there is no TLS by way of Sentinel",
    "unix": "it has to be like unix://:password@/path/to/socket?db=0, "
    "with options that redis-py knows",
}
_DATABASE = re.compile(r"/?|/[0-9]{1,5}")
_MOST_PORT = 65_535


def _single(url: str, parts: SplitResult, call_s: float) -> Client:
    if parts.scheme != "unix" and (parts.port == 0 or not _DATABASE.fullmatch(parts.path)):
        raise ValueError
    options = _options(call_s)
    if parts.scheme == "unix":
        del options["socket_keepalive"]  # TCP's alone
    pools: Any = redis.BlockingConnectionPool
    pool = pools.from_url(url, max_connections=POOL_SIZE, timeout=POOL_TIMEOUT_S, **options)
    pool.make_connection()  # opens nothing; an option that it does not know shows here
    database = parse_qs(parts.query).get("db", ["0"])[0]
    if not _DATABASE.fullmatch(f"/{database}"):
        raise ValueError
    return cast("Client", Client.from_pool(pool))


@contextmanager
def translated() -> Generator[None]:
    """Turn redis-py's errors into those of `storage.errors`.

    The text of the original is kept out of the new error: replies can echo data. A cancellation
    that arrives meanwhile is raised in any case: a runner that lost its lease would run on.
    """
    with cancellable():
        try:
            yield
        except exceptions.RedisError as error:
            raise translate(error) from error
        except (OSError, TimeoutError) as error:
            raise BackendDownError("Redis cannot be reached") from error


def translate(error: Exception) -> StorageError:
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


def _sentinel(parts: SplitResult, call_s: float) -> Client:
    service, _, database = parts.path.strip("/").partition("/")
    nodes = [node.rpartition(":") for node in parts.netloc.rpartition("@")[2].split(",")]
    known = all(host and _is_port(port) for host, _, port in nodes)
    if not service or not known or not _DATABASE.fullmatch(f"/{database}"):
        raise ValueError
    if parts.query or parts.fragment:  # ``?ssl=true`` would be plain TCP
        raise ValueError
    options = _options(call_s) | {"db": int(database or "0")}
    if parts.password:
        user = unquote(parts.username or "default")
        options |= {"username": user, "password": unquote(parts.password)}
    sentinel: Any = Sentinel(
        [(host, int(port)) for host, _, port in nodes], sentinel_kwargs=_options(call_s), **options
    )
    return sentinel.master_for(service, redis_class=Client)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 < int(text[:6]) <= _MOST_PORT


def _options(call_s: float) -> dict[str, Any]:
    return {
        "socket_timeout": call_s,
        # Who is patient with replies is so with connecting: a busy machine delays both.
        "socket_connect_timeout": max(call_s, CONNECT_TIMEOUT_S),
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 3,
    }
