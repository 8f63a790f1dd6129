"""Which questions count as asked: what was, and what is still to come."""

import asyncio

import psycopg
import pytest
from msgspec.structs import replace

from ai.bank.guides import plan_guide
from protocol.guide import Guide
from protocol.scalars import Status
from storage.postgres.archive import Archive
from storage.postgres.times import moment
from tests.support.interviews import NOW, PLAN, bring, session, state, turn

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("status", "counted"),
    [("created", 4), ("live", 4), ("paused", 4), ("completed", 1), ("abandoned", 1)],
)
async def test_what_is_still_to_come_counts_until_the_interview_is_over(
    shared_archive: Archive, status: Status, counted: int
) -> None:
    user = f"asked {status}"
    new = session(user_id=user)
    new = replace(new, guide=plan_guide(new.interview_id, PLAN))
    assert new.guide is not None
    await shared_archive.create_interview(new)
    names = [question.bank_id for question in new.guide.questions]
    later = state(new, 1, 3, turn(1))
    later = replace(later, session=replace(later.session, status=status, question=1))
    assert await bring(shared_archive, later)
    assert await _asked(shared_archive, user) == frozenset(names[:counted])
    assert await _asked(shared_archive, "somebody else") == frozenset()


async def _asked(archive: Archive, user: str) -> frozenset[str]:
    """Tell what a new interview of the user's is planned around."""
    told: list[frozenset[str]] = []

    def guide_for(asked: frozenset[str]) -> Guide:
        told.append(asked)
        return Guide(version="", questions=())

    await archive.create_interview(session(user_id=user), guide_for=guide_for)
    return told[-1]


# A user with 250 interviews, each of which asked one question of its own.
FILL = b"""
INSERT INTO interviews (user_id, created_at, interview_id, plan, guide, status, phase, session,
  version, head_seq, head_check)
SELECT 'school', moment(%(now)s + n), gen_random_uuid(), '{"type": "mixed"}',
  jsonb_build_object('questions', jsonb_build_array(jsonb_build_object('bank_id', n))),
  'completed', 'closed', '{"question": 1}', 1, 1, 1
FROM generate_series(1, 250) AS n
"""


async def test_the_newest_two_hundred_interviews_tell_what_was_asked(
    shared_archive: Archive, module_database_url: str
) -> None:
    with psycopg.connect(module_database_url) as connection:
        connection.execute("SELECT ensure_partitions(%s, 1)", [moment(NOW)])
        connection.execute(FILL, {"now": NOW})
    assert await _asked(shared_archive, "school") == {str(n) for n in range(51, 251)}


async def test_interviews_created_at_once_have_no_question_in_common(
    shared_archive: Archive,
) -> None:
    async def create() -> frozenset[str]:
        new, guides = session(user_id="hasty"), list[Guide]()

        def guide_for(asked: frozenset[str]) -> Guide:
            guides.append(plan_guide(new.interview_id, PLAN, asked))
            return guides[-1]

        await shared_archive.create_interview(new, guide_for=guide_for)
        stored = await shared_archive.rebuild(new.interview_id)
        assert stored is not None
        assert stored.session.guide == guides[-1]
        return frozenset(question.bank_id for question in guides[-1].questions)

    asked = await asyncio.gather(*(create() for _ in range(6)))
    assert len(frozenset[str]().union(*asked)) == sum(map(len, asked)) >= 18
