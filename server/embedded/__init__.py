"""Real servers from wheels, in a kept data directory: for `viva up`, `viva services` and tests.

Nothing here knows the rest of the project. `embedded(data_dir)` starts Valkey and PostgreSQL and
gives their addresses; `RedisServer` and `PostgresServer` are the same servers one at a time, with
`kill`, `stop` and `start` on a kept port and kept data, which is what tests of outages need.
"""

from server.embedded.errors import EmbeddedError
from server.embedded.postgres import PostgresServer
from server.embedded.supervisor import Services, embedded
from server.embedded.valkey import RedisServer

__all__ = ["EmbeddedError", "PostgresServer", "RedisServer", "Services", "embedded"]
