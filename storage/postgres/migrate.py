"""Migrations: numbered files, each applied once, in a transaction, by one instance at a time."""

import asyncio
import hashlib
import re
from importlib.resources import files
from importlib.resources.abc import Traversable

import psycopg
from msgspec import Struct
from psycopg import errors, sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow

from storage.errors import StorageError
from storage.postgres.faults import translated
from storage.postgres.queries import query

WAIT_S = 60.0
"""How long an instance waits while another one migrates, and for tables that are in use."""
LOCK_S = 0.5
"""How long it waits for a table at a time: whoever wants that table meanwhile waits behind it, and
gives up after 2 s. Within a second nobody is taken for part of a deadlock (`deadlock_timeout`)."""
PAUSE_S = 1.0
"""How long those who waited have the table to themselves, until it is tried again."""
STEP_S = 600
"""The longest a single statement of a migration may take."""
MONTHS_AHEAD = 3

_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")

_Connection = psycopg.AsyncConnection[TupleRow]


class MigrationError(StorageError):
    """The schema cannot be brought up to date; the message is a sentence for whoever runs viva."""


class _InUseError(MigrationError):
    """Others hold a table for longer than it may be waited for."""


class Migration(Struct, frozen=True):
    """One numbered file."""

    number: int
    name: str
    script: bytes

    @property
    def checksum(self) -> str:
        """The SHA-256 of the file, in lower-case hex."""
        return hashlib.sha256(self.script).hexdigest()


def migrations(source: Traversable | None = None) -> list[Migration]:
    """Return the migrations of this version, in order.

    Raises:
        MigrationError: the files are not numbered 0001, 0002 … without a hole.
    """
    folder = source or files("storage.postgres") / "migrations"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    found: list[Migration] = []
    for number, name in enumerate(names, start=1):
        match = _NAME.fullmatch(name)
        if match is None or int(match[1]) != number:
            raise MigrationError(f"migration {name} should be number {number:04d}_<name>.sql")
        found.append(Migration(number, name, (folder / name).read_bytes()))
    return found


async def migrate(
    url: str, *, wait_s: float = WAIT_S, source: Traversable | None = None
) -> list[str]:
    """Bring the schema up to date; return the names of the migrations that this call applied.

    Each step holds the lock only for its own transaction, so any number of instances may run this
    at once, and it works through a bouncer. A schema that is newer than this version is left alone.
    A step that needs a table which others hold lets go of all it has, and is tried again.

    Raises:
        MigrationError: a migration was edited after it was applied, or fails; for ``wait_s``
            another instance has been migrating, or a table was in use.
        BackendDownError: PostgreSQL does not answer.
    """
    steps, applied = migrations(source), list[str]()
    with translated():
        conninfo = make_conninfo(url, application_name="viva migrate", connect_timeout="5")
        connection = await psycopg.AsyncConnection[TupleRow].connect(
            conninfo, autocommit=True, prepare_threshold=None
        )
        async with connection:
            while (name := await _patiently(connection, steps, wait_s)) is not None:
                applied.append(name)
            if source is None:
                await _partitions(connection)
    return applied


async def _patiently(connection: _Connection, steps: list[Migration], wait_s: float) -> str | None:
    """Do a step, again and again while a table is in use; see `_step`."""
    now = asyncio.get_running_loop().time
    until = now() + wait_s
    while True:
        try:
            return await _step(connection, steps, wait_s)
        except _InUseError:
            if now() >= until:
                raise
        await asyncio.sleep(PAUSE_S)


async def _step(connection: _Connection, steps: list[Migration], wait_s: float) -> str | None:
    """Apply the first migration that is missing; return its name, None where none is."""
    async with connection.transaction():
        await _lock(connection, wait_s)
        for migration, checksum in zip(
            steps, await _checksums(connection, len(steps)), strict=True
        ):
            if checksum is None:
                await _apply(connection, migration)
                return migration.name
            if checksum != migration.checksum:
                raise MigrationError(
                    f"migration {migration.name} was changed after it was applied here; "
                    "restore the file and put the change into a new migration"
                )
    return None


async def _lock(connection: _Connection, wait_s: float) -> None:
    await _limit(connection, "lock_timeout", wait_s)
    try:
        await connection.execute(query("migrations_lock"))
    except errors.LockNotAvailable:
        raise MigrationError(
            f"another instance has been migrating this database for {wait_s:g} s; "
            "wait for it, or end it, and try again"
        ) from None
    await connection.execute(query("migrations_table"))


async def _checksums(connection: _Connection, count: int) -> list[str | None]:
    """Return the checksum each migration was applied with; those that were not come last."""
    cursor = await connection.execute(query("migrations_applied"))
    applied: dict[int, str] = dict(await cursor.fetchall())
    return [applied.get(number) for number in range(1, count + 1)]


async def _apply(connection: _Connection, migration: Migration) -> None:
    await _limit(connection, "statement_timeout", STEP_S)
    await _limit(connection, "lock_timeout", LOCK_S)
    try:
        await connection.execute(migration.script)
    except errors.LockNotAvailable:
        raise _InUseError(
            f"migration {migration.name} needs a table that is in use, by a backup or a "
            "transaction that was left open, and changed nothing; end that, and try again"
        ) from None
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        raise MigrationError(
            f"migration {migration.name} failed and changed nothing ({error.sqlstate}); "
            "the log of PostgreSQL says why"
        ) from None
    values = {
        "number": migration.number,
        "name": migration.name,
        "checksum": migration.checksum,
    }
    await connection.execute(query("migrations_record"), values)


async def _partitions(connection: _Connection) -> None:
    async with connection.transaction():
        await _limit(connection, "lock_timeout", WAIT_S)
        await connection.execute(query("ensure_partitions_now"), {"months": MONTHS_AHEAD + 1})


async def _limit(connection: _Connection, setting: str, seconds: float) -> None:
    value = f"{int(seconds * 1000)}ms"
    await connection.execute(
        sql.SQL("SET LOCAL {} = {}").format(sql.Identifier(setting), sql.Literal(value))
    )
