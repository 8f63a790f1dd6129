"""Made-up interviews, as the live store would hand them to the writer."""

import contextlib
import random
from collections.abc import AsyncGenerator
from typing import Any
from uuid import UUID

import psycopg
from msgspec.structs import replace

from protocol.ids import ORIGIN, EventId
from protocol.ledger import LedgerEntry
from protocol.plan import Plan
from protocol.session import OpenTurn, Session, Turn
from protocol.text import sha256
from storage.live import State, Unstored
from storage.postgres.archive import Archive
from storage.postgres.migrate import migrate

NOW = 1_795_000_000_000
"""November 2026, Unix ms."""

PLAN = Plan(type="technical", role="Engineer — Ünïcode 🎤", job_description="J" * 500)


def interview_id(at: int = NOW) -> str:
    """A UUIDv7 made at ``at``, in Unix ms."""
    bits = (at << 80) | (7 << 76) | (random.getrandbits(12) << 64)
    return str(UUID(int=bits | (0b10 << 62) | random.getrandbits(62)))


def session(name: str | None = None, user_id: str = "ann", plan: Plan = PLAN) -> Session:
    """A new interview."""
    name = name or interview_id()
    return Session(interview_id=name, user_id=user_id, created_at=UUID(name).int >> 80, plan=plan)


def turn(number: int, text: str = "Why?", *, unheard: str = "") -> Turn:
    """A finished turn; odd ones are the interviewer's."""
    asks = number % 2 == 1
    return Turn(
        turn=number,
        speaker="interviewer" if asks else "candidate",
        kind="question" if asks else "answer",
        question_id=f"core-{number}" if asks else None,
        text=text,
        sha256=sha256(text),
        outcome="interrupted" if unheard else "final",
        source="model" if asks else None,
        started_at=NOW + number * 1000 + 1,
        ended_at=NOW + number * 1000 + 999,
        unheard=unheard,
    )


def state(of: Session, version: int, seq: int, *turns: Turn) -> State:
    """The live state with ``turns`` finished and the next one open."""
    opened = OpenTurn(
        turn=len(turns) + 1,
        speaker="candidate",
        kind="answer",
        started_at=NOW + (len(turns) + 1) * 1000 + 1,
    )
    live = replace(of, status="live", phase="core", turn=len(turns) + 1, open=opened)
    return State(
        session=live,
        version=version,
        head=EventId(seq, seq * 7919),
        stored=ORIGIN,
        turns=turns,
    )


def unstored(of: State, *commands: tuple[str, str]) -> Unstored:
    """What the writer takes to the archive."""
    return Unstored(of, commands)


async def bring(archive: Archive, live: State, *commands: tuple[str, str]) -> bool:
    """Write it; False for older states. Its log is taken to hold what the archive holds."""
    held = await archive.write(unstored(live, *commands))
    while held is not None and held.seq <= live.head.seq:
        held = await archive.write(unstored(replace(live, stored=held), *commands))
    return held is None


def ledger_row(of: Session, name: str, **fields: Any) -> LedgerEntry:
    """A call's row in the ledger."""
    values: dict[str, Any] = {"outcome": "completed", "cost_micro_usd": 120, **fields}
    return LedgerEntry(
        id=name,
        interview_id=of.interview_id,
        user_id=of.user_id,
        turn=1,
        attempt=1,
        call=1,
        at=NOW + 7,
        model="m",
        api="chat",
        total_ms=812,
        **values,
    )


def rows_of(url: str, statement: str) -> list[tuple[Any, ...]]:
    """What a statement returns, on a connection of its own."""
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(statement.encode()).fetchall()


@contextlib.asynccontextmanager
async def opened(
    url: str, *, size: int = 4, bouncer: bool = False, replica_url: str | None = None
) -> AsyncGenerator[Archive]:
    """An archive on a migrated database, with a small pool of its own."""
    archive = Archive(url, size=size, bouncer=bouncer, replica_url=replica_url)
    await archive.open()
    try:
        yield archive
    finally:
        await archive.close()


@contextlib.asynccontextmanager
async def archive_on(url: str) -> AsyncGenerator[Archive]:
    """An archive on a database that is migrated first."""
    await migrate(url)
    async with opened(url) as archive:
        yield archive
