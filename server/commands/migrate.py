"""`viva migrate`: bring the schema of DATABASE_URL up to date."""

import argparse
import asyncio
import os
import sys

from server.settings import SettingsError, read_setting
from storage.errors import StorageError
from storage.postgres.migrate import migrate


def run(_: argparse.Namespace) -> int:
    """Migrate; 0 then, 1 with one sentence where it could not."""
    try:
        asyncio.run(migrate(read_setting("DATABASE_URL", os.environ)))
    except (SettingsError, StorageError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stderr.write("the schema is up to date\n")
    return 0
