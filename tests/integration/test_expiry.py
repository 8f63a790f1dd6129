"""What is overdue in PostgreSQL is found there, and nothing else."""

from typing import Any

import pytest
from msgspec.structs import replace

from protocol.clock import PAUSED_MS, UNSTARTED_MS
from protocol.machine import Ticked, transition
from storage.postgres.archive import LIVE_MS, MARGIN_MS, Archive
from tests.support.interviews import NOW, bring, interview_id, session, state

pytestmark = pytest.mark.anyio
GRACE_MS = 1_800_000
LATER = NOW + 60_000


async def _kept(archive: Archive, **fields: Any) -> str:
    """An interview stored as it is with these fields."""
    new = session()
    live = state(new, 2, 3)
    kept = replace(live.session, open=None, **fields)
    await archive.create_interview(new)
    assert await bring(archive, replace(live, session=kept))
    return new.interview_id


async def test_what_time_should_have_ended_is_found(shared_archive: Archive) -> None:
    archive = shared_archive
    unstarted, fresh = session(interview_id(NOW - UNSTARTED_MS)), session(interview_id(NOW))
    await archive.create_interview(unstarted)
    await archive.create_interview(fresh)
    due = {
        unstarted.interview_id,
        await _kept(archive, status="paused", rests_since=NOW - PAUSED_MS),
        await _kept(
            archive,
            status="disconnected",
            rests_since=NOW - MARGIN_MS - GRACE_MS,
            grace_ms=GRACE_MS,
        ),
        await _kept(archive, status="live", running_since=NOW - LIVE_MS),
    }
    for fields in (
        {"status": "paused", "rests_since": LATER - PAUSED_MS},
        {"status": "disconnected", "rests_since": NOW - MARGIN_MS, "grace_ms": GRACE_MS},
        {"status": "live", "running_since": LATER - LIVE_MS},
        {"status": "completed", "ended_at": NOW - LIVE_MS},
    ):
        await _kept(archive, **fields)
    assert set(await archive.overdue(NOW)) == due
    assert len(await archive.overdue(NOW, 2)) == 2
    for name in due:
        restored = await archive.rebuild(name)
        assert restored is not None
        if restored.session.status != "live":  # that one waits for its candidate first
            assert transition(restored.session, Ticked(at=NOW)).session.over
