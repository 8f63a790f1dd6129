"""The SQL of this package, by the names of its files."""

from functools import lru_cache
from importlib.resources import files


@lru_cache(maxsize=64)
def query(name: str) -> bytes:
    """Return the statement in ``queries/<name>.sql``, read once."""
    return (files("storage.postgres") / "queries" / f"{name}.sql").read_bytes()
