"""`storage.circuits.SharedCircuits` over plain keys that lapse."""

from collections.abc import Sequence

from storage.circuits import Finding
from storage.redis.store import RedisStore

_PREFIX = "viva:{circuit}:"


class RedisCircuits:
    """Those of one deployment, in the Redis of its sessions."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store

    async def tell(self, name: str, finding: Finding) -> None:
        """See `SharedCircuits.tell`."""
        await self._store.plain(
            ("SET", _PREFIX + name, finding.code, "PX", max(1, finding.left_ms))
        )

    async def ask(self, names: Sequence[str]) -> dict[str, Finding]:
        """See `SharedCircuits.ask`."""
        keys = [_PREFIX + name for name in names]
        calls = [(command, key) for key in keys for command in ("GET", "PTTL")]
        replies = await self._store.plain(*calls)
        pairs = zip(names, replies[::2], replies[1::2], strict=True)
        return {
            name: Finding(code.decode(), left) for name, code, left in pairs if code and left > 0
        }
