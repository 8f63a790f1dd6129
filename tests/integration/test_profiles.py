"""Profiles in PostgreSQL: merge patches, at once and one after another."""

import asyncio

import msgspec
import pytest

from storage.postgres.archive import Archive
from storage.postgres.profiles import Preferences, Profile, ProfilePatch, Profiles

pytestmark = pytest.mark.anyio
NOW = 1_795_000_000_000


def patch(**fields: object) -> ProfilePatch:
    return msgspec.convert(fields, ProfilePatch)


@pytest.fixture
def profiles(shared_archive: Archive) -> Profiles:
    return Profiles(shared_archive.database)


async def test_nothing_is_told_at_first(profiles: Profiles) -> None:
    assert await profiles.get("nobody") == Profile()


async def test_what_is_absent_stays_and_null_takes_away(profiles: Profiles) -> None:
    first = await profiles.change(
        "ann", patch(name="Ann ✨", language="de", preferences={"type": "case", "level": None}), NOW
    )
    assert first == Profile(
        name="Ann ✨",
        language="de",
        preferences=Preferences(type="case"),
        version=1,
        updated_at=NOW,
    )
    second = await profiles.change(
        "ann", patch(language=None, preferences={"role": "Dev", "duration_minutes": 15}), NOW + 1
    )
    assert (second.name, second.language, second.version) == ("Ann ✨", None, 2)
    assert second.preferences == Preferences(type="case", role="Dev", duration_minutes=15)
    third = await profiles.change("ann", patch(preferences={"type": None}), NOW + 2)
    assert third.preferences == Preferences(role="Dev", duration_minutes=15)
    last = await profiles.change("ann", patch(name=None, preferences=None), NOW + 3)
    assert last == Profile(version=4, updated_at=NOW + 3)
    assert await profiles.get("ann") == last


async def test_changes_at_once_lose_nothing_of_each_other(profiles: Profiles) -> None:
    patches = [
        patch(name="B"),
        patch(language="fr"),
        patch(preferences={"level": "staff"}),
        patch(preferences={"mode": "assessment"}),
        patch(preferences={"difficulty": "hard"}),
    ]
    done = await asyncio.gather(*(profiles.change("bob", each, NOW) for each in patches))
    assert sorted(each.version for each in done) == [1, 2, 3, 4, 5]
    bob = await profiles.get("bob")
    assert (bob.name, bob.language) == ("B", "fr")
    assert bob.preferences == Preferences(level="staff", mode="assessment", difficulty="hard")
