"""Ports of 127.0.0.1 for servers that are restarted on the same port.

They are taken from below the range the kernel uses for outgoing connections. A port from that
range, which binding to 0 would give, can be taken by any client while its server is down; worse, a
client that reconnects to it in a loop ends up connected to itself, and the server cannot come back.
"""

import random
import socket
from collections.abc import Collection

from server.embedded.errors import EmbeddedError

LOOPBACK = "127.0.0.1"
_LOWEST, _HIGHEST = 20000, 32000
_TRIES = 200


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now (connections in TIME_WAIT do not count)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(avoided: Collection[int] = ()) -> int:
    """A port nobody listens on, and none of those that somebody is to listen on.

    Raises:
        EmbeddedError: None was found.
    """
    for port in random.sample(range(_LOWEST, _HIGHEST), _TRIES):
        if port not in avoided and is_free(port):
            return port
    raise EmbeddedError(f"no free port of {LOOPBACK} found between {_LOWEST} and {_HIGHEST}")
