"""Which questions count as asked: what was, and what is still to come."""

import pytest
from msgspec.structs import replace

from ai.bank.guides import plan_guide
from protocol.scalars import Status
from storage.postgres.archive import Archive
from storage.postgres.assessments import Assessments
from tests.support.interviews import PLAN, bring, session, state, turn

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("status", "counted"),
    [("created", 4), ("live", 4), ("paused", 4), ("completed", 1), ("abandoned", 1)],
)
async def test_what_is_still_to_come_counts_until_the_interview_is_over(
    shared_archive: Archive, status: Status, counted: int
) -> None:
    assessments = Assessments(shared_archive.database)
    user = f"asked {status}"
    new = session(user_id=user)
    new = replace(new, guide=plan_guide(new.interview_id, PLAN))
    assert new.guide is not None
    await shared_archive.create_interview(new)
    names = [question.bank_id for question in new.guide.questions]
    assert await assessments.asked(user) == frozenset(names)
    later = state(new, 1, 3, turn(1))
    later = replace(later, session=replace(later.session, status=status, question=1))
    assert await bring(shared_archive, later)
    assert await assessments.asked(user) == frozenset(names[:counted])
    assert await assessments.asked("somebody else") == frozenset()
