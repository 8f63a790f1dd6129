"""A PostgreSQL that follows another one."""

import os
import shutil
from pathlib import Path

from server.embedded import PostgresServer


async def standby_of(primary: PostgresServer, directory: Path, *, password: str) -> PostgresServer:
    """Start a server that follows ``primary``, which is stopped to be copied."""
    standby = PostgresServer(directory, password=password, durable=False)
    await primary.stop()
    owner = primary.data.stat()
    shutil.copytree(primary.data, standby.data)
    standby.data.joinpath("standby.signal").touch()
    with standby.data.joinpath("postgresql.auto.conf").open("a") as configuration:
        configuration.write(f"primary_conninfo = '{primary.url}'\n")
    for place in (standby.data, *standby.data.rglob("*")):
        os.chown(place, owner.st_uid, owner.st_gid)
    await primary.start()
    await standby.start()
    return standby
