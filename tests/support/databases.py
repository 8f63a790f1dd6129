"""Empty databases on the session's servers."""

import contextlib
from collections.abc import Generator
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import redis
from psycopg import sql


@contextlib.contextmanager
def fresh_database(server_url: str) -> Generator[str]:
    """The address of a new, empty database; it is dropped afterwards, whoever is connected."""
    name = f"test_{uuid4().hex}"
    identifier = sql.Identifier(name)
    with psycopg.connect(server_url, autocommit=True) as connection:
        # Copying files beats the log of writes by far, where syncing is off.
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0 STRATEGY file_copy").format(identifier)
        )
        try:
            yield urlsplit(server_url)._replace(path=f"/{name}").geturl()
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))


def flush_redis(url: str) -> None:
    """Remove every key and function library, and a limit of memory that a test has set."""
    redis_client: Any = redis.Redis  # redis-py's commands are not typed strictly
    with redis_client.from_url(url) as client:
        client.execute_command("FLUSHALL", "SYNC")
        client.execute_command("FUNCTION", "FLUSH", "SYNC")
        client.execute_command("CONFIG", "SET", "maxmemory", "0")
