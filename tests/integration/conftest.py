from collections.abc import AsyncGenerator

import pytest

from storage.postgres.archive import Archive
from tests.support.interviews import archive_on


@pytest.fixture(scope="module")
async def shared_archive(module_database_url: str) -> AsyncGenerator[Archive]:
    """An archive that the tests of one module share: each brings interviews of its own."""
    async with archive_on(module_database_url) as archive:
        yield archive
