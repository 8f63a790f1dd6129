"""A migrated database, for fixtures that are not asynchronous."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from storage.postgres.migrate import migrate


def migrated(url: str) -> str:
    """Migrate the database; return its address. A loop may be running in this thread."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(migrate(url))).result()
    return url
